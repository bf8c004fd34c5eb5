"""Tests of what a network's layers are."""

from torch import nn

from worker.optim import layer_names
from worker.problems.problem import layers_of


def test_the_catalog_has_the_layers_that_are_trained() -> None:
    """Frozen layers, and frozen parameters of others, are not announced: the optimizers do not know them either."""
    network = nn.Sequential(nn.Linear(2, 3), nn.ReLU(), nn.Linear(3, 3), nn.Linear(3, 1))
    network[2].requires_grad_(False)
    network[3].bias.requires_grad_(False)
    found = layers_of(network)
    assert {layer.name: layer.parameters for layer in found} == {
        "0": {"weight": [3, 2], "bias": [3]},
        "3": {"weight": [1, 3]},
    }
    assert [layer.name for layer in found] == layer_names(network)
