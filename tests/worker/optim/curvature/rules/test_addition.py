"""Tests of the rule of sums."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from tests.worker.optim.curvature.checks import EXAMPLES, check_rules
from worker.optim.curvature.graph import trace
from worker.optim.curvature.linearization import Linearization
from worker.optim.curvature.rules.base import NotCovered


class Residual(nn.Module):
    """Two branches that are summed, the second time with the inputs themselves."""

    def __init__(self, add: Callable[[Tensor, Tensor], Tensor]) -> None:
        super().__init__()
        self.first, self.second, self.third = (nn.Linear(3, 3) for _ in range(3))
        self.add = add

    def forward(self, x: Tensor) -> Tensor:
        """Run it."""
        y = self.add(self.second(torch.tanh(self.first(x))), self.third(x))
        return self.add(x, torch.tanh(y))


@pytest.mark.parametrize(
    "add", [lambda a, b: a + b, torch.add, lambda a, b: a.add(b)], ids=["operator", "function", "method"]
)
def test_derivatives_of_residual_branches(add: Callable[[Tensor, Tensor], Tensor]) -> None:
    """Tangents and cotangents are those of automatic differentiation, where branches part and meet."""
    torch.manual_seed(0)
    check_rules(Residual(add), torch.rand(EXAMPLES, 3))


@pytest.mark.parametrize("add", [lambda a, b: a + b[:, :1], lambda a, _: a + 1])
def test_other_sums_are_left_to_autograd(add: Callable[[Tensor, Tensor], Tensor]) -> None:
    """A sum that broadcasts, or one with a number, is said to have no rule."""
    with pytest.raises(NotCovered, match="not one of two values of the same shape"):
        Linearization.at(trace(Residual(add)), torch.rand(EXAMPLES, 3))
