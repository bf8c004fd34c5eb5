"""Taking a part of every example, such as a sequence's last step: x[:, -1]."""

import operator
from dataclasses import dataclass, replace
from typing import Any, Self

import torch
from torch import Tensor

from worker.optim.curvature.rules.base import NotCovered, Rule, Weights, covers


@dataclass
class SelectionRule(Rule):
    """y' = x'[index], the index leaving dimension 0 whole."""

    x: Tensor
    """only its shape and its strides matter"""
    index: tuple[int | slice, ...]

    def tangent(self, inputs: tuple[Tensor | None, ...], weights: Weights) -> Tensor:  # noqa: ARG002 - has none
        """Return x'[index]."""
        (x,) = inputs
        assert x is not None
        result: Tensor = x[self._index(x.dim())]
        return result

    def backward(self, cotangent: Tensor, needs: tuple[bool, ...], weights: Weights) -> tuple[Tensor | None, ...]:  # noqa: ARG002 - has none
        """Return y' at its place among zeros, laid out as x is: examples last, behind the stack, if they are there."""
        stack = cotangent.shape[: cotangent.dim() - self.x[self.index].dim()]
        if not stack:
            x = torch.zeros_like(self.x)
        elif self.x.stride(0) == 1:
            x = cotangent.new_zeros(*self.x.shape[1:], *stack, len(self.x)).movedim((-2, -1), (0, 1))
        else:
            x = cotangent.new_zeros(*stack, *self.x.shape)
        x[self._index(x.dim())] = cotangent
        return (x,)

    def _index(self, dimensions: int) -> tuple[int | slice, ...]:
        return (*[slice(None)] * (dimensions - self.x.dim()), *self.index)

    def narrow(self, count: int) -> Self:
        """Return the rule for the first examples."""
        return replace(self, x=self.x[:count])


@covers(operator.getitem)
def select(x: Tensor, index: Any) -> tuple[Tensor, Rule]:
    """Take the same part of every example: y = x[index].

    Args:
        x: N x ...
        index: a whole slice for the examples, then numbers or slices.

    Returns:
        y, and the rule at x.

    Raises:
        NotCovered: the rule does not support these arguments.
    """
    whole = isinstance(index, tuple) and index[:1] == (slice(None),)
    if not isinstance(x, Tensor) or not whole or not all(isinstance(part, int | slice) for part in index):
        raise NotCovered(f"the selection [{index}] is not the same part of every example")
    return x[index], SelectionRule(x, index)
