"""Tests of the convolutions' rule."""

from typing import Any

import pytest
import torch
from torch import nn

from tests.worker.optim.curvature.checks import EXAMPLES, check_rules, counted
from worker.optim.curvature.graph import trace
from worker.optim.curvature.linearization import Linearization
from worker.optim.curvature.rules.base import NotCovered

OPTIONS: list[dict[str, Any]] = [
    {"kernel_size": 3, "padding": 1},
    {"kernel_size": (3, 2), "stride": 2, "bias": False},
    {"kernel_size": 3, "padding": "same", "dilation": 2},
    {"kernel_size": 2, "padding": "valid", "groups": 2},
]


@pytest.mark.parametrize("options", OPTIONS, ids=str)
@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_derivatives_of_a_convolution(options: dict[str, Any], layout: torch.memory_format) -> None:
    """Tangents and cotangents of weights and inputs are those of automatic differentiation, in both layouts."""
    torch.manual_seed(0)
    check_rules(nn.Conv2d(2, 4, **options), torch.rand(EXAMPLES, 2, 6, 5).to(memory_format=layout))


def test_derivatives_in_one_and_three_dimensions() -> None:
    """Sequences and volumes are convolved as images are."""
    torch.manual_seed(0)
    check_rules(nn.Conv1d(2, 3, 3, stride=2, padding=1), torch.rand(EXAMPLES, 2, 6))
    check_rules(nn.Conv3d(2, 2, 2), torch.rand(EXAMPLES, 2, 3, 3, 3))


def test_derivatives_of_a_chain() -> None:
    """The same through two convolutions and an activation."""
    torch.manual_seed(0)
    chain = nn.Sequential(nn.Conv2d(2, 3, 3, padding=1), nn.Tanh(), nn.Conv2d(3, 2, 3, stride=2, padding=1))
    check_rules(chain, torch.rand(EXAMPLES, 2, 5, 5))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"kernel_size": 3, "padding": 1, "padding_mode": "circular"}, "pads with circular"),
        ({"kernel_size": 2, "padding": "same"}, "pads unevenly"),
    ],
)
def test_other_padding_is_left_to_autograd(options: dict[str, Any], message: str) -> None:
    """Padding that the rule does not know is said to be so."""
    with pytest.raises(NotCovered, match=message):
        Linearization.at(trace(nn.Conv2d(2, 3, **options)), torch.rand(EXAMPLES, 2, 5, 5))


def test_counted_operations_are_torchs() -> None:
    """Predicted operations are within 5 % of torch's count, by block and for all."""
    model = nn.Sequential(
        nn.Conv2d(3, 8, 3, padding=1), nn.Tanh(), nn.Conv2d(8, 8, 3, stride=2, padding=1), nn.Flatten(),
        nn.Linear(8 * 4 * 4, 3),
    )  # fmt: skip
    for predicted, found in counted(model, torch.rand(EXAMPLES, 3, 8, 8), [["0"], ["2", "4"]]):
        assert predicted == pytest.approx(found, rel=0.05)
