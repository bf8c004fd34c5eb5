"""Which way is taken, from operations and memory."""

import pytest
import torch
from torch import nn

from worker.optim import SoftmaxCrossEntropy, SquaredError
from worker.optim.blocks import Block, make_blocks
from worker.optim.curvature.planner import Plan, plan
from worker.optim.curvature.traced_model import WrittenBatch, WrittenModel


def wide(count: int) -> tuple[WrittenBatch, list[Block]]:
    """An autoencoder with wide layers and a narrow code, at a batch of `count`."""
    model = nn.Sequential(
        nn.Linear(300, 200), nn.Tanh(), nn.Linear(200, 4), nn.Linear(4, 200), nn.Tanh(), nn.Linear(200, 300)
    )
    blocks = make_blocks(model, [["0", "2"], ["3", "5"]])
    x = torch.rand(count, 300)
    return WrittenModel(model, SquaredError()).at(x, x).narrow(count, blocks), blocks


def chosen(count: int, *, iterations: int = 30, memory: int = 1 << 30, way: str = "auto") -> list[Plan]:
    """Plan both blocks."""
    batch, blocks = wide(count)
    return [plan(batch, b, way=way, iterations=iterations, warm=True, memory=memory) for b in blocks]


def test_small_batches_go_to_sample_space() -> None:
    """With fewer examples than units the wide layers go to sample space, and the encoder ends at the code."""
    encoder, decoder = chosen(20)
    assert encoder.way == decoder.way == "samples"
    assert encoder.interface is not None
    assert encoder.interface.width == 4
    assert decoder.interface is None


def test_large_batches_stay_with_the_parameters() -> None:
    """With many more examples than units nothing is gained by sample space."""
    encoder, decoder = chosen(2000)
    assert encoder.way == "interface"
    assert decoder.way == "products"


def test_few_iterations_do_not_pay_for_an_interface() -> None:
    """What is set up once per update must be used often enough."""
    encoder, _ = chosen(2000, iterations=1)
    assert encoder.way == "products"


def test_memory_limits_the_ways() -> None:
    """With no memory to spend only products are left."""
    assert [p.way for p in chosen(20, memory=1000)] == ["products", "products"]


def test_small_blocks_with_many_iterations_become_matrices() -> None:
    """A few hundred parameters are a matrix when iterations are many."""
    model = nn.Sequential(nn.Linear(60, 60), nn.Tanh(), nn.Linear(60, 10), nn.Tanh(), nn.Linear(10, 3))
    blocks = make_blocks(model, [["0"], ["2", "4"]])
    batch = (
        WrittenModel(model, SoftmaxCrossEntropy()).at(torch.rand(4000, 60), torch.arange(4000) % 3).narrow(4000, blocks)
    )
    assert plan(batch, blocks[1], iterations=3000, warm=True).way == "explicit"
    assert plan(batch, blocks[1], iterations=3, warm=True).way == "products"


@pytest.mark.parametrize("way", ["products", "samples"])
def test_plans_obey_the_way_asked_for(way: str) -> None:
    """A way asked for is taken even where another is cheaper."""
    assert {p.way for p in chosen(20, way=way)} == {way}
    assert {p.way for p in chosen(2000, way=way)} == {way}
