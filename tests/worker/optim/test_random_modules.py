"""Random dense networks: every method gives the update of the dense reference."""

from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from tests.worker.optim.reference import Dense, conjugate_gradient
from worker.optim import BlockHessianFree, SoftmaxCrossEntropy, SquaredError, layer_names
from worker.optim.losses import Loss
from worker.optim.settings import ProductMethod

DAMPING = 0.1
ITERATIONS = 5
ACTIVATIONS = [nn.Tanh, nn.Sigmoid, nn.GELU, nn.SiLU, nn.Softplus, nn.Identity]


@st.composite
def networks(draw: st.DrawFn) -> tuple[nn.Sequential, Loss, list[list[str]], int]:
    """Draw depth, widths, activations, biases, loss, partition and the size of the gradient batch."""
    torch.manual_seed(draw(st.integers(0, 1000)))
    widths = draw(st.lists(st.integers(1, 6), min_size=2, max_size=5))
    model = nn.Sequential()
    for a, b in zip(widths, [*widths[1:], 3], strict=True):
        model.append(nn.Linear(a, b, bias=draw(st.booleans())))
        model.append(draw(st.sampled_from(ACTIVATIONS))())
    names = layer_names(model)
    owners = draw(st.lists(st.integers(0, 2), min_size=len(names), max_size=len(names)))
    blocks = [[name for name, o in zip(names, owners, strict=True) if o == owner] for owner in sorted(set(owners))]
    losses: list[Loss] = [SquaredError(), SoftmaxCrossEntropy()]
    return model, draw(st.sampled_from(losses)), blocks, draw(st.integers(2, 9))


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-6), (torch.float32, 1e-3)])
@pytest.mark.parametrize("method", list(ProductMethod))
@settings(max_examples=8, deadline=None)
@given(drawn=networks())
def test_quadratic_model_is_that_of_the_reference(
    method: str, dtype: torch.dtype, tolerance: float, drawn: Any
) -> None:
    """Two updates lower each block's quadratic model as far as textbook conjugate gradient on dense G does."""
    model, loss, blocks, size = drawn
    model.double()
    x = torch.rand(size, model[0].in_features, dtype=torch.float64)
    t = torch.arange(size) % 3 if isinstance(loss, SoftmaxCrossEntropy) else torch.rand(size, 3, dtype=torch.float64)
    count = max(1, size - 1)
    starts: dict[int, torch.Tensor] = {}
    model.to(dtype)
    under_test = BlockHessianFree(
        model,
        loss,
        blocks,
        curvature_batch=count,
        learning_rate=0.1,
        damping=DAMPING,
        max_cg_iterations=ITERATIONS,
        product_method=method,
    )
    for _ in range(2):
        model.double()
        dense = Dense.of(model, loss, x, t, curvature_batch=count)
        at = [dense.indices(model, layers) for layers in blocks]
        model.to(dtype)
        result = under_test.step(x.to(dtype), t if t.dtype == torch.int64 else t.to(dtype))
        for i, (block, where) in enumerate(zip(result.blocks, at, strict=True)):
            g = dense.gradient[where]
            matrix = dense.matrix[where][:, where] + DAMPING * torch.eye(len(g), dtype=torch.float64)
            start = 0.95 * starts.get(i, torch.zeros_like(g))
            starts[i] = conjugate_gradient(matrix, -g, start, block.cg_iterations)
            expected = -(starts[i] @ matrix @ starts[i] / 2 + g @ starts[i]).item()
            assert block.model_decrease == pytest.approx(expected, rel=tolerance, abs=1e-9)
