"""Tests of the pooling layers' rules."""

import pytest
import torch
from torch import nn

from tests.worker.optim.curvature.checks import EXAMPLES, check_rules
from worker.optim.curvature.graph import trace
from worker.optim.curvature.linearization import Linearization
from worker.optim.curvature.rules.base import NotCovered

LAYERS = [
    nn.AvgPool2d(2),
    nn.AvgPool2d((3, 2), stride=1, padding=1, count_include_pad=False),
    nn.AvgPool2d(3, ceil_mode=True),
    nn.AdaptiveAvgPool2d(1),
    nn.AdaptiveAvgPool2d((3, 2)),
    nn.MaxPool2d(2),
    nn.MaxPool2d(3, stride=2, padding=1),
    nn.MaxPool2d(2, stride=1, dilation=2),
]


@pytest.mark.parametrize("pool", LAYERS, ids=str)
@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_derivatives_of_pooling(pool: nn.Module, layout: torch.memory_format) -> None:
    """Tangents and cotangents are those of automatic differentiation, alone and above a convolution."""
    torch.manual_seed(0)
    x = torch.rand(EXAMPLES, 2, 7, 5).to(memory_format=layout)
    check_rules(pool, x)
    check_rules(nn.Sequential(nn.Conv2d(2, 3, 3, padding=1), pool, nn.Flatten()), x)


@pytest.mark.parametrize("pool", [nn.MaxPool2d(2, return_indices=True), nn.MaxPool3d(2)], ids=str)
def test_other_pooling_is_left_to_autograd(pool: nn.Module) -> None:
    """Pooling that no rule knows is said to be so."""
    with pytest.raises(NotCovered):
        Linearization.at(trace(nn.Sequential(pool)), torch.rand(EXAMPLES, 2, 4, 4))
