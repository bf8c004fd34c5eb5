"""Conjugate gradient on matrices: solutions, stop reasons, rounding."""

import math

import pytest
import torch
from torch import Tensor

from tests.worker.optim.reference import conjugate_gradient
from worker.optim import BlockResult, StopReason
from worker.optim.solver.cg import CgHooks, CgOptions, FlatInner, Solution, solve
from worker.optim.solver.stopping import StopRule

SIZE = 20


class Matrix(FlatInner):
    """An explicit A that counts its products."""

    def __init__(self, matrix: Tensor) -> None:
        self.matrix, self.products = matrix, 0

    def product(self, vector: Tensor, out: Tensor) -> None:
        """Write A v into out."""
        self.products += 1
        torch.mv(self.matrix, vector, out=out)


def matrix(smallest: float = 0.1, *, dtype: torch.dtype = torch.float64) -> Tensor:
    """A symmetric matrix with eigenvalues spread evenly over a logarithmic scale up to 10."""
    generator = torch.Generator().manual_seed(0)
    q, _ = torch.linalg.qr(torch.randn(SIZE, SIZE, dtype=torch.float64, generator=generator))
    eigenvalues = torch.logspace(math.log10(smallest), 1, SIZE, dtype=torch.float64)
    return torch.mm(q * eigenvalues, q.t()).to(dtype)


def right_side(dtype: torch.dtype = torch.float64) -> Tensor:
    """A fixed b."""
    return torch.linspace(-1, 2, SIZE, dtype=dtype)


def run(
    a: Tensor, b: Tensor, *, limit: int = 200, kind: str = "iterations", tolerance: float = 5e-4
) -> tuple[Tensor, Solution]:
    """Solve."""
    x = torch.full_like(b, math.nan)
    found = solve(Matrix(a), b, x, CgOptions(max_iterations=limit, stop=StopRule(kind, tolerance)))
    return x, found


def test_solves_to_the_end() -> None:
    """With iterations to spare the solution is the linear solver's, and the reason is the residual."""
    a, b = matrix(), right_side()
    x, found = run(a, b)
    torch.testing.assert_close(x, torch.linalg.solve(a, b), rtol=1e-10, atol=1e-10)
    assert found.stop_reason is StopReason.RESIDUAL
    assert found.iterations < 2 * SIZE


@pytest.mark.parametrize("limit", [1, 2, 7])
def test_truncated_iterates_are_the_textbook_ones(limit: int) -> None:
    """After so many iterations x, residual and model equal the textbook's."""
    a, b = matrix(), right_side()
    x, found = run(a, b, limit=limit)
    torch.testing.assert_close(x, conjugate_gradient(a, b, torch.zeros_like(b), limit), rtol=1e-11, atol=1e-11)
    assert found.stop_reason is StopReason.ITERATIONS
    assert found.iterations == limit
    assert found.residual == pytest.approx((a @ x - b).norm().item(), rel=1e-9)
    assert found.model == pytest.approx((x @ a @ x / 2 - b @ x).item(), rel=1e-9)


def test_a_shifted_system_reports_the_whole_solution() -> None:
    """With the model at the start and the unshifted scale, a start changes only where the run begins."""
    a, b, z = matrix(), right_side(), torch.ones(SIZE, dtype=torch.float64)
    x = torch.empty_like(b)
    model = z @ a @ z / 2 - b @ z
    found = solve(Matrix(a), b - a @ z, x, CgOptions(max_iterations=7), scale=b @ b, model=model)
    torch.testing.assert_close(x + z, conjugate_gradient(a, b, z, 7), rtol=1e-11, atol=1e-11)
    x += z
    assert found.model == pytest.approx((x @ a @ x / 2 - b @ x).item(), rel=1e-9)
    stop = StopRule("residual", 0.1)
    found = solve(Matrix(a), b - a @ z, x, CgOptions(max_iterations=99, stop=stop), scale=b @ b * 1e6, model=model)
    assert found.stop_reason is StopReason.RESIDUAL
    assert found.iterations == 0


def test_products_are_counted() -> None:
    """One product per iteration, one per refreshed residual, none for the model."""
    a, b = Matrix(matrix(1e-4)), right_side()
    found = solve(a, b, torch.empty_like(b), CgOptions(max_iterations=10, refresh=4))
    assert a.products == found.products == 10 + 2


