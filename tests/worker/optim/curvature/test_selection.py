"""Tests of the rule of selections."""

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from tests.worker.optim.curvature.checks import EXAMPLES, check_rules
from worker.optim.curvature.graph import trace
from worker.optim.curvature.linearization import Linearization
from worker.optim.curvature.rules import NotCovered


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


@pytest.mark.parametrize("index", [0, (slice(1, None), 0), (slice(None), [0, 1]), (slice(None), None)], ids=str)
def test_other_selections_are_left_to_the_generic_way(index: Any) -> None:
    """An index that takes examples, or takes by lists, is said to have no rule."""
    with pytest.raises(NotCovered, match="not the same part of every example"):
        Linearization.at(trace(Part(index)), torch.rand(EXAMPLES, 5, 3))
