"""Tests of the pointwise rules."""

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from tests.worker.optim.curvature.checks import EXAMPLES, check_rules
from worker.optim.curvature.graph import trace
from worker.optim.curvature.linearization import Linearization
from worker.optim.curvature.rules.base import NotCovered

ACTIVATIONS = [nn.ReLU(), nn.Tanh(), nn.Sigmoid(), nn.GELU(), nn.Softplus(), nn.ELU(), nn.LeakyReLU(0.2), nn.Identity()]


class Rectified(nn.Module):
    """Three spellings of the rectifier, on both sides of zero."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second, self.third = (nn.Linear(3, 3) for _ in range(3))

    def forward(self, x: Tensor) -> Tensor:
        """Run it."""
        result: Tensor = self.third(functional.relu(self.second(torch.relu(self.first(x.relu())))))
        return result


@pytest.mark.parametrize("activation", ACTIVATIONS, ids=str)
@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_derivatives_of_activations(activation: nn.Module, layout: torch.memory_format) -> None:
    """Tangents and cotangents are those of automatic differentiation, above a convolution and between layers."""
    torch.manual_seed(0)
    x = (torch.rand(EXAMPLES, 2, 4, 3) - 0.5).to(memory_format=layout)
    check_rules(nn.Sequential(nn.Conv2d(2, 3, 3), activation, nn.Flatten(), nn.Linear(6, 2)), x)


def test_derivatives_of_functions() -> None:
    """Functions and methods have the module's rule."""
    torch.manual_seed(0)
    check_rules(Rectified(), torch.rand(EXAMPLES, 3) - 0.5)


def test_rectifier_keeps_no_memory_of_its_own() -> None:
    """What it keeps is its output, which is what the next layer keeps."""
    at = Linearization.at(trace(nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 2))), torch.rand(EXAMPLES, 3))
    assert at.rules[1].y is at.rules[2].x  # type: ignore[attr-defined]  # of the rules of these two classes


@pytest.mark.parametrize("activation", [nn.ReLU(inplace=True), nn.ELU(inplace=True)], ids=str)
def test_activations_in_place_are_left_to_autograd(activation: nn.Module) -> None:
    """An activation that overwrites what another rule keeps is refused."""
    with pytest.raises(NotCovered, match="writes over its input"):
        Linearization.at(trace(nn.Sequential(nn.Linear(3, 4), activation)), torch.rand(EXAMPLES, 3))
