"""The classes of torch.optim by name, with their arguments as text."""

import ast
from collections.abc import Callable
from functools import cache, partial
from typing import Any

import torch


def find(name: str, rate: float, arguments: str) -> Callable[..., torch.optim.Optimizer]:
    """Return the class with its arguments; raise ValueError if there is none, or the text is not of their form."""
    found = getattr(torch.optim, name, None)
    if not (isinstance(found, type) and issubclass(found, torch.optim.Optimizer)) or name == "SparseAdam":
        raise ValueError(f"torch.optim has no optimizer {name} for weights that are not sparse")
    call = ast.parse(f"f({arguments})", mode="eval").body
    if not isinstance(call, ast.Call) or call.args:
        raise ValueError("arguments must have the form name=value, name=value")
    given: dict[Any, Any] = {one.arg: ast.literal_eval(one.value) for one in call.keywords}
    if "lr" in given:
        raise ValueError("set learning_rate in the place of lr")
    make: Any = found  # torch's base class has no lr
    return partial(make, **given, lr=rate)


@cache
def check(name: str, rate: float, arguments: str) -> None:
    """Make the optimizer of one matrix; raise ValueError with torch's reason if that fails."""
    try:
        made: Any = find(name, rate, arguments)
        # torch's add_param_group imports its compiler, which takes seconds; the arguments are checked before it.
        quick = type(name, (made.func,), {"add_param_group": lambda self, group: self.param_groups.append(group)})
        quick([torch.nn.Parameter(torch.ones(2, 2))], **made.keywords)
    except Exception as error:
        raise ValueError(f"torch.optim.{name}({arguments}): {error}") from None
