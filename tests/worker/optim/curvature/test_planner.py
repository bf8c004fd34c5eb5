"""Which method is taken, from operations and memory."""

import pytest
import torch
from torch import nn

from worker.optim import SoftmaxCrossEntropy, SquaredError
from worker.optim.blocks import Block, make_blocks
from worker.optim.curvature.planner import Plan, plan
from worker.optim.curvature.traced_batch import TracedBatch
from worker.optim.curvature.traced_model import TracedModel


def wide(count: int) -> tuple[TracedBatch, list[Block]]:
    """An autoencoder with wide layers and a narrow code, at a batch of `count`."""
    model = nn.Sequential(
        nn.Linear(300, 200), nn.Tanh(), nn.Linear(200, 4), nn.Linear(4, 200), nn.Tanh(), nn.Linear(200, 300)
    )
    blocks = make_blocks(model, [["0", "2"], ["3", "5"]])
    x = torch.rand(count, 300)
    return TracedModel(model, SquaredError()).linearize(x, x).narrow(count, blocks), blocks


def chosen(count: int, *, iterations: int = 30, memory: int = 1 << 30, method: str = "auto") -> list[Plan]:
    """Plan both blocks."""
    batch, blocks = wide(count)
    return [plan(batch, b, product_method=method, iterations=iterations, warm=True, memory=memory) for b in blocks]


def test_small_batches_go_to_sample_space() -> None:
    """With fewer examples than units the wide layers go to sample space, and the encoder ends at the code."""
    encoder, decoder = chosen(20)
    assert encoder.product_method == decoder.product_method == "samples"
    assert encoder.interface is not None
    assert encoder.interface.width == 4
    assert decoder.interface is None


def test_large_batches_stay_with_the_parameters() -> None:
    """With many more examples than units nothing is gained by sample space."""
    encoder, decoder = chosen(2000)
    assert encoder.product_method == "interface"
    assert decoder.product_method == "products"


def test_few_iterations_do_not_pay_for_an_interface() -> None:
    """What is set up once per update must be used often enough."""
    encoder, _ = chosen(2000, iterations=1)
    assert encoder.product_method == "products"


def test_memory_limits_the_ways() -> None:
    """With no memory to spend only products are left."""
    assert [p.product_method for p in chosen(20, memory=1000)] == ["products", "products"]


def test_small_blocks_with_many_iterations_become_matrices() -> None:
    """A few hundred parameters are a matrix when iterations are many."""
    model = nn.Sequential(nn.Linear(60, 60), nn.Tanh(), nn.Linear(60, 10), nn.Tanh(), nn.Linear(10, 3))
    blocks = make_blocks(model, [["0"], ["2", "4"]])
    batch = (
        TracedModel(model, SoftmaxCrossEntropy())
        .linearize(torch.rand(4000, 60), torch.arange(4000) % 3)
        .narrow(4000, blocks)
    )
    assert plan(batch, blocks[1], iterations=3000, warm=True).product_method == "explicit"
    assert plan(batch, blocks[1], iterations=3, warm=True).product_method == "products"


@pytest.mark.parametrize("method", ["products", "samples"])
def test_plans_obey_the_method_asked_for(method: str) -> None:
    """A method asked for is taken even where another is cheaper."""
    assert {p.product_method for p in chosen(20, method=method)} == {method}
    assert {p.product_method for p in chosen(2000, method=method)} == {method}
