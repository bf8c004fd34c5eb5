"""The sum of two values, which closes a residual branch."""

import operator
from dataclasses import dataclass
from typing import Self

import torch
from torch import Tensor

from worker.optim.curvature.rules.base import NotCovered, Rule, Weights, covers


@dataclass
class SumRule(Rule):
    """y' = x_1' + x_2'."""

    def tangent(self, inputs: tuple[Tensor | None, ...], weights: Weights) -> Tensor:  # noqa: ARG002 - has none
        """Return x_1' + x_2'."""
        first, second = inputs
        if first is None or second is None:
            (only,) = (x for x in inputs if x is not None)
            return only
        return first + second

    def backward(self, cotangent: Tensor, needs: tuple[bool, ...], weights: Weights) -> tuple[Tensor | None, ...]:  # noqa: ARG002 - has none
        """Return y' for each."""
        return tuple(cotangent if need else None for need in needs)

    def narrow(self, count: int) -> Self:  # noqa: ARG002 - holds nothing
        """Return itself."""
        return self


@covers(operator.add, torch.add, "add")
def add(first: Tensor, second: Tensor) -> tuple[Tensor, Rule]:
    """Add two values: y = x_1 + x_2.

    Args:
        first: x_1, N x ...
        second: x_2, in the same shape.

    Returns:
        y, and the rule at x.

    Raises:
        NotCovered: the rule does not support these arguments.
    """
    if not isinstance(first, Tensor) or not isinstance(second, Tensor) or first.shape != second.shape:
        raise NotCovered("a sum is not one of two values of the same shape")
    return first + second, SumRule()
