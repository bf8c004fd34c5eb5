"""The settings of Hessian-free and block-diagonal Hessian-free: their defaults, bounds and units."""

import math
import operator
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Concatenate, Generic, ParamSpec, TypeVar, overload

from worker.optim.modes import BATCH_NORM
from worker.optim.outputs import Selector, check_selector
from worker.optim.precision import PRECISIONS
from worker.optim.solver.stopping import StopRule

RENAMED = {
    "max_cg_iters": "max_cg_iterations", "momentum": "warm_start", "stop": "cg_stop", "tolerance": "cg_tolerance",
}  # fmt: skip
"""keys of `param_groups` in states that version 0.1 saved -> today's"""
_OLD_ARGUMENTS = RENAMED | {"lr": "learning_rate", "way": "product_method", "memory": "memory_limit"}
OF_THE_OPTIMIZER = {
    "curvature_batch", "product_method", "memory_limit", "product_precision", "outputs", "batch_norm", "partial",
}  # fmt: skip
"""settings that are not in `param_groups`"""
INTEGERS = {"max_cg_iterations"}
"""numbers in `param_groups` that must be integers"""


class ProductMethod(StrEnum):
    """How a block's Gauss-Newton product is computed. All methods give the same iterates, except for rounding."""

    AUTO = "auto"
    """for each block, the method for which the planner predicts the fewest operations"""
    PRODUCTS = "products"
    """forward and back through the layers of the block and all layers above it"""
    INTERFACE = "interface"
    """the layers above the block are passed once per update, not in each product"""
    SAMPLES = "samples"
    """dense layers in the space spanned by the examples of S_c"""
    EXPLICIT = "explicit"
    """the matrix G_b itself, for small blocks"""
    AUTOGRAD = "autograd"
    """double backward by automatic differentiation, for any module"""


@dataclass(frozen=True, kw_only=True)
class Settings:
    """All settings of one optimizer; `param_groups` holds those that may differ between blocks or updates.

    Raises:
        ValueError: a value is out of bounds; the text has the name, the value and the bounds.
    """

    curvature_batch: int
    """S_c: the first examples of each gradient batch S_g, used for curvature [examples, at least 1]"""
    learning_rate: float = 0.1
    """fraction of the conjugate gradient solution that is added to the weights (positive); `lr` in `param_groups`,
    because torch's learning rate schedulers read that key"""
    damping: float | Sequence[float] = 0.0
    """d in G_b + d I, one number or one per block (at least 0) [loss per weight squared]"""
    max_cg_iterations: int = 30
    """limit of conjugate gradient's iterations, per update and block (at least 1)"""
    warm_start: float = 0.95
    """conjugate gradient starts at this fraction of the block's last solution (0 to 1)"""
    cg_stop: str = "iterations"
    """early stop: "iterations" (none), "residual" or "martens", see `solver.stopping.StopRule`"""
    cg_tolerance: float = 5e-4
    """tolerance of the early stop (above 0, below 1)"""
    product_method: str = ProductMethod.AUTO
    """one of `ProductMethod`; a block that the method does not apply to uses products"""
    memory_limit: int = 512
    """memory that a method may use in addition to activations and vectors [MiB, at least 1]"""
    adaptive_damping: bool = False
    """after each update the damping follows the reduction ratio, see `solver.damping`; one more loss per update"""
    backtracking: bool = False
    """go back over conjugate gradient's iterates while the loss falls, see `solver.backtracking`; one loss per trial"""
    line_search: bool = False
    """shrink the step until the loss falls enough, see `solver.line_search`; one loss per trial"""
    preconditioner: bool = False
    """precondition with squared gradients, see `solver.preconditioner`; one more backward pass over S_c per update"""
    product_precision: str = "full"
    """precision of the curvature products: "full", "tf32" or "bfloat16", see `worker.optim.precision`"""
    weight_decay: float = 0.0
    """l of the penalty l |w|^2 / 2, which adds l w to the gradient and l I to the curvature (at least 0) [loss per
    weight squared]; see `worker.optim.weight_decay`"""
    max_step_norm: float | None = None
    """limit of the Euclidean norm of a block's change, to which a longer one is scaled (positive); None: no limit"""
    outputs: Selector = None
    """which of the model's outputs the loss gets: a key, a position, or a function of the outputs; None: the model
    returns one tensor"""
    batch_norm: str = "refuse"
    """batch normalization in training mode: "refuse" is an error; "eval" uses its running statistics for loss, gradient
    and curvature, and does not update them"""
    partial: bool = False
    """whether trainable parameters may be in no block, where another optimizer, or none, changes them"""

    def __post_init__(self) -> None:
        StopRule(self.cg_stop, self.cg_tolerance)
        check_selector(self.outputs)
        limits = [
            ("curvature_batch", self.curvature_batch >= 1, "at least 1"),
            ("learning_rate", 0 < self.learning_rate < math.inf, "positive and finite"),
            ("max_cg_iterations", self.max_cg_iterations >= 1, "at least 1"),
            ("warm_start", 0 <= self.warm_start <= 1, "from 0 to 1"),
            ("memory_limit", self.memory_limit >= 1, "at least 1 (MiB)"),
            ("product_method", self.product_method in list(ProductMethod), f"one of {', '.join(ProductMethod)}"),
            ("weight_decay", 0 <= self.weight_decay < math.inf, "at least 0 and finite"),
            ("max_step_norm", self.max_step_norm is None or self.max_step_norm > 0, "positive, or None"),
            ("batch_norm", self.batch_norm in BATCH_NORM, f"one of {', '.join(BATCH_NORM)}"),
            ("product_precision", self.product_precision in PRECISIONS, f"one of {', '.join(PRECISIONS)}"),
        ]
        for name, fits, limit in limits:
            if not fits:
                raise ValueError(f"{name} is {getattr(self, name)!r}: must be {limit}")

    def group_defaults(self) -> dict[str, Any]:
        """Return the settings that stand in `param_groups`, all but damping, which may differ by block."""
        values = {name: value for name, value in vars(self).items() if name not in OF_THE_OPTIMIZER | {"damping"}}
        return {"lr": values.pop("learning_rate"), **values}


