"""When conjugate gradient stops."""

import math
from dataclasses import dataclass

from worker.optim.results import StopReason


@dataclass(frozen=True)
class StopRule:
    """When conjugate gradient stops before its limit of iterations.

    With every kind it stops once the residual has sunk into rounding, |r| <= eps |b|, eps of the floating type.

    Args:
        kind: "iterations": no earlier. "residual": at |r| <= tolerance |b|. "martens": at iteration i > k when
            q(x_i) < 0 and (q(x_i) - q(x_(i-k))) / q(x_i) < k tolerance, with k = max(10, 0.1 i).
        tolerance: relative residual, or relative progress per iteration; above 0 and below 1.

    Raises:
        ValueError: the kind is unknown, or the tolerance is out of bounds.

    Source: Martens (2010), "Deep learning via Hessian-free optimization", section 4.4.
    """

    kind: str = "iterations"
    tolerance: float = 5e-4

    def __post_init__(self) -> None:
        if self.kind not in {"iterations", "residual", "martens"}:
            raise ValueError(f"cg_stop is {self.kind!r}: must be iterations, residual or martens")
        if not 0 < self.tolerance < 1:
            raise ValueError(f"cg_tolerance is {self.tolerance!r}: must be above 0 and below 1")


class StopTest:
    """The history of one solve, and whether it stops.

    Args:
        rule: when to stop.
        eps: relative rounding of a product.
        scale: b'b of the system before it is shifted to its start.
        rr: r'r at the start.
        model: phi at the start.
    """

    def __init__(self, rule: StopRule, eps: float, scale: float, rr: float, model: float) -> None:
        tolerance = rule.tolerance if rule.kind == "residual" else eps
        self._rule = rule
        self._scale, self._rr = scale, rr
        # The second bound: a start close to the solution has a residual far below b, which rounds relative to itself.
        self._floor = max(tolerance**2 * scale, eps**2 * rr)
        self._models = [model]
        self.steps: list[float] = []
        self.ratios: list[float] = []

    def start(self) -> StopReason | None:
        """Test the start."""
        if not (math.isfinite(self._scale) and math.isfinite(self._rr)):
            return StopReason.DIVERGED
        return StopReason.RESIDUAL if self._rr <= self._floor else None

    def iteration(self, pq: float, step: float, rr: float, model: float, ratio: float) -> StopReason | None:
        """Test an iteration's p'Ap, alpha, r'r, phi and beta. One without a finite step is not counted."""
        if not math.isfinite(pq) or not math.isfinite(rr):
            return StopReason.DIVERGED
        if step <= 0:
            return StopReason.CURVATURE
        self.steps.append(step)
        self.ratios.append(ratio)
        self._models.append(model)
        if rr <= self._floor:
            return StopReason.RESIDUAL
        if self._rule.kind == "martens" and self._progress_is_small():
            return StopReason.PROGRESS
        return None

    def _progress_is_small(self) -> bool:
        i = len(self.steps)
        k = max(10, math.ceil(0.1 * i))
        now = self._models[-1]
        return i > k and now < 0 and (now - self._models[i - k]) / now < k * self._rule.tolerance
