"""Tests of the rule of selections."""

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from tests.worker.optim.curvature.checks import EXAMPLES, NARROW, STACK, check_rules
from worker.optim.curvature.graph import trace
from worker.optim.curvature.linearization import Linearization
from worker.optim.curvature.rules.base import NotCovered
from worker.optim.curvature.rules.selection import SelectionRule


class Part(nn.Module):
    """A part of a dense layer's outputs."""

    def __init__(self, index: Any) -> None:
        super().__init__()
        self.dense = nn.Linear(3, 4)
        self.index = index

    def forward(self, x: Tensor) -> Tensor:
        """Run it."""
        result: Tensor = self.dense(x)[self.index]
        return result


@pytest.mark.parametrize("index", [(slice(None), -1), (slice(None), slice(1, 4, 2)), (slice(None), 0, slice(1, 3))])
def test_derivatives_of_selections(index: Any) -> None:
    """Tangents and cotangents are those of automatic differentiation."""
    torch.manual_seed(0)
    check_rules(Part(index), torch.rand(EXAMPLES, 5, 3))


@pytest.mark.parametrize("last", [True, False], ids=["examples last", "examples first"])
def test_cotangents_lie_as_the_values_do(last: bool) -> None:
    """A stack of cotangents has the examples last in memory where the values have: no layer below moves them."""
    x = torch.rand(4, 3, EXAMPLES).permute(2, 0, 1) if last else torch.rand(EXAMPLES, 4, 3)
    rule = SelectionRule(x, (slice(None), -1)).narrow(NARROW)
    seed = torch.rand(STACK, NARROW, 3)
    (found,) = rule.backward(seed, (True,), {})
    assert found is not None
    assert torch.equal(found[:, :, -1], seed)
    assert not found[:, :, :-1].any()
    assert (found.permute(2, 3, 0, 1) if last else found).is_contiguous()


@pytest.mark.parametrize("index", [0, (slice(1, None), 0), (slice(None), [0, 1]), (slice(None), None)], ids=str)
def test_other_selections_are_left_to_autograd(index: Any) -> None:
    """An index that takes examples, or takes by lists, is said to have no rule."""
    with pytest.raises(NotCovered, match="not the same part of every example"):
        Linearization.at(trace(Part(index)), torch.rand(EXAMPLES, 5, 3))
