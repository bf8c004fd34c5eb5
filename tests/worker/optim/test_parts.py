"""Blocks by parameters, a part of a network, and blocks that are added."""

import copy
from typing import Any

import pytest
import torch
from torch import nn

from tests.worker.optim.cases import weights
from worker.optim import BlockHessianFree, FirstOrder, HessianFree, PartitionError

METHODS = pytest.mark.parametrize("method", ["auto", "autograd"])
X, T = torch.rand(12, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(0)), torch.arange(12) % 3


def mlp() -> Any:
    """Two dense layers, always the same."""
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 3)).double()


def bhf(model: nn.Module, blocks: Any, **options: Any) -> BlockHessianFree:
    """Make an optimizer."""
    return BlockHessianFree(model, nn.CrossEntropyLoss(), blocks, **{"curvature_batch": 6, "damping": 0.1, **options})


@METHODS
@pytest.mark.parametrize("form", ["parameters", "names", "named"])
def test_blocks_by_parameters(form: str, method: str) -> None:
    """They are the blocks by layers; a state goes from one to the other form of the same names."""
    one, other = mlp(), mlp()
    blocks: Any = {
        "parameters": [[other[0].weight, other[0].bias], list(other[2].parameters())],
        "names": [["0.weight", "0.bias"], ["2.weight", "2.bias"]],
        "named": [module.named_parameters() for module in (other[0], other[2])],
    }[form]
    a, b = bhf(one, [["0"], ["2"]], product_method=method), bhf(other, blocks, product_method=method)
    for _ in range(2):
        assert a.step(X, T) == b.step(X, T)
    assert torch.equal(weights(one), weights(other))
    again = bhf(other, [["0.weight", "0.bias"], ["2.weight", "2.bias"]], product_method=method)
    again.load_state_dict(copy.deepcopy(b.state_dict()))
    twin, clone = copy.deepcopy((other, b))
    assert again.step(X, T) == clone.step(X, T)
    assert torch.equal(weights(other), weights(twin))


@METHODS
def test_weight_and_bias_may_be_apart(method: str) -> None:
    """A layer's parameters in two blocks are solved from the same weights, as one dense solution each."""
    model, other = mlp(), mlp()
    made = bhf(model, [["0.bias"], ["0.weight", "2"]], product_method=method, warm_start=0.0, max_cg_iterations=200)
    before = model[0].bias.detach().clone()
    made.step(X, T)
    other.requires_grad_(False)
    other[0].bias.requires_grad_(True)
    HessianFree(
        other, nn.CrossEntropyLoss(), curvature_batch=6, damping=0.1, warm_start=0.0, max_cg_iterations=200
    ).step(X, T)
    torch.testing.assert_close(model[0].bias, other[0].bias, rtol=1e-4, atol=1e-6)
    assert not torch.equal(model[0].bias, before)


@METHODS
def test_a_part_of_a_network(method: str) -> None:
    """The update is that of the network whose other layers are frozen; another optimizer may have these."""
    model, frozen = mlp(), mlp()
    frozen[0].requires_grad_(False)
    made = bhf(model, [["2"]], partial=True, product_method=method)
    alone = bhf(frozen, [["2"]], product_method=method)
    for _ in range(2):
        assert made.step(X, T).loss == alone.step(X, T).loss
    torch.testing.assert_close(weights(model), weights(frozen))
    assert torch.equal(model[0].weight, frozen[0].weight)
    rest = bhf(model, [["0"]], partial=True, product_method=method)
    head = model[2].weight.detach().clone()
    first = made.step(X, T).loss
    for _ in range(5):
        rest.step(X, T)
        last = made.step(X, T).loss
    assert last < first
    assert not torch.equal(model[2].weight, head)
    sgd = FirstOrder(model, nn.CrossEntropyLoss(), lambda named: torch.optim.SGD([p for n, p in named if n < "2"]))
    sgd.step(X, T)
    made.step(X, T)


@METHODS
def test_an_unfrozen_layer_is_added(method: str) -> None:
    """The update after it is that of both blocks, the old one with its last solution and values."""
    model, other = mlp(), mlp()
    model[0].requires_grad_(False)
    made = bhf(model, [["2"]], product_method=method)
    made.step(X, T)
    model[0].requires_grad_(True)
    made.add_param_group({"params": model[0].parameters(), "damping": 0.5, "lr": 0.2})
    assert [group["lr"] for group in made.param_groups] == [0.1, 0.2]
    assert [list(block.layers) for block in made.blocks] == [["2"], ["0.weight", "0.bias"]]
    other.load_state_dict(model.state_dict())
    both = bhf(other, [["2"], ["0.weight", "0.bias"]], product_method=method)
    state = copy.deepcopy(made.state_dict())
    both.load_state_dict(state)
    for _ in range(2):
        assert made.step(X, T) == both.step(X, T)
    assert torch.equal(weights(model), weights(other))


def test_one_parameter_may_be_added() -> None:
    """As torch's own optimizers take it."""
    model = mlp()
    made = bhf(model, [["2"]], partial=True)
    made.add_param_group({"params": model[0].bias})
    before = model[0].bias.detach().clone()
    made.step(X, T)
    assert [list(block.names) for block in made.blocks] == [["2.weight", "2.bias"], ["0.bias"]]
    assert not torch.equal(model[0].bias, before)


def test_what_is_no_new_block_is_refused() -> None:
    """Parameters of another block or another model, and values out of bounds; nothing is added."""
    model = mlp()
    made = bhf(model, [["2"]], partial=True)
    for group, error in (
        ({"params": ["2"]}, PartitionError),
        ({"params": mlp()[0].parameters()}, PartitionError),
        ({"params": ["9"]}, PartitionError),
        ({"lr": 0.5}, PartitionError),
        ({"params": model[0].parameters(), "damping": -1.0}, ValueError),
        ({"params": model[0].parameters(), "damping": 0.0, "adaptive_damping": True}, ValueError),
    ):
        with pytest.raises(error):
            made.add_param_group(group)
    assert len(made.param_groups) == len(made.blocks) == 1
    made.step(X, T)
    for blocks in ([[model[0].weight, 3]], [model[0].weight], [[nn.Parameter(X)]]):
        with pytest.raises(PartitionError):
            bhf(model, blocks, partial=True)
    with pytest.raises(PartitionError, match="partial=True"):
        bhf(model, [model[2].parameters()])
