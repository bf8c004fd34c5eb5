"""A batch's inputs: one tensor, or several as a tuple, a list or a dictionary, with the examples in dimension 0."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from worker.optim.errors import BatchError

Inputs = Tensor | tuple[Any, ...] | list[Any] | Mapping[str, Any]
"""x for `model(x)`, (x, ..) for `model(x, ..)`, {"name": x, ..} for `model(name=x, ..)`; what is no tensor is passed on
unchanged"""


def tensors(inputs: Inputs) -> list[Tensor]:
    """Return the tensors among the inputs.

    Raises:
        BatchError: there is none, or they differ in the number of examples.
    """
    if isinstance(inputs, Tensor):
        return [inputs]
    values: list[Any] = []
    if isinstance(inputs, Mapping):
        values = list(inputs.values())
    elif isinstance(inputs, tuple | list):
        values = list(inputs)
    found = [value for value in values if isinstance(value, Tensor)]
    if not found:
        raise BatchError(f"inputs are {type(inputs).__name__}: must be a tensor, or a tuple or dictionary of tensors")
    if any(not t.dim() or len(t) != len(found[0]) for t in found):
        shapes = [list(t.shape) for t in found]
        raise BatchError(f"input tensors are {shapes}: all must have the same number of examples in dimension 0")
    return found


def count(inputs: Inputs) -> int:
    """Return N, the number of examples."""
    return len(tensors(inputs)[0])


def shapes(inputs: Inputs) -> tuple[tuple[int, ...], ...]:
    """Return the shape of each tensor."""
    return tuple(tuple(t.shape) for t in tensors(inputs))


def mapped(inputs: Inputs, function: Callable[[Tensor], Tensor]) -> Inputs:
    """Return the inputs with a function applied to each tensor."""
    if isinstance(inputs, Tensor):
        return function(inputs)
    if isinstance(inputs, Mapping):
        return {key: function(v) if isinstance(v, Tensor) else v for key, v in inputs.items()}
    return tuple(function(v) if isinstance(v, Tensor) else v for v in inputs)


def first(inputs: Inputs, number: int) -> Inputs:
    """Return the first `number` examples, as views."""
    return between(inputs, 0, number)


def between(inputs: Inputs, start: int, stop: int) -> Inputs:
    """Return the examples from `start` to before `stop`, as views."""
    return mapped(inputs, lambda t: t[start:stop])


def moved(inputs: Inputs, device: torch.device) -> Inputs:
    """Return the inputs on a device."""
    return mapped(inputs, lambda t: t.to(device))


def joined(several: Sequence[Inputs]) -> Inputs:
    """Return the examples of several inputs, one after the other; what is no tensor is that of the first."""
    one = several[0]
    if isinstance(one, Tensor):
        return torch.cat([t for t in several if isinstance(t, Tensor)])
    keys: list[Any] = list(one) if isinstance(one, Mapping) else list(range(len(one)))
    columns: list[Any] = [[each[key] for each in several] for key in keys]
    values = [torch.cat(column) if isinstance(column[0], Tensor) else column[0] for column in columns]
    return dict(zip(keys, values, strict=True)) if isinstance(one, Mapping) else tuple(values)


def call(model: nn.Module, inputs: Inputs) -> Any:
    """Return model(x), model(*x) or model(**x)."""
    if isinstance(inputs, Tensor):
        return model(inputs)
    return model(**inputs) if isinstance(inputs, Mapping) else model(*inputs)
