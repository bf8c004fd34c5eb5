"""Truncated conjugate gradient for (G + d I) x = b, written once for every method of multiplying by G."""

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol

import torch
from torch import Tensor

from worker.optim.results import StopReason
from worker.optim.solver.stopping import StopRule, StopTest

_CHUNK = 1 << 15
"""numbers of a float32 vector that are converted to float64 at once, so that they stay in the processor's cache"""


class Operator(Protocol):
    """A symmetric positive semi-definite A on a space whose vectors are flat tensors of n numbers."""

    def product(self, vector: Tensor, out: Tensor) -> None:
        """Write A v into out; both have n numbers."""
        ...

    def inner(self, left: Tensor, right: Tensor) -> Tensor:
        """Return the inner product, a float64 scalar on the vectors' device."""
        ...


@dataclass(frozen=True, kw_only=True)
class CgOptions:
    """How far conjugate gradient goes.

    Args:
        max_iterations: limit of the iterations.
        stop: when it stops before that limit.
        refresh: r = A x - b is computed from its definition in every refresh-th iteration, each time with one more
            product; between them it follows by recurrence, whose rounding errors add up.
        eps: relative rounding of A v; None: that of the vectors' type.
    """

    max_iterations: int
    stop: StopRule = field(default_factory=StopRule)
    refresh: int = 50
    eps: float | None = None


@dataclass(frozen=True, kw_only=True)
class CgHooks:
    """What a caller adds to conjugate gradient.

    Args:
        precondition: r (n) -> z = M^-1 r (n), in a tensor of its own; M symmetric and positive definite.
        on_iterate: (iteration, x, phi(x)) -> None, called after each step except one that ends the run. x is the
            solver's own vector, which the next step overwrites.
        capture: work -> replacement. It receives one iteration's work, which uses the same memory each time, and
            returns what does that work, see `worker.optim.solver.cuda_graphs`.
    """

    precondition: Callable[[Tensor], Tensor] | None = None
    on_iterate: Callable[[int, Tensor, float], None] | None = None
    capture: Callable[[Callable[[], None]], Callable[[], None]] | None = None


NO_HOOKS = CgHooks()


@dataclass(frozen=True)
class Solution:
    """How a solve ended; x itself was written in place.

    Attributes:
        iterations: steps taken.
        stop_reason: why it stopped.
        residual: |A x - b|.
        model: phi(x) = x'Ax / 2 - b'x.
        products: multiplications by A, those of refreshed residuals included.
        steps: alpha of each iteration.
        ratios: beta of each iteration.
    """

    iterations: int
    stop_reason: StopReason
    residual: float
    model: float
    products: int
    steps: tuple[float, ...]
    ratios: tuple[float, ...]


