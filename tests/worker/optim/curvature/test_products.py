"""Gauss-Newton products against dense G, a public package, and torch's count of operations."""

import warnings

import pytest
import torch
from torch import Tensor, nn

from tests.worker.optim.cases import CASES, Case, make
from tests.worker.optim.reference import Dense
from worker.optim import SquaredError, layer_names
from worker.optim.blocks import Block, make_blocks
from worker.optim.curvature.autograd_model import AutogradBatch, AutogradModel
from worker.optim.curvature.counting import Counter
from worker.optim.curvature.traced_batch import TracedBatch
from worker.optim.curvature.traced_model import TracedModel

CURVATURE = 8


def curvature(case: Case, blocks: list[Block], *, autograd: bool) -> TracedBatch | AutogradBatch:
    """Linearize at S_g and narrow to S_c."""
    return model(case, autograd=autograd).linearize(case.inputs, case.targets).narrow(CURVATURE, blocks)


def model(case: Case, *, autograd: bool) -> TracedModel | AutogradModel:
    """Choose a method."""
    return AutogradModel(case.model, case.loss, "") if autograd else TracedModel(case.model, case.loss)


def columns(batch: TracedBatch | AutogradBatch, block: Block) -> Tensor:
    """G_b, a product per column; `out` holds NaN before, so that nothing is left unwritten."""
    result = []
    for unit in torch.eye(block.size, dtype=torch.float64):
        out = torch.full_like(unit, torch.nan)
        batch.product(block, unit, out)
        result.append(out)
    return torch.stack(result, 1)


@pytest.mark.parametrize(("name", "autograd"), [(n, g) for n in CASES for g in (False, True) if g or n != "uncovered"])
def test_block_products_are_the_dense_matrix(name: str, autograd: bool) -> None:
    """G_b equals the block of the dense matrix, for the case's partition and for one block."""
    case = make(name)
    dense = Dense.of(case.model, case.loss, case.inputs, case.targets, curvature_batch=CURVATURE)
    for partition in (case.blocks, [[layer for block in case.blocks for layer in block]]):
        blocks = make_blocks(case.model, partition)
        batch = curvature(case, blocks, autograd=autograd)
        for block in blocks:
            at = dense.indices(case.model, block.layers)
            torch.testing.assert_close(columns(batch, block), dense.matrix[at][:, at], rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize(("name", "autograd"), [(n, g) for n in CASES for g in (False, True) if g or n != "uncovered"])
def test_gradient_is_the_dense_one(name: str, autograd: bool) -> None:
    """The gradient over S_g equals automatic differentiation of the loss's value."""
    case = make(name)
    dense = Dense.of(case.model, case.loss, case.inputs, case.targets, curvature_batch=CURVATURE)
    (block,) = make_blocks(case.model, [layer_names(case.model)])
    gradient = block.vector()
    model(case, autograd=autograd).linearize(case.inputs, case.targets).gradient(block.views(gradient))
    at = dense.indices(case.model, block.layers)
    torch.testing.assert_close(gradient, dense.gradient[at], rtol=1e-10, atol=1e-10)


def test_agrees_with_curvlinops() -> None:
    """A public package's product is the same, times the 6 outputs over which its loss takes the mean."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of its imports
        from curvlinops import GGNLinearOperator
    case = make("autoencoder")
    blocks = make_blocks(case.model, [[layer for block in case.blocks for layer in block]])
    batch = curvature(case, blocks, autograd=False)
    vector = torch.linspace(-1, 1, blocks[0].size, dtype=torch.float64)
    out = torch.empty_like(vector)
    batch.product(blocks[0], vector, out)
    data = [(case.inputs[:CURVATURE], case.targets[:CURVATURE])]
    parameters = list(case.model.parameters())
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of torch.func, which it uses
        matrix = GGNLinearOperator(case.model, nn.MSELoss(), parameters, data)
        expected = (matrix @ vector) * 6
    assert [p.shape for p in parameters] == [p.shape for p in blocks[0].parameters]
    torch.testing.assert_close(out, expected, rtol=1e-10, atol=1e-10)


def test_agrees_with_backpack() -> None:
    """Another public package's products with the blocks of a classifier are the same."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of its imports
        from backpack.hessianfree.ggnvp import ggn_vector_product_from_plist
    case = make("classifier")
    blocks = make_blocks(case.model, case.blocks)
    batch = curvature(case, blocks, autograd=False)
    outputs = case.model(case.inputs[:CURVATURE])
    value = nn.functional.cross_entropy(outputs, case.targets[:CURVATURE])
    for block in blocks:
        vector, out = torch.linspace(-1, 1, block.size, dtype=torch.float64), block.vector()
        batch.product(block, vector, out)
        parts = ggn_vector_product_from_plist(value, outputs, block.parameters, list(block.views(vector).values()))
        expected = torch.cat([part.flatten() for part in parts])
        torch.testing.assert_close(out, expected, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("name", ["autoencoder", "classifier", "functional"])
def test_counted_operations_are_torchs(name: str) -> None:
    """Predicted operations of gradient and products are within 5 % of what torch counts."""
    case = make(name)
    blocks = make_blocks(case.model, case.blocks)
    source = TracedModel(case.model, case.loss)
    source.linearize(case.inputs, case.targets)  # checks the loss, once
    with Counter() as counter:
        batch = source.linearize(case.inputs, case.targets)
        batch.gradient({k: v for b in blocks for k, v in b.views(b.vector()).items()})
    assert batch.gradient_flops == pytest.approx(counter.flops, rel=0.05)
    narrow = batch.narrow(CURVATURE, blocks)
    for block in blocks:
        with Counter() as counter:
            narrow.product(block, block.vector(), block.vector())
        assert narrow.product_flops(block) == pytest.approx(counter.flops, rel=0.05)


def test_lower_layers_are_never_entered() -> None:
    """The last layer's product costs two passes of that layer, whatever lies below it."""
    deep = nn.Sequential(nn.Linear(50, 50), nn.Tanh(), nn.Linear(50, 50), nn.Tanh(), nn.Linear(50, 3)).double()
    x = torch.rand(8, 50, dtype=torch.float64)
    blocks = make_blocks(deep, [["0", "2"], ["4"]])
    batch = TracedModel(deep, SquaredError()).linearize(x, torch.rand(8, 3, dtype=torch.float64)).narrow(8, blocks)
    with Counter() as counter:
        batch.product(blocks[1], blocks[1].vector(), blocks[1].vector())
    assert counter.flops == 2 * (2 * 8 * 50 * 3)


def test_narrowing_shares_the_forward_pass() -> None:
    """The curvature batch's activations are the gradient batch's, not copies, and no product is spent."""
    case = make("autoencoder")
    blocks = make_blocks(case.model, case.blocks)
    batch = TracedModel(case.model, case.loss).linearize(case.inputs, case.targets)
    with Counter() as counter:
        narrow = batch.narrow(CURVATURE, blocks)
    assert counter.flops == 0
    assert narrow.linearization.outputs.data_ptr() == batch.linearization.outputs.data_ptr()
