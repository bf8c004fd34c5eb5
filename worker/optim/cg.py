"""Truncated conjugate gradient for (G + d I) x = b, written once for every way of multiplying by G."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from worker.optim.results import StopReason, StopRule

REFRESH = 50
_CHUNK = 1 << 15


class Operator(Protocol):
    """A symmetric positive semi-definite A on a space whose vectors are flat tensors."""

    def product(self, vector: Tensor, out: Tensor) -> None:
        """Write A v into out."""
        ...

    def inner(self, left: Tensor, right: Tensor) -> Tensor:
        """Return the inner product, a float64 scalar on the vectors' device."""
        ...


@dataclass(frozen=True)
class Solution:
    """How a solve ended; x itself was written in place.

    model: phi(x) = x'Ax / 2 - b'x. products: multiplications by A, those of refreshed residuals included.
    steps, ratios: alpha and beta of each iteration.
    """

    iterations: int
    reason: StopReason
    residual: float
    model: float
    products: int
    steps: tuple[float, ...]
    ratios: tuple[float, ...]


def solve(
    operator: Operator,
    b: Tensor,
    x: Tensor,
    *,
    max_iterations: int,
    stop: StopRule,
    scale: Tensor | None = None,
    model: Tensor | None = None,
    eps: float | None = None,
    refresh: int = REFRESH,
    workspace: tuple[Tensor, Tensor, Tensor] | None = None,
    precondition: Callable[[Tensor], Tensor] | None = None,
    keep: Callable[[int, Tensor, float], None] | None = None,
) -> Solution:
    """Set x to the iterate of conjugate gradient on A x = b from zero, after at most `max_iterations` steps.

    A start z is a shift: solve A x = b - A z and add z. Then `scale` (b'b of the system before the shift) and `model`
    (phi(z)) keep the stop test and the reported model those of the whole solution. `eps`: relative rounding of A v,
    if it is not that of the vectors' type.
    r = A x - b follows by recurrence and is computed afresh every `refresh` iterations; the quadratic model needs no
    product, as a step lowers it by alpha r'r / 2. The iterate stays finite: a direction whose curvature p'Ap is not
    positive beyond rounding ends the run and keeps x, and an x that overflows is replaced by zero. `workspace`:
    three vectors to overwrite. Source: Hestenes and Stiefel (1952); truncation as in Martens (2010), section 4.4.
    `precondition`: r -> z = M^-1 r, M symmetric and positive definite, in a tensor of its own; then alpha = r'z / p'Ap,
    beta = r'z / (r'z before), the step lowers the model by alpha r'z / 2, and vectors are measured by M where their
    curvature is. Source: Saad (2003), "Iterative methods for sparse linear systems", algorithm 9.1. `keep`: is shown
    (iteration, x, phi(x)) after each step but a last one that ends the run.
    """
    r, p, q = workspace or (torch.empty_like(b), torch.empty_like(b), torch.empty_like(b))
    x.zero_()
    torch.neg(b, out=r)
    rr = operator.inner(b, b)
    z = r if precondition is None else precondition(r)
    rz = pp = rr if precondition is None else operator.inner(r, z)
    torch.neg(z, out=p)
    offset = phi = torch.zeros_like(rr) if model is None else model
    top = torch.zeros_like(rr)
    eps = torch.finfo(b.dtype).eps if eps is None else eps
    scale_seen, rr_seen, phi_seen = torch.stack((rr if scale is None else scale, rr, phi)).tolist()
    test = _StopTest(stop, eps, scale_seen, rr_seen, phi_seen)
    reason, products = test.start(), 0
    while reason is None and len(test.steps) < max_iterations:
        operator.product(p, q)
        pq = operator.inner(p, q)
        # Below eps times the largest curvature seen, p'Ap is rounding of A p, whatever its sign.
        top = torch.maximum(top, pq / pp)
        alpha = rz / pq
        alpha = torch.where((pq > eps * top * pp) & alpha.isfinite(), alpha, 0)
        _add(x, p, alpha)
        if (len(test.steps) + 1) % refresh == 0 and len(test.steps) + 1 < max_iterations:
            operator.product(x, r)
            r.sub_(b)
            products += 1
        else:
            _add(r, q, alpha)
        products += 1
        phi = phi - alpha * rz / 2
        before, rr = rz, operator.inner(r, r)
        z = r if precondition is None else precondition(r)
        rz = rr if precondition is None else operator.inner(r, z)
        beta = rz / before
        pp = rz + beta**2 * pp
        # The one wait for the device: all that the stop test needs, in one transfer.
        pq_seen, step, rr_seen, phi_seen, ratio = torch.stack((pq, alpha, rr, phi, beta)).tolist()
        reason = test.iteration(pq_seen, step, rr_seen, phi_seen, ratio)
        if reason is None:
            p.mul_(ratio).sub_(z)
            if keep is not None:
                keep(len(test.steps), x, phi_seen)
    phi_seen = float(offset + (operator.inner(r, x) - operator.inner(b, x)) / 2)
    if not math.isfinite(phi_seen):
        reason = StopReason.DIVERGED
        x.zero_()
    return Solution(
        iterations=len(test.steps),
        reason=reason or StopReason.ITERATIONS,
        residual=0.0 if rr_seen < 0 else math.sqrt(rr_seen),
        model=phi_seen,
        products=products,
        steps=tuple(test.steps),
        ratios=tuple(test.ratios),
    )


