"""Tests of the peephole LSTM's rules, torch's and the one whose passes are in C."""

from collections.abc import Iterator

import pytest
import torch
from torch import nn

from tests.worker.optim.curvature.checks import EXAMPLES, STACK, check_rules, close, counted
from worker.optim import native
from worker.optim.curvature.rules.recurrent_native import lstm
from worker.optim.lstm import PeepholeLSTM


@pytest.fixture(autouse=True, params=[False, True], ids=["torch", "compiled"])
def compiled(request: pytest.FixtureRequest) -> Iterator[bool]:
    """Whether the passes in C may serve."""
    if request.param and not native.instruction_set():
        pytest.skip("there are no passes in C: they were not built at installation, or do not load")
    with native.enabled(request.param):
        yield request.param


def layer(inputs: int, hidden: int) -> PeepholeLSTM:
    """Make a layer whose gates are far from linear."""
    made = PeepholeLSTM(inputs, hidden)
    for parameter in made.parameters():
        nn.init.normal_(parameter)
    return made


@pytest.mark.parametrize("steps", [1, 2, 6])
def test_derivatives_of_one_layer(steps: int) -> None:
    """Tangents and cotangents of weights and inputs are those of automatic differentiation."""
    torch.manual_seed(0)
    check_rules(layer(3, 4), torch.rand(EXAMPLES, steps, 3))


def test_derivatives_of_a_stack_of_layers() -> None:
    """The same through two layers."""
    torch.manual_seed(0)
    check_rules(nn.Sequential(layer(1, 3), layer(3, 2)), torch.rand(EXAMPLES, 5, 1))


def test_frozen_parameters_have_no_part() -> None:
    """A parameter without gradient is left out."""
    torch.manual_seed(0)
    made = layer(2, 3)
    made.bias.requires_grad_(False)
    made.weight.requires_grad_(False)
    check_rules(nn.Sequential(made, layer(3, 2)), torch.rand(EXAMPLES, 4, 2))


def test_rows_are_the_weights_cotangents_by_example() -> None:
    """A stack of cotangents gives each example's share, whatever the size of the pieces it is cut into."""
    torch.manual_seed(0)
    made = layer(2, 3).double()
    x = torch.rand(EXAMPLES, 4, 2, dtype=torch.float64)
    stack = torch.rand(STACK, EXAMPLES, 4, 3, dtype=torch.float64)
    names = ("weight", "recurrent", "peephole", "bias")
    with torch.no_grad():
        rows = lstm(made, x)[1].rows(stack, names)
    for k, cotangents in enumerate(stack):
        for n, cotangent in enumerate(cotangents):
            parts = torch.autograd.grad(made(x[n : n + 1]), [getattr(made, name) for name in names], cotangent[None])
            close({name: rows[name][k, n] for name in names}, dict(zip(names, parts, strict=True)))


def test_counted_operations_are_torchs(compiled: bool) -> None:
    """Predicted operations are within 5 % of torch's count, by block and for all; C's are predicted to be as many."""
    model = nn.Sequential(layer(3, 10), layer(10, 10), nn.Flatten(), nn.Linear(200, 3))
    inputs, blocks = torch.rand(EXAMPLES, 20, 3), [["0"], ["1", "3"]]
    pairs = counted(model, inputs, blocks)
    if compiled:
        with native.enabled(False):
            assert [predicted for predicted, _ in pairs] == [
                predicted for predicted, _ in counted(model, inputs, blocks)
            ]
        return
    for predicted, found in pairs:
        assert predicted == pytest.approx(found, rel=0.05)