def check_group(group: Mapping[str, Any]) -> None:
    """Check the values of a group of `param_groups`, which schedulers and users may change between steps.

    Args:
        group: the group. Numbers may be those of Python, numpy or tensors of one number.

    Raises:
        ValueError: a value is out of bounds; the text has the key, the value and the bounds.
    """
    limits: list[tuple[str, Callable[[float], bool], str]] = [
        ("lr", lambda v: 0 <= v < math.inf, "at least 0 and finite"),
        ("damping", lambda v: 0 <= v < math.inf, "at least 0 and finite"),
        ("warm_start", lambda v: 0 <= v <= 1, "from 0 to 1"),
        ("max_cg_iterations", lambda v: v >= 1, "an integer, at least 1"),
        ("weight_decay", lambda v: 0 <= v < math.inf, "at least 0 and finite"),
        ("max_step_norm", lambda v: v > 0, "positive, or None"),
    ]
    for name, fits, limit in limits:
        value = group[name]
        if value is None and name == "max_step_norm":
            continue
        try:
            good = fits(operator.index(value) if name in INTEGERS else float(value))
        except (TypeError, ValueError):
            good = False
        if not good:
            raise ValueError(f"{name} is {value!r}: must be {limit}")


Own = TypeVar("Own")
A = TypeVar("A")
B = TypeVar("B")
C = TypeVar("C")
P = ParamSpec("P")


class FromKeywords(Generic[P]):
    """Decorator of an `__init__` whose last argument is a Settings: callers pass its fields as typed keywords.

    So a setting is declared once, as a field of Settings. The arguments before it are passed by position.
    """

    def __init__(self, make: Callable[P, Settings]) -> None:
        self._make: Callable[..., Settings] = make

    @overload
    def __call__(self, init: Callable[[Own, A, B, Settings], None]) -> Callable[Concatenate[Own, A, B, P], None]: ...

    @overload
    def __call__(
        self, init: Callable[[Own, A, B, C, Settings], None]
    ) -> Callable[Concatenate[Own, A, B, C, P], None]: ...

    def __call__(self, init: Callable[..., None]) -> Callable[..., None]:
        """Return the `__init__` that takes keywords. It raises TypeError for an unknown setting."""

        def from_keywords(*arguments: Any, **settings: Any) -> None:
            for name in settings.keys() & _OLD_ARGUMENTS.keys():
                raise TypeError(f"the setting {name} is called {_OLD_ARGUMENTS[name]} now")
            init(*arguments, self._make(**settings))

        return from_keywords
