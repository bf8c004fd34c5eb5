"""Operations that only change the shape."""

from dataclasses import dataclass, replace
from typing import Self

import torch
from torch import Tensor, nn

from worker.optim.curvature.rules.base import Rule, Weights, covers


@dataclass
class ReshapeRule(Rule):
    """y is x in another shape; both hold the same examples in dimension 0."""

    before: torch.Size
    after: torch.Size

    def tangent(self, inputs: tuple[Tensor | None, ...], weights: Weights) -> Tensor:  # noqa: ARG002 - has none
        """Return x' in the shape of y."""
        (x,) = inputs
        assert x is not None
        return x.reshape(*x.shape[: x.dim() - len(self.before)], *self.after)

    def backward(self, cotangent: Tensor, needs: tuple[bool, ...], weights: Weights) -> tuple[Tensor | None, ...]:  # noqa: ARG002 - has none
        """Return y' in the shape of x."""
        return (cotangent.reshape(*cotangent.shape[: cotangent.dim() - len(self.after)], *self.before),)

    def narrow(self, count: int) -> Self:
        """Return the rule for the first examples."""
        return replace(self, before=torch.Size((count, *self.before[1:])), after=torch.Size((count, *self.after[1:])))


@covers(nn.Flatten)
def flatten(module: nn.Flatten, x: Tensor) -> tuple[Tensor, Rule]:
    """Flatten dimensions of each example.

    Args:
        module: names the first and the last of them.
        x: N x ...

    Returns:
        y, and the rule at x.
    """
    y = module(x)
    return y, ReshapeRule(x.shape, y.shape)


@covers(torch.flatten, "flatten")
def flatten_from(x: Tensor, start_dim: int = 0, end_dim: int = -1) -> tuple[Tensor, Rule]:
    """Flatten dimensions of each example.

    Args:
        x: N x ...
        start_dim: the first of them.
        end_dim: the last of them.

    Returns:
        y, and the rule at x.
    """
    y = x.flatten(start_dim, end_dim)
    return y, ReshapeRule(x.shape, y.shape)


@covers("contiguous")
def contiguous(x: Tensor) -> tuple[Tensor, Rule]:
    """Return x, contiguous in memory.

    Args:
        x: N x ...

    Returns:
        y, and the rule at x.
    """
    y = x.contiguous()
    return y, ReshapeRule(x.shape, y.shape)


@covers(nn.Unflatten)
def unflatten(module: nn.Unflatten, x: Tensor) -> tuple[Tensor, Rule]:
    """Split a dimension of each example.

    Args:
        module: names the dimension and its sizes.
        x: N x ...

    Returns:
        y, and the rule at x.
    """
    y = module(x)
    return y, ReshapeRule(x.shape, y.shape)
