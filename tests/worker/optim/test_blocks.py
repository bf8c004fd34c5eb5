"""Layers, partitions and their checks."""

from itertools import pairwise

import pytest
import torch
from torch import nn

from worker.optim import (
    BlockHessianFree,
    ModelError,
    PartitionError,
    SquaredError,
    layer_names,
    layer_partition,
)
from worker.optim.blocks import make_blocks


def chain(*widths: int) -> nn.Sequential:
    """Dense layers named "0", "1", ..."""
    return nn.Sequential(*(nn.Linear(a, b, bias=False) for a, b in pairwise(widths)))


def test_layers_are_the_owners_of_parameters() -> None:
    """Layers stand in the model's order by dotted names, without activations, containers and frozen ones."""
    model = nn.Sequential(nn.Sequential(nn.Linear(3, 2), nn.Tanh()), nn.Linear(2, 2), nn.Linear(2, 1))
    model[1].requires_grad_(False)
    assert layer_names(model) == ["0.0", "2"]
    assert layer_partition(model) == [["0.0"], ["2"]]


def test_block_vectors_are_views_in_the_order_of_its_parameters() -> None:
    """Writing into a view writes into the flat vector."""
    block = make_blocks(nn.Sequential(nn.Linear(3, 2)), [["0"]])[0]
    vector = block.vector()
    block.views(vector)["0.bias"].fill_(1)
    assert vector.tolist() == [0, 0, 0, 0, 0, 0, 1, 1]
    assert block.names == ("0.weight", "0.bias")


@pytest.mark.parametrize(
    ("partition", "says"),
    [
        ([["0"], ["1", "9"]], "layer '9' is not in the model; its layers are '0', '1', '2'"),
        ([["0", "1"]], "parameter '2.weight' is in no block"),
        ([["0", "1"], ["1", "2"]], "parameter '1.weight' is in blocks 0 and 1"),
        ([["0", "1", "2"], []], "block 1 is empty"),
        ([["0", "0", "1", "2"]], "names a layer twice"),
    ],
)
def test_wrong_partitions_are_refused(partition: list[list[str]], says: str) -> None:
    """An error names the layer or parameter that is unknown, missing or doubled."""
    with pytest.raises(PartitionError, match=says):
        make_blocks(chain(2, 2, 2, 2), partition)


def test_tied_parameters_stay_together() -> None:
    """Tied parameters count once within a block and are refused across blocks."""
    model = chain(2, 2, 2)
    model[1].weight = model[0].weight
    assert make_blocks(model, [["0", "1"]])[0].names == ("0.weight",)
    with pytest.raises(PartitionError, match=r"'0.weight' and '1.weight' are tied"):
        make_blocks(model, [["0"], ["1"]])


def test_mixed_and_small_types_are_refused() -> None:
    """All parameters have one type, float32 or float64."""
    mixed = chain(2, 2, 2)
    mixed[0].double()
    with pytest.raises(ModelError, match="several types"):
        make_blocks(mixed, [["0", "1"]])
    with pytest.raises(ModelError, match="bfloat16"):
        make_blocks(chain(2, 2).to(torch.bfloat16), [["0"]])


@pytest.mark.parametrize("method", ["auto", "autograd"])
def test_tied_parameters_are_found_in_any_order(method: str) -> None:
    """A block may name the layers in another order than the model has them: the step is the same."""
    steps = []
    for order in (["0", "2"], ["2", "0"]):
        torch.manual_seed(0)
        model = nn.Sequential(nn.Linear(4, 4), nn.Tanh(), nn.Linear(4, 4)).double()
        model[2].weight = model[0].weight
        inputs = torch.rand(8, 4, dtype=torch.float64)
        made = BlockHessianFree(model, SquaredError(), [order], curvature_batch=4, damping=0.1, product_method=method)
        made.step(inputs, inputs)
        steps.append(torch.cat([p.detach().flatten() for p in model.parameters()]))
    torch.testing.assert_close(steps[0], steps[1], rtol=1e-9, atol=1e-12)