def plain(a: Tensor, b: Tensor, x: Tensor, iterations: int) -> tuple[Tensor, float]:
    """Conjugate gradient without preconditioner, operation by operation; returns x and the model's recurrence."""
    r, p = -b, b.clone()
    rr, phi = torch.dot(b, b), torch.zeros((), dtype=b.dtype)
    for _ in range(iterations):
        q = torch.mv(a, p)
        alpha = rr / torch.dot(p, q)
        x = x.add(p, alpha=alpha.item())
        r = r.add(q, alpha=alpha.item())
        phi = phi - alpha * rr / 2
        before, rr = rr, torch.dot(r, r)
        p = p.mul((rr / before).item()).sub(r)
    return x, phi.item()


def test_without_preconditioner_nothing_changes() -> None:
    """The iterates are those of the plain recurrence bit for bit, observed or not."""
    a, b = matrix(1e-2), right_side()
    seen: dict[int, tuple[Tensor, float]] = {}
    for observer in (None, lambda i, x, phi: seen.update({i: (x.clone(), phi)})):
        x = torch.empty_like(b)
        solve(Matrix(a), b, x, CgOptions(max_iterations=12), CgHooks(on_iterate=observer))
        assert torch.equal(x, plain(a, b, torch.zeros_like(b), 12)[0])
    assert list(seen) == list(range(1, 13))
    for i, (x, phi) in seen.items():
        expected, model = plain(a, b, torch.zeros_like(b), i)
        assert torch.equal(x, expected)
        assert phi == model


@pytest.mark.parametrize("limit", [1, 4, 9])
def test_preconditioner_is_a_change_of_variables(limit: int) -> None:
    """With M = D^2 the iterate is D^-1 times the textbook's on D^-1 A D^-1 and D^-1 b; model and residual are A's."""
    a, b = matrix(), right_side()
    d = torch.linspace(0.5, 2, SIZE, dtype=torch.float64)
    x, seen = torch.empty_like(b), []
    found = solve(
        Matrix(a), b, x, CgOptions(max_iterations=limit),
        CgHooks(
            precondition=lambda r: r / d**2,
            on_iterate=lambda _, x, phi: seen.append(phi - (x @ a @ x / 2 - b @ x).item()),
        ),
    )  # fmt: skip
    expected = conjugate_gradient(a / d / d[:, None], b / d, torch.zeros_like(b), limit) / d
    torch.testing.assert_close(x, expected, rtol=1e-9, atol=1e-9)
    assert (x - conjugate_gradient(a, b, torch.zeros_like(b), limit)).norm() > 0.01
    assert found.model == pytest.approx((x @ a @ x / 2 - b @ x).item(), rel=1e-9)
    assert found.residual == pytest.approx((a @ x - b).norm().item(), rel=1e-9)
    assert seen == pytest.approx([0] * limit, abs=1e-9)


def test_preconditioner_of_a_badly_scaled_matrix_saves_iterations() -> None:
    """With M the diagonal of a matrix that is nearly diagonal, a third of the iterations reach the same residual."""
    scale = torch.logspace(0, 4, SIZE, dtype=torch.float64)
    a = matrix(8.0) * scale * scale[:, None]
    counts = []
    for precondition in (None, lambda r: r / a.diagonal()):
        found = solve(
            Matrix(a), right_side(), torch.empty(SIZE, dtype=torch.float64),
            CgOptions(max_iterations=1000, stop=StopRule("residual", 1e-6)), CgHooks(precondition=precondition),
        )  # fmt: skip
        assert found.stop_reason is StopReason.RESIDUAL
        counts.append(found.iterations)
    assert counts[1] <= counts[0] / 3


def test_residual_rule_stops_at_its_tolerance() -> None:
    """The residual rule stops as soon as |r| <= tolerance |b|."""
    a, b = matrix(), right_side()
    x, found = run(a, b, kind="residual", tolerance=1e-2)
    assert found.stop_reason is StopReason.RESIDUAL
    assert (a @ x - b).norm() <= 1e-2 * b.norm()
    before = conjugate_gradient(a, b, torch.zeros_like(b), found.iterations - 1)
    assert (a @ before - b).norm() > 1e-2 * b.norm()


def test_martens_rule_compares_with_k_times_the_tolerance() -> None:
    """The relative progress over the last k iterations is below k eps at the end and nowhere before."""
    a, b, eps = matrix(1e-2), right_side(), 1e-2
    _, found = run(a, b, kind="martens", tolerance=eps)
    assert found.stop_reason is StopReason.PROGRESS

    def progress(i: int) -> float:
        k = max(10, math.ceil(0.1 * i))
        now, then = (conjugate_gradient(a, b, torch.zeros_like(b), j) for j in (i, i - k))
        q = [(x @ a @ x / 2 - b @ x).item() for x in (now, then)]
        return (q[0] - q[1]) / q[0] / k

    assert progress(found.iterations) < eps
    assert found.iterations > 11
    assert all(progress(i) >= eps for i in range(11, found.iterations))


