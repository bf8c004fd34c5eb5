"""What an update reports: its loss, norms and cost, and each block's conjugate gradient run."""

from dataclasses import dataclass, field
from enum import StrEnum

import torch


class StopReason(StrEnum):
    """Why a block's conjugate gradient stopped."""

    ITERATIONS = "iterations"
    RESIDUAL = "residual"
    PROGRESS = "progress"
    CURVATURE = "curvature"
    DIVERGED = "diverged"

    @property
    def text(self) -> str:
        """Say the cause and, where something is wrong, the cure."""
        return _TEXT[self]


_TEXT = {
    StopReason.ITERATIONS: "the iterations were used up",
    StopReason.RESIDUAL: "the residual is small against the gradient",
    StopReason.PROGRESS: "the last iterations hardly lowered the quadratic model",
    StopReason.CURVATURE: "the curvature along the direction is not positive, which is rounding when damping is 0; "
    "the iterate is kept: more damping or fewer iterations avoid it",
    StopReason.DIVERGED: "a value is not finite: more damping or a smaller learning rate may help",
}


@dataclass(frozen=True)
class StopRule:
    """When conjugate gradient stops before `max_cg_iters`.

    kind "iterations": never before the residual has sunk into rounding, |r| <= eps |g|, eps of the floating type.
    kind "residual": |r| <= tolerance |g|.
    kind "martens": at iteration i > k when q(x_i) < 0 and (q(x_i) - q(x_(i-k))) / q(x_i) < k tolerance with
    k = max(10, 0.1 i). Source: Martens (2010), "Deep learning via Hessian-free optimization", section 4.4.
    """

    kind: str = "iterations"
    tolerance: float = 5e-4

    def __post_init__(self) -> None:
        if self.kind not in {"iterations", "residual", "martens"}:
            raise ValueError(f"stop is {self.kind!r}: must be iterations, residual or martens")
        if not 0 < self.tolerance < 1:
            raise ValueError(f"tolerance is {self.tolerance!r}: must be above 0 and below 1")


@dataclass(frozen=True)
class BlockResult:
    """One block's solve of (G_b + d I) x = -g.

    iterations: done in this solve. reason: why it stopped. residual: |(G_b + d I) x + g|. damping: d.
    step_norm: Euclidean norm of the change of the block's weights, of which those of all blocks make the update's.
    decrease: -q(x), q(x) = x'(G_b + d I) x / 2 + g'x; the decrease of the quadratic model from x = 0.
    cost: work of the solve in gradients of S_g, its set-up and warm start included. predicted: what the planner
    expected, vector operations converted to matrix products'; None where nothing was planned.
    way: how the curvature was multiplied; note: why a faster way was not taken, where there is a reason.
    steps, ratios: conjugate gradient's alpha and beta, of which `ritz_values` is made. They all are the solve's, at its
    last iterate, whether or not the step goes back to an earlier one.
    """

    iterations: int
    reason: StopReason
    residual: float
    decrease: float
    cost: float = 0.0
    predicted: float | None = None
    way: str = ""
    note: str = ""
    steps: tuple[float, ...] = ()
    ratios: tuple[float, ...] = ()
    damping: float = 0.0
    step_norm: float = 0.0

    def ritz_values(self, most: int | None = None) -> list[float]:
        """Estimate eigenvalues of G_b + d I, ascending: those of the Lanczos matrix that alpha and beta are.

        With a preconditioner M they are those of M^-1 (G_b + d I).
        most: how many iterations to use at most, the first ones; the work grows with their cube. None: all.
        T[j, j] = 1 / alpha_j + beta_(j-1) / alpha_(j-1), T[j, j+1] = sqrt(beta_j) / alpha_j. Source: Saad (2003),
        "Iterative methods for sparse linear systems", section 6.7.3. The largest converge first.
        """
        alpha = torch.tensor(self.steps[:most], dtype=torch.float64)
        beta = torch.tensor(self.ratios[: len(alpha)], dtype=torch.float64)
        if not len(alpha):
            return []
        diagonal = 1 / alpha
        diagonal[1:] += beta[:-1] / alpha[:-1]
        beside = beta[:-1].sqrt() / alpha[:-1]
        matrix = torch.diag(diagonal) + torch.diag(beside, 1) + torch.diag(beside, -1)
        return [float(v) for v in torch.linalg.eigvalsh(matrix)]


@dataclass(frozen=True)
class StepResult:
    """One update.

    loss, gradient_norm: over S_g, before the update. step_norm: Euclidean norm of the change of the weights.
    cost: the update's work in gradients of S_g, counted as floating-point operations of matrix products.
    blocks: one result per block; empty for first-order optimizers.
    scale: what the line search multiplied the step by. reduction_ratio: the loss's decrease over the quadratic model's,
    where the damping adapts, and loss_decrease the loss's. iteration: where backtracking went back to. evaluations:
    losses taken for these three.
    gradient_seconds, curvature_seconds: time of loss and gradient, and of the solves with their set-up (None where
    nothing is solved); see `worker.optim.phases`. They do not count when results are compared.
    """

    loss: float
    gradient_norm: float
    step_norm: float
    cost: float
    blocks: tuple[BlockResult, ...] = ()
    scale: float = 1.0
    reduction_ratio: float | None = None
    iteration: int | None = None
    evaluations: int = 0
    loss_decrease: float | None = None
    gradient_seconds: float | None = field(default=None, compare=False)
    curvature_seconds: float | None = field(default=None, compare=False)
