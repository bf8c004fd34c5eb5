"""Tests of the stacked LSTM."""

from typing import Any

import pytest
import torch
from pydantic import ValidationError
from torch import nn

from backend.schemas.optimizer_registry import Optimizer
from tests.worker.cases import NOWHERE
from tests.worker.problems.checks import (
    OPTIMIZERS,
    check_curvature,
    check_layers,
    check_methods,
    data_set,
    training_losses,
)
from worker.optim import PeepholeLSTM
from worker.problems.data import mnist_5k
from worker.problems.lstm import PROBLEM, LstmOptions
from worker.problems.registry import discover

ROWS: dict[str, Any] = {"pixels_per_step": 7}


@pytest.mark.parametrize("options", [{}, ROWS, {"hidden": 3}])
@pytest.mark.parametrize("classes", [10, 3])
def test_symbolic_shapes_are_the_networks(options: dict[str, Any], classes: int) -> None:
    """Each layer announced by names has the network's shape, and the blocks hold the layers in order."""
    check_layers(PROBLEM, options, data_set([1, 28, 28], classes))


def test_blocks_are_the_papers() -> None:
    """The blocks have 510, 870 and 980 parameters: one per LSTM layer, the top one with the dense layer."""
    model = PROBLEM.build(LstmOptions(), mnist_5k.INFO)
    sizes = [
        sum(p.numel() for name in block for p in model.get_submodule(name).parameters()) for block in PROBLEM.partition
    ]
    assert sizes == [510, 870, 980]


def test_initial_weights_are_the_frameworks() -> None:
    """LSTM weights and peepholes are Normal(0, 0.1), all biases zero, the dense layer's weights Glorot uniform."""
    torch.manual_seed(0)
    model = PROBLEM.build(LstmOptions(hidden=100), mnist_5k.INFO)
    for layer in model.modules():
        if isinstance(layer, PeepholeLSTM):
            for weight in (layer.recurrent, layer.peephole):
                assert float(weight.detach().std()) == pytest.approx(0.1, rel=0.15)
        if isinstance(layer, nn.Linear):
            assert float(layer.weight.detach().abs().max()) <= (6 / 110) ** 0.5
        if isinstance(layer, PeepholeLSTM | nn.Linear):
            assert float(layer.bias.detach().abs().max()) == 0


def test_images_become_sequences() -> None:
    """An image is averaged over 4x4 squares, and read row by row: by pixels, 49 steps, or by rows, 7 steps."""
    images = torch.arange(784.0).reshape(1, 1, 28, 28)
    pixels = PROBLEM.inputs(images)
    assert pixels.shape == (1, 49)
    assert pixels[0, 1] == images[0, 0, :4, 4:8].mean()
    for options, shape in (({}, (1, 49, 1)), (ROWS, (1, 7, 7))):
        model = PROBLEM.build(LstmOptions(**options), mnist_5k.INFO)
        assert model.get_submodule("sequence")(pixels).shape == shape


@pytest.mark.parametrize(
    ("shape", "fits"), [([1, 28, 28], True), ([1, 14, 21], True), ([1, 32, 32], False), ([3, 28, 28], False)]
)
def test_accepts_what_shrinks_to_seven_by_seven(shape: list[int], fits: bool) -> None:
    """Grey images are accepted if their sides are multiples of 7."""
    assert PROBLEM.accepts(data_set(shape)) is fits


def test_other_sequences_are_refused() -> None:
    """There are 1 or 7 pixels per step."""
    with pytest.raises(ValidationError, match="must be 1 or 7"):
        LstmOptions(pixels_per_step=2)


def test_curvature_is_exact_and_covered_by_rules() -> None:
    """Gradient and products equal the dense matrix's, by rules alone and by double backward."""
    torch.manual_seed(0)
    model = PROBLEM.build(LstmOptions(hidden=3, pixels_per_step=7), data_set([1, 28, 28], 3))
    for parameter in model.parameters():
        nn.init.normal_(parameter)
    check_curvature(PROBLEM, model, torch.rand(5, 1, 28, 28), torch.arange(5) % 3)


def test_all_methods_make_the_same_updates() -> None:
    """Two updates by each method that serves the problem lead to the same weights, in float64."""
    torch.manual_seed(0)
    model = PROBLEM.build(LstmOptions(hidden=3, pixels_per_step=7), data_set([1, 28, 28], 3))
    for parameter in model.parameters():
        nn.init.normal_(parameter)
    check_methods(PROBLEM, model, torch.rand(5, 1, 28, 28), torch.arange(5) % 3, ["products", "interface", "explicit"])


@pytest.mark.parametrize("optimizer", OPTIMIZERS.values(), ids=OPTIMIZERS)
def test_trains_on_real_digits(optimizer: Optimizer) -> None:
    """Six updates lower the loss over the first digits, below that of guessing."""
    losses = training_losses(PROBLEM, mnist_5k.load(NOWHERE), optimizer, ROWS)
    assert losses[-1] < losses[0] < 2.35


def test_is_installed() -> None:
    """The package's own entry point brings the problem, on every data set it can use, with the paper's settings."""
    (info,) = (problem for problem in discover().catalog().problems if problem.name == "lstm")
    assert {"mnist-5k", "mnist"} <= set(info.data)
    assert info.accuracy
    assert [getattr(o, "damping", None) for o in info.preset.optimizers] == [None, 0.01, 0.01]
    assert [getattr(o, "max_cg_iterations", None) for o in info.preset.optimizers] == [None, 100, 100]
