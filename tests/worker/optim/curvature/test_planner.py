"""Which method is taken, from operations and memory."""

import pytest
import torch
from torch import Tensor, nn

from worker.optim import HessianFree, SoftmaxCrossEntropy, SquaredError
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


class Counting(SquaredError):
    """Remembers the size of the largest square root."""

    largest = 0

    def hessian_square_root(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """Note the size."""
        self.largest = max(self.largest, outputs[0].numel() * outputs.numel())
        return super().hessian_square_root(outputs, targets)


@pytest.mark.parametrize("method", ["auto", "products", "explicit", "interface"])
def test_memory_binds_the_losss_square_root(method: str) -> None:
    """Images as outputs: nothing quadratic in their size is computed, to plan or to check the loss."""
    loss = Counting()
    model, x = nn.Conv2d(1, 3, 1), torch.rand(8, 1, 48, 48)
    made = HessianFree(
        model, loss, curvature_batch=4, damping=0.1, max_cg_iterations=2, product_method=method, memory_limit=16
    )
    made.step(x, torch.rand(8, 3, 48, 48))
    assert loss.largest * 4 <= 16 << 20


def test_an_example_is_measured_without_its_batch() -> None:
    """A view of the first examples has the storage of all, which no chunk needs."""
    model = nn.Sequential(nn.Flatten(), nn.Linear(300, 4))
    found = []
    for count in (40, 4000):
        traced = TracedModel(model, SquaredError())
        traced.linearize_in_chunks(4, torch.rand(count, 300), torch.rand(count, 4))
        found.append(traced.example_bytes)
    assert found[0] == found[1]
