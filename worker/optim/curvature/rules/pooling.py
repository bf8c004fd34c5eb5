"""Pooling over the last two dimensions: the mean, which is linear, and the maximum, linear where it was taken."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Self

import torch
from torch import Tensor, nn

from worker.optim.curvature.rules.base import NotCovered, Rule, Weights, covers

Apply = Callable[[Tensor], Tensor]
Transpose = Callable[[Tensor, Tensor], Tensor]


@dataclass
class MeanRule(Rule):
    """y' = P x', x: N x C x height x width."""

    pool: Apply
    transpose: Transpose
    """(cotangent, something shaped like x) -> P' times the cotangent"""
    x: Tensor

    def tangent(self, inputs: tuple[Tensor | None, ...], weights: Weights) -> Tensor:  # noqa: ARG002 - has none
        """Return P x'."""
        (x,) = inputs
        assert x is not None
        return self.pool(x) if x.dim() == 4 else torch.unflatten(self.pool(x.flatten(0, 1)), 0, x.shape[:2])

    def backward(self, cotangent: Tensor, needs: tuple[bool, ...], weights: Weights) -> tuple[Tensor | None, ...]:  # noqa: ARG002 - has none
        """Return P' y'."""
        if cotangent.dim() == 4:
            return (self.transpose(cotangent, self.x),)
        flat = cotangent.flatten(0, 1)
        like = self.x.new_empty(1).expand(len(flat), *self.x.shape[1:])
        return (torch.unflatten(self.transpose(flat, like), 0, cotangent.shape[:2]),)

    def narrow(self, count: int) -> Self:
        """Return the rule for the first examples."""
        return replace(self, x=self.x[:count])


@dataclass
class MaximumRule(Rule):
    """y' is x' at the places where x was greatest."""

    places: Tensor
    """in the height x width of x, N x C x height x width of y"""
    shape: torch.Size
    """of one example's x"""

    def tangent(self, inputs: tuple[Tensor | None, ...], weights: Weights) -> Tensor:  # noqa: ARG002 - has none
        """Return x' at the places."""
        (x,) = inputs
        assert x is not None
        places = self._places(x)
        return torch.unflatten(x.flatten(-2).gather(-1, places), -1, self.places.shape[-2:])

    def backward(self, cotangent: Tensor, needs: tuple[bool, ...], weights: Weights) -> tuple[Tensor | None, ...]:  # noqa: ARG002 - has none
        """Add y' up at the places."""
        places = self._places(cotangent)
        x = cotangent.new_zeros(*places.shape[:-1], self.shape[-2] * self.shape[-1])
        x.scatter_add_(-1, places, cotangent.flatten(-2))
        return (torch.unflatten(x, -1, self.shape[-2:]),)

    def _places(self, vectors: Tensor) -> Tensor:
        flat = self.places.flatten(-2)
        return flat.expand(*vectors.shape[: vectors.dim() - 4], *flat.shape)

    def narrow(self, count: int) -> Self:
        """Return the rule for the first examples."""
        return replace(self, places=self.places[:count])


@covers(nn.AvgPool2d)
def average(module: nn.AvgPool2d, x: Tensor) -> tuple[Tensor, Rule]:
    """Take means over windows.

    Args:
        module: describes the windows.
        x: N x C x height x width.

    Returns:
        y, and the rule at x.

    Raises:
        NotCovered: the rule does not support these arguments.
    """
    _check(module, x)
    stride: Any = module.stride
    options = (
        _pair(module.kernel_size), _pair(stride), _pair(module.padding), module.ceil_mode, module.count_include_pad,
        module.divisor_override,
    )  # fmt: skip

    def transpose(cotangent: Tensor, like: Tensor) -> Tensor:
        result: Tensor = torch.ops.aten.avg_pool2d_backward(cotangent, like, *options)
        return result

    return module(x), MeanRule(module, transpose, x)


@covers(nn.AdaptiveAvgPool2d)
def adaptive_average(module: nn.AdaptiveAvgPool2d, x: Tensor) -> tuple[Tensor, Rule]:
    """Take means over windows, one for each place of the output.

    Args:
        module: has the output's height x width.
        x: N x C x height x width.

    Returns:
        y, and the rule at x.

    Raises:
        NotCovered: the rule does not support these arguments.
    """
    _check(module, x)
    y = module(x)
    if y.shape[-2:] == (1, 1):
        return y, MeanRule(module, _spread, x)

    def transpose(cotangent: Tensor, like: Tensor) -> Tensor:
        result: Tensor = torch.ops.aten._adaptive_avg_pool2d_backward(cotangent, like)
        return result

    return y, MeanRule(module, transpose, x)


@covers(nn.MaxPool2d)
def maximum(module: nn.MaxPool2d, x: Tensor) -> tuple[Tensor, Rule]:
    """Take the maximum of each window.

    Args:
        module: describes the windows.
        x: N x C x height x width.

    Returns:
        y, and the rule at x.

    Raises:
        NotCovered: the rule does not support these arguments.
    """
    _check(module, x)
    if module.return_indices:
        raise NotCovered(f"{module} returns indices")
    y, places = torch.nn.functional.max_pool2d_with_indices(
        x, _pair(module.kernel_size), _pair(module.stride), _pair(module.padding), _pair(module.dilation),
        module.ceil_mode,
    )  # fmt: skip
    return y, MaximumRule(places, x.shape[1:])


def _spread(cotangent: Tensor, like: Tensor) -> Tensor:
    """Give each place of an image its share of the image's mean."""
    return (cotangent / (like.shape[-2] * like.shape[-1])).expand(like.shape)


def _pair(size: int | tuple[int, int]) -> tuple[int, int]:
    return (size, size) if isinstance(size, int) else size


def _check(module: nn.Module, x: Tensor) -> None:
    if x.dim() != 4:
        raise NotCovered(f"{module} is given one example without a batch")