class FlatInner:
    """The Euclidean inner product of flat vectors, accumulated in float64."""

    def inner(self, left: Tensor, right: Tensor) -> Tensor:
        """Return sum_i left_i right_i in float64."""
        if left.dtype == torch.float64:
            return torch.dot(left, right)
        if left.is_cuda:
            return torch.dot(left.double(), right.double())
        return _chunked(left, right)


def _chunked(left: Tensor, right: Tensor) -> Tensor:
    """Convert to float64 in pieces that stay in the processor's cache: twice as fast as whole vectors."""
    total = torch.zeros((), dtype=torch.float64)
    for start in range(0, len(left), _CHUNK):
        wide = left[start : start + _CHUNK].double()
        total += torch.dot(wide, wide if left is right else right[start : start + _CHUNK].double())
    return total


def _add(y: Tensor, x: Tensor, scale: Tensor) -> None:
    """Add scale x to y without waiting for the device."""
    if y.is_cuda:
        y.addcmul_(x, scale.to(y.dtype))
    else:
        y.add_(x, alpha=scale.item())


class _StopTest:
    """What a run has seen, and whether it stops."""

    def __init__(self, stop: StopRule, eps: float, scale: float, rr: float, model: float) -> None:
        tolerance = stop.tolerance if stop.kind == "residual" else eps
        self.stop = stop
        self.scale, self.rr = scale, rr
        self.floor = max(tolerance**2 * scale, eps**2 * rr)
        self.models = [model]
        self.steps: list[float] = []
        self.ratios: list[float] = []

    def start(self) -> StopReason | None:
        """Test the start."""
        if not (math.isfinite(self.scale) and math.isfinite(self.rr)):
            return StopReason.DIVERGED
        return StopReason.RESIDUAL if self.rr <= self.floor else None

    def iteration(self, pq: float, step: float, rr: float, model: float, ratio: float) -> StopReason | None:
        """Test an iteration; one that took no step, or an infinite one, is not counted."""
        if not math.isfinite(pq) or not math.isfinite(rr):
            return StopReason.DIVERGED
        if step <= 0:
            return StopReason.CURVATURE
        self.steps.append(step)
        self.ratios.append(ratio)
        self.models.append(model)
        if rr <= self.floor:
            return StopReason.RESIDUAL
        if self.stop.kind == "martens" and self._progress_is_small():
            return StopReason.PROGRESS
        return None

    def _progress_is_small(self) -> bool:
        i = len(self.steps)
        k = max(10, math.ceil(0.1 * i))
        now = self.models[-1]
        return i > k and now < 0 and (now - self.models[i - k]) / now < k * self.stop.tolerance
