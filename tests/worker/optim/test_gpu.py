"""On CUDA everything is as on the CPU, to rounding, and conjugate gradient waits for the device once per iteration."""

import copy
import warnings
from collections.abc import Iterator
from functools import partial
from typing import Any

import pytest
import torch
from torch import Tensor

from tests.worker.optim.cases import CASES, Case, make, optimizer
from tests.worker.optim.networks import NETWORKS
from worker.optim import BlockHessianFree, EvaluationAverage, FirstOrder, StepResult
from worker.optim.settings import ProductMethod
from worker.optim.solver import cg

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no CUDA device"),
]
DEVICE = torch.device("cuda")
CURVATURE = 8
ALL = {"adaptive_damping": True, "backtracking": True, "line_search": True, "preconditioner": True}


def pair(name: str) -> tuple[Case, Case]:
    """Build a case on the CPU, and the same on the device."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        case = NETWORKS[name]() if name in NETWORKS else make(name)
    moved = copy.deepcopy(case.model).to(DEVICE)
    return case, Case(moved, case.loss, case.inputs.to(DEVICE), case.targets.to(DEVICE), case.blocks)


def weights(case: Case) -> Tensor:
    """All weights, flat, on the CPU."""
    return torch.cat([p.detach().cpu().flatten() for p in case.model.parameters()])


def steps(case: Case, under_test: BlockHessianFree, count: int = 3) -> list[StepResult]:
    """Make some updates."""
    return [under_test.step(case.inputs, case.targets) for _ in range(count)]


def check_alike(found: StepResult, expected: StepResult) -> None:
    """Compare what two updates report."""
    for name in ("loss", "gradient_norm", "step_norm", "cost", "scale"):
        assert getattr(found, name) == pytest.approx(getattr(expected, name), rel=1e-8), name
    assert (found.iteration, found.evaluations) == (expected.iteration, expected.evaluations)
    for ours, theirs in zip(found.blocks, expected.blocks, strict=True):
        assert (ours.cg_iterations, ours.stop_reason, ours.product_method) == (
            theirs.cg_iterations,
            theirs.stop_reason,
            theirs.product_method,
        )
        assert ours.model_decrease == pytest.approx(theirs.model_decrease, rel=1e-8)
        assert ours.residual == pytest.approx(theirs.residual, rel=1e-6, abs=1e-12)


@pytest.mark.parametrize("options", [{}, ALL], ids=["fixed", "all options"])
@pytest.mark.parametrize("method", list(ProductMethod))
@pytest.mark.parametrize("name", [*CASES, *NETWORKS])
def test_updates_equal_those_of_the_cpu(name: str, method: str, options: dict[str, Any]) -> None:
    """In float64, by every method, with every option: the same weights, reports and stop reasons."""
    one, other = pair(name)
    on_cpu, on_device = (
        steps(c, optimizer(c, learning_rate=0.3, product_method=method, **options)) for c in (one, other)
    )
    assert next(other.model.parameters()).device.type == DEVICE.type
    torch.testing.assert_close(weights(other), weights(one), rtol=1e-8, atol=1e-10)
    for found, expected in zip(on_device, on_cpu, strict=True):
        check_alike(found, expected)


@pytest.mark.parametrize("options", [{}, ALL], ids=["fixed", "all options"])
@pytest.mark.parametrize("method", list(ProductMethod))
@pytest.mark.parametrize("name", ["autoencoder", *NETWORKS])
def test_captured_iterations_are_the_launched_ones(name: str, method: str, options: dict[str, Any]) -> None:
    """With iterations enough to be captured, updates are those of iterations launched one by one; nothing refuses."""
    one, other = pair(name)[1], pair(name)[1]
    launched = optimizer(one, product_method=method, damping=1e-3, max_cg_iterations=15, **options)
    for solver in launched._solvers:
        solver.repeater.record = None
    captured = optimizer(other, product_method=method, damping=1e-3, max_cg_iterations=15, **options)
    for found, expected in zip(steps(other, captured), steps(one, launched), strict=True):
        check_alike(found, expected)
        assert not any("captured" in block.note for block in found.blocks)
    torch.testing.assert_close(weights(other), weights(one), rtol=1e-8, atol=1e-10)


@pytest.mark.parametrize("method", list(ProductMethod))
@pytest.mark.parametrize("name", ["autoencoder", *NETWORKS])
def test_float32_reaches_the_quadratic_model_of_the_cpu(name: str, method: str) -> None:
    """After 30 iterations the decrease in float32 is within 1e-3 of the CPU's in float64, as products are not TF32."""
    one, other = pair(name)
    other.model.float()
    moved = Case(other.model, other.loss, other.inputs.float(), _narrow(other.targets), other.blocks)
    (expected,) = steps(one, optimizer(one, damping=1e-2, max_cg_iterations=30), 1)
    (found,) = steps(moved, optimizer(moved, damping=1e-2, max_cg_iterations=30, product_method=method), 1)
    for ours, theirs in zip(found.blocks, expected.blocks, strict=True):
        assert ours.model_decrease == pytest.approx(theirs.model_decrease, rel=1e-3)


