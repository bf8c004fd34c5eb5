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
    repeat: Callable[[Callable[[], None]], Callable[[], None]] | None = None,
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
    (iteration, x, phi(x)) after each step but a last one that ends the run. `repeat`: is given an iteration's work, the
    same on the same memory each time, and returns what does it; see `worker.optim.solver.cuda_graphs`.
    """
    vectors = workspace or (torch.empty_like(b), torch.empty_like(b), torch.empty_like(b))
    eps = torch.finfo(b.dtype).eps if eps is None else eps
    iteration = _Iteration(operator, b, x, vectors, eps=eps, model=model, precondition=precondition)
    advance = iteration if repeat is None else repeat(iteration)
    offset, r = iteration.phi.clone(), iteration.r
    scale_seen, rr_seen, phi_seen = torch.stack(
        (iteration.rr if scale is None else scale, iteration.rr, offset)
    ).tolist()
    test = _StopTest(stop, eps, scale_seen, rr_seen, phi_seen)
    reason, products = test.start(), 0
    while reason is None and (done := len(test.steps) + 1) <= max_iterations:
        if done % refresh or done == max_iterations:
            advance()
        else:
            iteration(afresh=True)
            products += 1
        products += 1
        # The one wait for the device: all that the stop test needs, in one transfer.
        pq_seen, step, rr_seen, phi_seen, ratio = iteration.seen.tolist()
        reason = test.iteration(pq_seen, step, rr_seen, phi_seen, ratio)
        if reason is None and keep is not None:
            keep(done, x, phi_seen)
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


class _Iteration:
    """An iteration's work on memory that stays where it is, so that it can be captured; no value decides what it does.

    seen: p'Ap, alpha, r'r, phi and beta of the last one, float64.
    """

    def __init__(
        self,
        operator: Operator,
        b: Tensor,
        x: Tensor,
        vectors: tuple[Tensor, Tensor, Tensor],
        *,
        eps: float,
        model: Tensor | None,
        precondition: Callable[[Tensor], Tensor] | None,
    ) -> None:
        self._operator, self._b, self._x, self._eps = operator, b, x, eps
        self._precondition = precondition
        self.r, self._p, self._q = vectors
        x.zero_()
        torch.neg(b, out=self.r)
        self.rr = operator.inner(b, b)
        z, rz = self._preconditioned(self.rr)
        self._rz, self._pp = rz.clone(), rz.clone()
        torch.neg(z, out=self._p)
        self.phi = torch.zeros_like(self.rr) if model is None else model.clone()
        self._top, self.seen = torch.zeros_like(self.rr), self.rr.new_zeros(5)

    def _preconditioned(self, rr: Tensor) -> tuple[Tensor, Tensor]:
        """Return z and r'z."""
        if self._precondition is None:
            return self.r, rr
        z = self._precondition(self.r)
        return z, self._operator.inner(self.r, z)

    def __call__(self, *, afresh: bool = False) -> None:
        """Do it; afresh: with r = A x - b computed, not by recurrence."""
        operator, p, q, r = self._operator, self._p, self._q, self.r
        operator.product(p, q)
        pq = operator.inner(p, q)
        # Below eps times the largest curvature seen, p'Ap is rounding of A p, whatever its sign.
        torch.maximum(self._top, pq / self._pp, out=self._top)
        alpha = self._rz / pq
        alpha = alpha.masked_fill(~((pq > self._eps * self._top * self._pp) & alpha.isfinite()), 0)
        _add(self._x, p, alpha)
        if afresh:
            operator.product(self._x, r)
            r.sub_(self._b)
        else:
            _add(r, q, alpha)
        self.phi.sub_(alpha * self._rz / 2)
        rr = operator.inner(r, r)
        z, rz = self._preconditioned(rr)
        beta = rz / self._rz
        self._pp.mul_(beta**2).add_(rz)
        self._rz.copy_(rz)
        torch.stack((pq, alpha, rr, self.phi, beta), out=self.seen)
        p.mul_(beta).sub_(z)


class FlatInner:
    """The Euclidean inner product of flat vectors, accumulated in float64."""

    def inner(self, left: Tensor, right: Tensor) -> Tensor:
        """Return sum_i left_i right_i in float64."""
        if left.dtype == torch.float64:
            return torch.dot(left, right)
        if asynchronous(left):
            return torch.dot(left.double(), right.double())
        return _chunked(left, right)


def asynchronous(tensor: Tensor) -> bool:
    """Whether work on the tensor goes on behind the program's back, so that to see a value is to wait."""
    return tensor.is_cuda


def _chunked(left: Tensor, right: Tensor) -> Tensor:
    """Convert to float64 in pieces that stay in the processor's cache: twice as fast as whole vectors."""
    total = torch.zeros((), dtype=torch.float64)
    for start in range(0, len(left), _CHUNK):
        wide = left[start : start + _CHUNK].double()
        total += torch.dot(wide, wide if left is right else right[start : start + _CHUNK].double())
    return total


def _add(y: Tensor, x: Tensor, scale: Tensor) -> None:
    """Add scale x to y without waiting for the device."""
    if asynchronous(y):
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