@pytest.mark.parametrize("eigenvalue", [0.0, -1.0])
def test_curvature_that_is_not_positive_keeps_the_iterate(eigenvalue: float) -> None:
    """A direction with p'Ap <= 0 ends the run with the x reached before."""
    a = torch.diag(torch.tensor([2.0, eigenvalue], dtype=torch.float64))
    x, found = run(a, torch.tensor([0.0, 1.0], dtype=torch.float64))
    assert found.stop_reason is StopReason.CURVATURE
    assert found.iterations == 0
    assert x.tolist() == [0.0, 0.0]
    x, found = run(a, torch.tensor([1.0, 1e-3], dtype=torch.float64))
    assert found.stop_reason is StopReason.CURVATURE
    assert found.iterations == 1
    assert x[0] == pytest.approx(0.5, rel=1e-3)


@pytest.mark.parametrize("where", ["matrix", "right side"])
def test_values_that_are_not_finite_end_the_run(where: str) -> None:
    """NaN in A or b is reported as diverged, and x stays at zero."""
    a, b = matrix(), right_side()
    (a if where == "matrix" else b)[3] = math.nan
    x, found = run(a, b)
    assert found.stop_reason is StopReason.DIVERGED
    assert not x.any()


def test_overflow_leaves_a_finite_iterate() -> None:
    """A step beyond the largest float is not taken."""
    a = torch.eye(2) * 1e-30
    x, found = run(a, torch.full((2,), 1e30))
    assert found.stop_reason in {StopReason.DIVERGED, StopReason.CURVATURE}
    assert bool(x.isfinite().all())


def test_zero_right_side_needs_no_product() -> None:
    """b = 0 from zero is solved at once."""
    x, found = run(matrix(), torch.zeros(SIZE, dtype=torch.float64))
    assert found.stop_reason is StopReason.RESIDUAL
    assert found.products == 0
    assert not x.any()


@pytest.mark.parametrize("limit", [5, 30, 300, 3000])
def test_float32_stays_close_to_float64(limit: int) -> None:
    """On an ill-conditioned matrix q(x) in float32 is within 1e-3 of float64's, however long the run, and never NaN."""
    x, found = run(matrix(1e-2, dtype=torch.float32), right_side(torch.float32), limit=limit)
    _, wide = run(matrix(1e-2), right_side(), limit=limit)
    assert found.model == pytest.approx(wide.model, rel=1e-3)
    assert bool(x.isfinite().all())


def test_refreshed_residual_is_exact() -> None:
    """Refreshing often in float32 gives a residual that is the true one to rounding."""
    a, b, x = matrix(1e-5, dtype=torch.float32), right_side(torch.float32), torch.zeros(SIZE)
    found = solve(Matrix(a), b, x, CgOptions(max_iterations=101, refresh=100))
    true = (matrix(1e-5) @ x.double() - right_side()).norm().item()
    assert found.residual == pytest.approx(true, rel=0.2)


def test_float32_inner_product_is_accumulated_in_float64() -> None:
    """Half a million products of float32 numbers are summed without losing digits."""
    left = torch.linspace(-1, 1, 500_001)
    right = torch.linspace(3, 5, 500_001)
    exact = torch.dot(left.double(), right.double()).item()
    assert FlatInner().inner(left, right).item() == pytest.approx(exact, rel=1e-13)
    assert FlatInner().inner(left, left).item() == pytest.approx(
        torch.dot(left.double(), left.double()).item(), rel=1e-13
    )


def test_ritz_values_are_the_eigenvalues() -> None:
    """alpha and beta of a run to the end give the extreme eigenvalues of A."""
    a = matrix(0.5)
    _, found = run(a, right_side(), limit=SIZE)
    result = BlockResult(
        found.iterations, found.stop_reason, found.residual, -found.model, steps=found.steps, ratios=found.ratios
    )
    values = result.ritz_values()
    assert values[0] == pytest.approx(0.5, rel=1e-6)
    assert values[-1] == pytest.approx(10, rel=1e-6)


@pytest.mark.parametrize(("kind", "tolerance"), [("sometimes", 0.1), ("residual", 0.0), ("martens", 1.0)])
def test_stop_rules_out_of_range_are_refused(kind: str, tolerance: float) -> None:
    """An unknown kind or a tolerance outside (0, 1) is an error."""
    with pytest.raises(ValueError, match="must be"):
        StopRule(kind, tolerance)
