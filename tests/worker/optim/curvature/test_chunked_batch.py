"""A gradient batch that is passed in chunks."""

import pytest
import torch
from torch import Tensor, nn

from worker.optim import BlockHessianFree, SoftmaxCrossEntropy, StepResult
from worker.optim.blocks import make_blocks
from worker.optim.curvature import traced_model
from worker.optim.curvature.chunked_batch import ChunkedBatch
from worker.optim.curvature.linearization import Linearization
from worker.optim.curvature.traced_batch import TracedBatch
from worker.optim.curvature.traced_model import TracedModel, linearization_bytes

N, KEEP, WIDTHS = 23, 5, (6, 8, 4)
SMALL = 5 * 8 * (6 + 8 + 8)
"""bytes that 5 examples keep: inputs of both layers and the slope of tanh, in float64"""


def network() -> nn.Module:
    """Two dense layers."""
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(6, 8), nn.Tanh(), nn.Linear(8, 4)).double()


def data() -> tuple[Tensor, Tensor]:
    """Draw 23 examples."""
    torch.manual_seed(1)
    return torch.rand(N, 6, dtype=torch.float64), torch.randint(4, (N,))


def limit(monkeypatch: pytest.MonkeyPatch, activation_bytes: int) -> None:
    """Let a batch be passed in chunks above this memory of activations."""
    monkeypatch.setattr(traced_model, "ACTIVATION_BYTES", activation_bytes)


def step() -> tuple[StepResult, list[Tensor]]:
    """Do two updates."""
    model = network()
    optimizer = BlockHessianFree(
        model, SoftmaxCrossEntropy(), [["0"], ["2"]], curvature_batch=KEEP, damping=0.01, max_cg_iterations=5
    )
    optimizer.step(*data())
    return optimizer.step(*data()), [p.detach().clone() for p in model.parameters()]


def test_what_a_linearization_keeps_is_counted() -> None:
    """Inputs and slopes count once, weights not at all."""
    model, (x, t) = network(), data()
    source = TracedModel(model, SoftmaxCrossEntropy())
    rules = Linearization.at(source.graph, x[:5].clone()).rules
    assert linearization_bytes(rules, list(model.parameters())) == SMALL
    assert isinstance(source.linearize_in_chunks(KEEP, x, t), TracedBatch)


@pytest.mark.parametrize("activation_bytes", [1, SMALL, 4 * SMALL])
def test_chunks_give_the_whole_batchs_loss_and_gradient(monkeypatch: pytest.MonkeyPatch, activation_bytes: int) -> None:
    """Whatever the chunks, with a smaller last one: loss and gradient are those of all examples."""
    model, (x, t) = network(), data()
    source = TracedModel(model, SoftmaxCrossEntropy())
    (block,) = make_blocks(model, [["0", "2"]])
    expected, found = block.vector(), block.vector()
    whole = source.linearize(x, t)
    whole.gradient(block.views(expected))
    limit(monkeypatch, activation_bytes)
    batch = source.linearize_in_chunks(KEEP, x, t)
    assert isinstance(batch, ChunkedBatch)
    assert len(batch.first.outputs) == KEEP
    batch.gradient(block.views(found))
    torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-14)
    torch.testing.assert_close(batch.value, whole.value, rtol=1e-12, atol=0)
    assert batch.gradient_flops == whole.gradient_flops
    assert batch.forward_flops == whole.forward_flops


def test_updates_in_chunks_are_the_updates(monkeypatch: pytest.MonkeyPatch) -> None:
    """Weights, loss and cost after two updates do not depend on the chunks."""
    whole, weights = step()
    limit(monkeypatch, SMALL)
    chunked, others = step()
    torch.testing.assert_close(others, weights, rtol=1e-9, atol=1e-12)
    assert chunked.loss == pytest.approx(whole.loss, rel=1e-12)
    assert chunked.cost == whole.cost


def test_a_curvature_batch_of_all_examples_is_kept_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where every example is needed again nothing is gained by chunks."""
    limit(monkeypatch, 1)
    x, t = data()
    assert isinstance(TracedModel(network(), SoftmaxCrossEntropy()).linearize_in_chunks(N, x, t), TracedBatch)