def solve(
    operator: Operator,
    b: Tensor,
    x: Tensor,
    options: CgOptions,
    hooks: CgHooks = NO_HOOKS,
    *,
    scale: Tensor | None = None,
    model: Tensor | None = None,
    workspace: tuple[Tensor, Tensor, Tensor] | None = None,
) -> Solution:
    """Set x to the iterate of conjugate gradient on A x = b from zero, after at most `max_iterations` steps.

    A start z is a shift: solve A x = b - A z and add z. `scale` and `model` make the stop test and the reported model
    those of the whole solution then. x stays finite: a direction whose curvature p'Ap is not positive beyond rounding
    ends the run with the x reached so far, and an x that overflows is replaced by zero.

    Args:
        operator: A and the inner product.
        b: right side, n numbers in float32 or float64.
        x: receives the solution, n numbers; its contents before are not read.
        options: limit, stop rule and rounding.
        hooks: preconditioner, observer of the iterates, capture of an iteration.
        scale: b'b of the system before the shift, a float64 scalar; None: b'b.
        model: phi(z) at the start, a float64 scalar; None: 0.
        workspace: three vectors of n numbers to overwrite; None: new ones.

    Returns:
        How the solve ended.

    Source: Hestenes and Stiefel (1952), "Methods of conjugate gradients for solving linear systems"; truncation:
        Martens (2010), section 4.4; preconditioner: Saad (2003), "Iterative methods for sparse linear systems",
        algorithm 9.1.
    """
    vectors = workspace or (torch.empty_like(b), torch.empty_like(b), torch.empty_like(b))
    eps = torch.finfo(b.dtype).eps if options.eps is None else options.eps
    iteration = _Iteration(operator, b, x, vectors, eps=eps, model=model, precondition=hooks.precondition)
    advance = iteration if hooks.capture is None else hooks.capture(iteration)
    offset, r = iteration.phi.clone(), iteration.r
    scale_seen, rr_seen, phi_seen = torch.stack(
        (iteration.rr if scale is None else scale, iteration.rr, offset)
    ).tolist()
    test = StopTest(options.stop, eps, scale_seen, rr_seen, phi_seen)
    reason, products = test.start(), 0
    while reason is None and (done := len(test.steps) + 1) <= options.max_iterations:
        # A refreshed residual is not part of the captured work; at the last iteration nobody would use it.
        if done % options.refresh or done == options.max_iterations:
            advance()
        else:
            iteration(afresh=True)
            products += 1
        products += 1
        # The one wait for the device: all that the stop test needs, in one transfer.
        pq_seen, step, rr_seen, phi_seen, ratio = iteration.seen.tolist()
        reason = test.iteration(pq_seen, step, rr_seen, phi_seen, ratio)
        if reason is None and hooks.on_iterate is not None:
            hooks.on_iterate(done, x, phi_seen)
    # phi from x and r, not from its recurrence: x'Ax - b'x = x'r. This costs no product.
    phi_seen = float(offset + (operator.inner(r, x) - operator.inner(b, x)) / 2)
    if not math.isfinite(phi_seen):
        reason = StopReason.DIVERGED
        x.zero_()
    return Solution(
        iterations=len(test.steps),
        stop_reason=reason or StopReason.ITERATIONS,
        residual=0.0 if rr_seen < 0 else math.sqrt(rr_seen),
        model=phi_seen,
        products=products,
        steps=tuple(test.steps),
        ratios=tuple(test.ratios),
    )


class _Iteration:
    """One iteration's work. It uses the same memory each time and branches on no value, so that it can be captured.

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
        """Return z and r'z; without a preconditioner r and r'r."""
        if self._precondition is None:
            return self.r, rr
        z = self._precondition(self.r)
        return z, self._operator.inner(self.r, z)

    def __call__(self, *, afresh: bool = False) -> None:
        """Do one iteration; afresh: compute r = A x - b from its definition, not by recurrence."""
        operator, p, q, r = self._operator, self._p, self._q, self.r
        operator.product(p, q)
        pq = operator.inner(p, q)
        # Below eps times the largest curvature seen, p'Ap is rounding of A p, whatever its sign. Curvature is p'Ap over
        # p'Mp, which follows by recurrence because M itself is never applied.
        torch.maximum(self._top, pq / self._pp, out=self._top)
        alpha = self._rz / pq
        # A step along such a direction becomes 0, and the stop test sees that: a branch here would wait for the device.
        alpha = alpha.masked_fill(~((pq > self._eps * self._top * self._pp) & alpha.isfinite()), 0)
        _add(self._x, p, alpha)
        if afresh:
            operator.product(self._x, r)
            r.sub_(self._b)
        else:
            _add(r, q, alpha)
        # Exact line minimum: the step lowers phi by alpha r'z / 2, so that the model needs no product.
        self.phi.sub_(alpha * self._rz / 2)
        rr = operator.inner(r, r)
        z, rz = self._preconditioned(rr)
        beta = rz / self._rz
        # p = -z + beta p with z and p M-orthogonal: p'Mp = z'Mz + beta^2 p'Mp, and z'Mz = r'z.
        self._pp.mul_(beta**2).add_(rz)
        self._rz.copy_(rz)
        torch.stack((pq, alpha, rr, self.phi, beta), out=self.seen)
        p.mul_(beta).sub_(z)


class FlatInner:
    """The Euclidean inner product of flat vectors, accumulated in float64."""

    def inner(self, left: Tensor, right: Tensor) -> Tensor:
        """Return sum_i left_i right_i, a float64 scalar on the vectors' device."""
        if left.dtype == torch.float64:
            return torch.dot(left, right)
        if asynchronous(left):
            return torch.dot(left.double(), right.double())
        return _chunked(left, right)


def asynchronous(tensor: Tensor) -> bool:
    """Whether operations on the tensor return before they are done, so that reading a value has to wait."""
    return tensor.is_cuda


def _chunked(left: Tensor, right: Tensor) -> Tensor:
    """Convert to float64 in chunks that stay in the processor's cache: twice as fast as whole vectors."""
    total = torch.zeros((), dtype=torch.float64, device=left.device)
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
