"""Tests of the residual CNN."""

from typing import Any

import pytest
import torch
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
from worker.optim.curvature.counting import Counter
from worker.optim.curvature.traced_model import TracedModel
from worker.problems.cnn import PROBLEM, CnnOptions
from worker.problems.data import Dataset, mnist_5k
from worker.problems.data.dataset import Split
from worker.problems.registry import discover

SMALL: dict[str, Any] = {"channels_1": 2, "channels_2": 3, "channels_3": 4}
COLOUR = [3, 32, 32]


@pytest.mark.parametrize("options", [{}, SMALL])
@pytest.mark.parametrize("shape", [COLOUR, [1, 28, 28]])
def test_symbolic_shapes_are_the_networks(options: dict[str, Any], shape: list[int]) -> None:
    """Each layer announced by names has the network's shape, and the blocks hold the layers in order."""
    check_layers(PROBLEM, options, data_set(shape, 7))


def test_sizes_of_the_default() -> None:
    """16 x 32 x 32 after the first convolution and block, then 32 x 16 x 16 and 64 x 8 x 8; blocks grow to the top."""
    model = PROBLEM.build(CnnOptions(), data_set(COLOUR))
    sizes = [
        sum(p.numel() for name in block for p in model.get_submodule(name).parameters()) for block in PROBLEM.partition
    ]
    assert sizes == [5_088, 14_432, 58_186]
    x = torch.rand(2, *COLOUR)
    shapes = []
    for layer in model.children():
        x = layer(x)
        shapes.append(tuple(x.shape[1:]))
    assert shapes[:5] == [(16, 32, 32), (16, 32, 32), (16, 32, 32), (32, 16, 16), (64, 8, 8)]
    assert shapes[-1] == (10,)


def test_no_batch_normalization_and_glorot_weights() -> None:
    """Weights fill +-sqrt(6 / (fan in + fan out)), biases are zero, and nothing normalizes over a batch."""
    torch.manual_seed(0)
    for layer in PROBLEM.build(CnnOptions(), data_set(COLOUR)).modules():
        assert not isinstance(layer, nn.modules.batchnorm._NormBase)
        if isinstance(layer, nn.Conv2d | nn.Linear):
            weight = layer.weight.detach()
            bound = (6 / ((weight.shape[0] + weight.shape[1]) * weight[0, 0].numel())) ** 0.5
            assert float(weight.abs().max()) <= bound
            assert float(weight.std()) == pytest.approx(bound / 3**0.5, rel=0.1)
            assert layer.bias is not None
            assert float(layer.bias.detach().abs().max()) == 0


@pytest.mark.parametrize("shape", [[3, 8, 8], [1, 7, 7]])
def test_curvature_is_exact_and_covered_by_rules(shape: list[int]) -> None:
    """Gradient and products equal the dense matrix's, by rules alone and by double backward."""
    torch.manual_seed(0)
    model = PROBLEM.build(CnnOptions(**SMALL), data_set(shape, 3))
    check_curvature(PROBLEM, model, torch.rand(5, *shape), torch.arange(5) % 3)


def test_default_is_covered_in_single_precision() -> None:
    """The rules' outputs are the network's own, bit for bit, and their count of the gradient is torch's within 5 %."""
    torch.manual_seed(0)
    model = PROBLEM.build(CnnOptions(), data_set(COLOUR))
    inputs, targets = PROBLEM.inputs(torch.rand(4, *COLOUR)), torch.arange(4)
    source = TracedModel(model, PROBLEM.loss)
    gradients = {name: torch.empty_like(p) for name, p in model.named_parameters()}
    with torch.no_grad():
        source.check(inputs)
        with Counter() as counter:
            batch = source.linearize(inputs, targets)
            batch.gradient(gradients)
    assert batch.gradient_flops == pytest.approx(counter.flops, rel=0.05)


def test_all_methods_make_the_same_updates() -> None:
    """Two updates by each method that serves the problem lead to the same weights, in float64."""
    torch.manual_seed(0)
    model = PROBLEM.build(CnnOptions(**SMALL), data_set([3, 8, 8], 3))
    check_methods(PROBLEM, model, torch.rand(5, 3, 8, 8), torch.arange(5) % 3, ["products", "interface"])


@pytest.mark.parametrize("optimizer", OPTIMIZERS.values(), ids=OPTIMIZERS)
def test_trains_on_real_digits(optimizer: Optimizer) -> None:
    """Six updates lower the loss over the first digits."""
    losses = training_losses(PROBLEM, mnist_5k.load(NOWHERE), optimizer, SMALL)
    assert losses[-1] < losses[0]


@pytest.mark.parametrize("optimizer", OPTIMIZERS.values(), ids=OPTIMIZERS)
def test_trains_on_colour_images(optimizer: Optimizer) -> None:
    """Six updates lower the loss over images of CIFAR-10's shape, red, green or blue."""
    labels = torch.arange(250) % 3
    generator = torch.Generator().manual_seed(0)
    images = torch.rand(250, *COLOUR, generator=generator)
    images[torch.arange(250), labels] += 1
    data = Dataset(data_set(COLOUR, 3), Split(images[:200], labels[:200]), Split(images[200:], labels[200:]))
    losses = training_losses(PROBLEM, data, optimizer, SMALL)
    assert losses[-1] < losses[0]


def test_is_installed() -> None:
    """The package's own entry point brings the problem, on any images, with the paper's settings."""
    (info,) = (problem for problem in discover().catalog().problems if problem.name == "cnn")
    assert {"mnist-5k", "mnist"} <= set(info.data)
    assert info.accuracy
    assert info.preset.evaluation.polyak_decay == 0.99
    assert [getattr(o, "damping", None) for o in info.preset.optimizers] == [None, 0.1, 0.1]
    assert [getattr(o, "max_cg_iterations", None) for o in info.preset.optimizers] == [None, 30, 30]
