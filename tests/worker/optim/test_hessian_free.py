"""Updates against a dense reference, and how the optimizer behaves."""

import copy
import math
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from tests.worker.optim.cases import CASES, CURVATURE, Case, make, optimizer, weights
from tests.worker.optim.reference import Dense, conjugate_gradient
from worker.optim import BlockHessianFree, HessianFree, SquaredError, StopReason, layer_names
from worker.optim.settings import ProductMethod

METHODS = list(ProductMethod)


@pytest.mark.parametrize(("damping", "iterations"), [(0.1, 4), (0.0, 2)])
@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("name", CASES)
def test_updates_equal_the_dense_reference(name: str, method: str, damping: float, iterations: int) -> None:
    """Three updates with momentum equal dense G, textbook conjugate gradient and w + lr x, block by block."""
    case = make(name)
    under_test = optimizer(
        case, learning_rate=0.3, warm_start=0.9, product_method=method, damping=damping, max_cg_iterations=iterations
    )
    starts: dict[int, Tensor] = {}
    for _ in range(3):
        dense = Dense.of(case.model, case.loss, case.inputs, case.targets, curvature_batch=CURVATURE)
        expected = weights(case.model)
        for i, layers in enumerate(case.blocks):
            at = dense.indices(case.model, layers)
            matrix = dense.matrix[at][:, at] + damping * torch.eye(len(at), dtype=torch.float64)
            start = starts.get(i, torch.zeros(len(at), dtype=torch.float64)) * 0.9
            starts[i] = conjugate_gradient(matrix, -dense.gradient[at], start, iterations)
            expected[at] += 0.3 * starts[i]
        under_test.step(case.inputs, case.targets)
        torch.testing.assert_close(weights(case.model), expected, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("name", CASES)
def test_step_reports_what_it_did(name: str, method: str) -> None:
    """Loss, norms, residual and decrease of the quadratic model equal those of the dense reference."""
    case = make(name)
    before = weights(case.model)
    dense = Dense.of(case.model, case.loss, case.inputs, case.targets, curvature_batch=CURVATURE)
    loss = case.loss.value(case.model(case.inputs), case.targets).item()
    under_test = optimizer(case, product_method=method)
    result = under_test.step(case.inputs, case.targets)
    assert result.loss == pytest.approx(loss, rel=1e-12)
    assert result.gradient_norm == pytest.approx(dense.gradient.norm().item(), rel=1e-12)
    assert result.step_norm == pytest.approx((weights(case.model) - before).norm().item(), rel=1e-12)
    for layers, block in zip(case.blocks, result.blocks, strict=True):
        at = dense.indices(case.model, layers)
        x = (weights(case.model) - before)[at] / 0.1
        residual = dense.matrix[at][:, at] @ x + 0.1 * x + dense.gradient[at]
        assert block.step_norm == pytest.approx(0.1 * x.norm().item(), rel=1e-12)
        assert block.residual == pytest.approx(residual.norm().item(), rel=1e-8)
        assert block.model_decrease == pytest.approx(-((residual + dense.gradient[at]) @ x).item() / 2, rel=1e-8)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("name", CASES)
def test_one_block_is_hessian_free_bit_for_bit(name: str, method: str) -> None:
    """HessianFree and BlockHessianFree with one block give the same bits."""
    one, other = make(name), make(name)
    settings: dict[str, Any] = {"curvature_batch": CURVATURE, "damping": 0.01, "product_method": method}
    hf = HessianFree(one.model, one.loss, **settings)
    bhf = BlockHessianFree(other.model, other.loss, [layer_names(other.model)], **settings)
    for _ in range(4):
        assert hf.step(one.inputs, one.targets) == bhf.step(other.inputs, other.targets)
    assert torch.equal(weights(one.model), weights(other.model))


class Apart(nn.Module):
    """Two networks that share no parameter and no output: G is block-diagonal."""

    def __init__(self) -> None:
        super().__init__()
        self.left, self.right = nn.Linear(3, 2), nn.Linear(3, 2)

    def forward(self, x: Tensor) -> Tensor:
        """Run both."""
        return torch.cat([torch.tanh(self.left(x[:, :3])), self.right(x[:, 3:])], 1)


def test_block_diagonal_problem_needs_no_other_blocks() -> None:
    """Where G is block-diagonal, solved to the end, HF and BHF are the same."""
    x, t = torch.rand(12, 6, dtype=torch.float64), torch.rand(12, 4, dtype=torch.float64)
    torch.manual_seed(0)
    one = Apart().double()
    other = copy.deepcopy(one)
    settings: dict[str, Any] = {"curvature_batch": 8, "damping": 0.01, "max_cg_iterations": 60}
    hf = HessianFree(one, SquaredError(), **settings)
    bhf = BlockHessianFree(other, SquaredError(), [["left"], ["right"]], **settings)
    for _ in range(3):
        hf.step(x, t)
        bhf.step(x, t)
    torch.testing.assert_close(weights(one), weights(other), rtol=1e-10, atol=1e-10)


def test_blocks_are_solved_from_the_same_weights() -> None:
    """The order of the blocks changes nothing."""
    one, other = make("autoencoder"), make("autoencoder")
    a = optimizer(one)
    b = BlockHessianFree(
        other.model, other.loss, one.blocks[::-1], curvature_batch=CURVATURE, damping=0.1, max_cg_iterations=4
    )
    for _ in range(3):
        a.step(one.inputs, one.targets)
        b.step(other.inputs, other.targets)
    assert torch.equal(weights(one.model), weights(other.model))


@pytest.mark.parametrize(("name", "method"), [("uncovered", "auto"), *(("autoencoder", method) for method in METHODS)])
def test_resumes_bit_for_bit(name: str, method: str) -> None:
    """A new optimizer that loads state_dict goes on with the same bits, hyperparameters included."""
    case = make(name)
    first = optimizer(case, product_method=method, damping=0.02, cg_stop="martens", cg_tolerance=1e-4)
    for _ in range(3):
        first.step(case.inputs, case.targets)
    resumed = Case(copy.deepcopy(case.model), case.loss, case.inputs, case.targets, case.blocks)
    second = optimizer(resumed, product_method=method, damping=7.0)
    second.load_state_dict(copy.deepcopy(first.state_dict()))
    for _ in range(3):
        assert first.step(case.inputs, case.targets) == second.step(case.inputs, case.targets)
    assert torch.equal(weights(case.model), weights(resumed.model))


def test_settings_are_read_at_each_step() -> None:
    """A block's damping changed in param_groups acts on that block alone."""
    one, other = make("autoencoder"), make("autoencoder")
    a, b = optimizer(one), optimizer(other)
    b.param_groups[1]["damping"] = 5.0
    first, second = a.step(one.inputs, one.targets), b.step(other.inputs, other.targets)
    assert first.blocks[0] == second.blocks[0]
    assert first.blocks[1].model_decrease > second.blocks[1].model_decrease


@pytest.mark.parametrize("method", METHODS)
def test_float32_reaches_the_quadratic_model_of_float64(method: str) -> None:
    """After 30 iterations the decrease in float32 is within 1e-3 of that in float64."""
    wide, narrow = make("autoencoder"), make("autoencoder")
    narrow.model.float()
    a = optimizer(wide, max_cg_iterations=30, damping=1e-3).step(wide.inputs, wide.targets)
    b = optimizer(narrow, max_cg_iterations=30, damping=1e-3, product_method=method).step(
        narrow.inputs.float(), narrow.targets.float()
    )
    for x, y in zip(a.blocks, b.blocks, strict=True):
        assert y.model_decrease == pytest.approx(x.model_decrease, rel=1e-3)


@pytest.mark.parametrize("method", METHODS)
def test_long_float32_solves_stay_finite(method: str) -> None:
    """Ten times more iterations than the block has parameters end with a small residual, never with NaN."""
    case = make("classifier")
    case.model.float()
    under_test = optimizer(case, max_cg_iterations=1000, damping=0.01, product_method=method)
    for _ in range(5):
        result = under_test.step(case.inputs.float(), case.targets)
        assert math.isfinite(result.loss)
        assert all(b.stop_reason is StopReason.RESIDUAL and math.isfinite(b.residual) for b in result.blocks)
    assert bool(weights(case.model).isfinite().all())


def test_not_finite_gradient_is_said() -> None:
    """A batch with NaN leaves the weights as they are and is reported as diverged."""
    case = make("autoencoder")
    before = weights(case.model)
    result = optimizer(case).step(case.inputs * math.nan, case.targets)
    assert {b.stop_reason for b in result.blocks} == {StopReason.DIVERGED}
    assert torch.equal(weights(case.model), before)


@pytest.mark.parametrize(
    ("name", "method", "taken"),
    [
        ("autoencoder", "products", ["products", "products"]),
        ("autoencoder", "interface", ["interface", "products"]),
        ("autoencoder", "samples", ["samples", "samples"]),
        ("autoencoder", "explicit", ["explicit", "explicit"]),
        ("autoencoder", "autograd", ["autograd", "autograd"]),
        ("classifier", "interface", ["interface", "interface", "products"]),
    ],
)
def test_a_method_asked_for_is_taken(name: str, method: str, taken: list[str]) -> None:
    """Each block says which method it went; one that a method does not apply says that too."""
    case = make(name)
    blocks = optimizer(case, product_method=method).step(case.inputs, case.targets).blocks
    assert [b.product_method for b in blocks] == taken
    assert [f"method {method} does not apply" in b.note for b in blocks] == [w != method for w in taken]


def test_methods_give_the_same_updates() -> None:
    """From the same start, all methods reach the same quadratic model within 1e-6 after 10 iterations."""
    found = []
    for method in METHODS:
        case = make("autoencoder")
        result = optimizer(case, product_method=method, damping=1e-2, max_cg_iterations=10).step(
            case.inputs, case.targets
        )
        found.append([b.model_decrease for b in result.blocks])
    for other in found[1:]:
        assert other == pytest.approx(found[0], rel=1e-6)


@pytest.mark.parametrize("method", METHODS)
def test_fixed_settings_add_the_solution_and_nothing_else(method: str) -> None:
    """With every option off an update is w + lr x bit for bit, x the last iterate, and takes no further loss."""
    case = make("autoencoder")
    under_test = optimizer(case, product_method=method, learning_rate=0.3)
    for _ in range(2):
        before = [p.detach().clone() for p in case.model.parameters()]
        result = under_test.step(case.inputs, case.targets)
        for p, w in zip(case.model.parameters(), before, strict=True):
            assert torch.equal(p, w.add(under_test.state[p]["solution"], alpha=0.3))
        assert (result.scale, result.reduction_ratio, result.iteration, result.evaluations) == (1.0, None, None, 0)


def test_damping_may_differ_by_block() -> None:
    """A list gives each block its own damping, as if it stood in param_groups."""
    one, other = make("autoencoder"), make("autoencoder")
    a, b = optimizer(one, damping=[0.1, 5.0]), optimizer(other)
    b.param_groups[1]["damping"] = 5.0
    for _ in range(2):
        result = a.step(one.inputs, one.targets)
        assert result == b.step(other.inputs, other.targets)
    assert [block.damping for block in result.blocks] == [0.1, 5.0]
    with pytest.raises(ValueError, match="damping has 3 values"):
        optimizer(one, damping=[0.1, 5.0, 1.0])