def _narrow(targets: Tensor) -> Tensor:
    return targets.float() if targets.is_floating_point() else targets


@pytest.mark.parametrize("options", [{}, ALL], ids=["fixed", "all options"])
@pytest.mark.parametrize("method", list(ProductMethod))
def test_state_moves_between_devices(method: str, options: dict[str, Any]) -> None:
    """A state saved on the device goes on, on the CPU, as it would have on the device."""
    one, other = pair("autoencoder")
    first = optimizer(other, product_method=method, **options)
    steps(other, first, 2)
    with torch.no_grad():
        for p, q in zip(one.model.parameters(), other.model.parameters(), strict=True):
            p.copy_(q)
    second = optimizer(one, product_method=method, damping=7.0)
    second.load_state_dict(copy.deepcopy(first.state_dict()))
    for found, expected in zip(steps(one, second, 2), steps(other, first, 2), strict=True):
        check_alike(found, expected)


def test_adam_and_average_equal_those_of_the_cpu() -> None:
    """Adam's updates and the weights' running mean are the same."""
    means = []
    for case in pair("autoencoder"):
        average = EvaluationAverage(case.model, 0.9)
        under_test = FirstOrder(case.model, case.loss, partial(torch.optim.Adam, lr=0.01))
        for _ in range(3):
            under_test.step(case.inputs, case.targets)
            average.update()
        with average.evaluating():
            means.append(weights(case))
    torch.testing.assert_close(means[1], means[0], rtol=1e-9, atol=1e-12)


class Matrix(cg.FlatInner):
    """An explicit A on the device."""

    def __init__(self, matrix: Tensor) -> None:
        self.matrix = matrix

    def product(self, vector: Tensor, out: Tensor) -> None:
        """Write A v into out."""
        torch.mv(self.matrix, vector, out=out)


@pytest.fixture
def waits() -> Iterator[list[warnings.WarningMessage]]:
    """Record every wait for the device."""
    with warnings.catch_warnings(record=True) as found:
        warnings.simplefilter("always")
        torch.cuda.set_sync_debug_mode("warn")
        try:
            yield found
        finally:
            torch.cuda.set_sync_debug_mode("default")


def test_conjugate_gradient_waits_once_per_iteration(waits: list[warnings.WarningMessage]) -> None:
    """20 iterations wait 20 times for the stop test, twice at the start and at the end: nowhere else."""
    a = torch.diag(torch.logspace(-3, 1, 200, dtype=torch.float32, device=DEVICE))
    b, x = torch.ones(200, device=DEVICE), torch.empty(200, device=DEVICE)
    waits.clear()
    found = cg.solve(Matrix(a), b, x, cg.CgOptions(max_iterations=20))
    assert found.iterations == 20
    assert 20 <= len([w for w in waits if "synchroniz" in str(w.message)]) <= 22
