"""Which of a model's outputs the loss gets, where the model returns several."""

from collections.abc import Callable, Mapping
from typing import Any

from torch import Tensor

from worker.optim.errors import BatchError

Selector = str | int | Callable[[Any], Any] | None
"""the key or attribute, or the position, of the output; a function of all outputs; None: there is one output"""


def select(outputs: Any, selector: Selector) -> Any:
    """Return the selected output.

    Args:
        outputs: what the model returned.
        selector: which of it.

    Raises:
        BatchError: there is none of this key or position.
    """
    if selector is None:
        return outputs
    if callable(selector):
        return selector(outputs)
    if isinstance(outputs, Tensor):
        raise BatchError(f"outputs is {selector!r}, but the model returned one tensor: leave outputs out")
    if isinstance(selector, str) and not isinstance(outputs, Mapping) and hasattr(outputs, selector):
        return getattr(outputs, selector)
    try:
        return outputs[selector]
    except (TypeError, KeyError, IndexError, ValueError) as error:
        has = list(outputs) if isinstance(outputs, Mapping) else type(outputs).__name__
        if isinstance(outputs, tuple | list):
            has = f"{len(outputs)} outputs"
        raise BatchError(f"outputs is {selector!r}: the model returned {has}, which has no such output") from error


def check_selector(selector: Any) -> None:
    """Raise ValueError where a value selects nothing."""
    if not (
        selector is None or callable(selector) or (isinstance(selector, str | int) and not isinstance(selector, bool))
    ):
        raise ValueError(f"outputs is {selector!r}: must be a key, a position or a function of the model's outputs")
