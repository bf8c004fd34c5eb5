"""Tests of the autoencoder."""

import math
from typing import Any

import pytest
import torch
from torch import nn

from backend.schemas.catalog import DataSet, Dimension
from worker.optim import layer_names
from worker.problems.autoencoder import PROBLEM, AutoencoderOptions
from worker.problems.data.mnist_5k import INFO
from worker.problems.problem import layers_of

OPTIONS: list[dict[str, Any]] = [
    {},
    {"hidden_1": 11, "hidden_2": 7, "hidden_3": 5, "code": 2},
    {"hidden_1": 3, "hidden_2": 9, "hidden_3": 4, "code": 12, "output": "sigmoid"},
]
SMALL = AutoencoderOptions(hidden_1=11, hidden_2=7, hidden_3=5, code=2)


@pytest.mark.parametrize("options", OPTIONS)
@pytest.mark.parametrize("shape", [[1, 28, 28], [3, 4, 5]])
def test_symbolic_shapes_are_the_networks(options: dict[str, Any], shape: list[int]) -> None:
    """Each layer announced by option names has, with these options, the shape that the network's layer has."""
    chosen = AutoencoderOptions(**options)
    data = DataSet(name="x", title="", train_size=1, test_size=1, shape=shape, classes=0, embedded=False)
    values = chosen.model_dump() | {"inputs": data.inputs}

    def number(dimension: Dimension) -> int:
        return int(values[dimension]) if isinstance(dimension, str) else dimension

    announced = {
        layer.name: {key: [number(d) for d in dims] for key, dims in layer.parameters.items()}
        for layer in PROBLEM.layers(data)
    }
    built = {layer.name: layer.parameters for layer in layers_of(PROBLEM.build(chosen, data))}
    assert announced == built
    assert list(announced) == list(built)


def test_default_is_the_papers_network() -> None:
    """784-1000-500-250-30 and back: 2,837,314 parameters, a tanh after each layer but the code and the output."""
    model = PROBLEM.build(AutoencoderOptions(), INFO)
    kinds = [type(module) for part in model.children() for module in part.children()]
    assert sum(p.numel() for p in model.parameters()) == 2_837_314
    assert kinds == ([nn.Linear, nn.Tanh] * 3 + [nn.Linear]) * 2


def test_blocks_are_encoder_and_decoder() -> None:
    """The problem's own partition is the paper's: two blocks that hold every layer once, in order."""
    encoder, decoder = PROBLEM.partition
    assert encoder + decoder == layer_names(PROBLEM.build(SMALL, INFO))
    assert {name.split(".")[0] for name in encoder} == {"encoder"}
    assert {name.split(".")[0] for name in decoder} == {"decoder"}


def test_initial_weights_are_glorot_uniform() -> None:
    """Weights fill [-sqrt(6 / (in + out)), +sqrt(6 / (in + out))] evenly; biases are zero."""
    for layer in PROBLEM.build(AutoencoderOptions(), INFO).modules():
        if isinstance(layer, nn.Linear):
            bound = math.sqrt(6 / (layer.in_features + layer.out_features))
            assert layer.weight.detach().abs().max() <= torch.tensor(bound)  # a draw may be the bound as float32 has it
            assert float(layer.weight.detach().std()) == pytest.approx(bound / math.sqrt(3), rel=0.05)
            assert float(layer.bias.detach().abs().max()) == 0


def test_sigmoid_output_stays_between_zero_and_one() -> None:
    """The option sigmoid bounds the output; linear does not."""
    images = 50 * torch.randn(20, 1, 28, 28, generator=torch.Generator().manual_seed(0))
    inputs = PROBLEM.inputs(images)
    sigmoid = PROBLEM.build(SMALL.model_copy(update={"output": "sigmoid"}), INFO)
    linear = PROBLEM.build(SMALL, INFO)
    assert float(sigmoid(inputs).detach().min()) >= 0
    assert float(sigmoid(inputs).detach().max()) <= 1
    assert float(linear(inputs).detach().min()) < 0


def test_image_is_its_own_target() -> None:
    """Inputs and targets are both the flattened image."""
    images = torch.rand(2, 1, 28, 28)
    assert torch.equal(PROBLEM.inputs(images), PROBLEM.targets(images, torch.zeros(2)))
    assert PROBLEM.inputs(images).shape == (2, 784)


@pytest.mark.parametrize("width", [0, 4097, 10**9, 2.5, "many"])
def test_widths_are_bounded(width: Any) -> None:
    """A width below 1, above 4,096 or not a whole number is refused."""
    with pytest.raises(ValueError, match="hidden_1"):
        AutoencoderOptions(hidden_1=width)
