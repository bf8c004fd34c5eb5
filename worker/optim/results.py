"""What an update reports: its loss, norms and cost, and each block's conjugate gradient run."""

from dataclasses import dataclass, field
from enum import StrEnum
from functools import cached_property

import torch

RITZ_ITERATIONS = 200
"""first iterations of a solve that `ritz_min` and `ritz_max` are computed from; the work grows with their cube"""


class StopReason(StrEnum):
    """Why a block's conjugate gradient stopped."""

    ITERATIONS = "iterations"
    """the limit of iterations was reached"""
    RESIDUAL = "residual"
    """the residual is small compared with the gradient"""
    PROGRESS = "progress"
    """the last iterations hardly lowered the quadratic model"""
    CURVATURE = "curvature"
    """the curvature along the direction is not positive, which is rounding when damping is 0; the iterate is used:
    more damping or fewer iterations avoid it"""
    DIVERGED = "diverged"
    """a value is not finite: more damping or a smaller learning rate may help"""


@dataclass(frozen=True)
class BlockResult:
    """One block's solve of (G_b + d I) x = -g. G_b and g include weight decay.

    All of it belongs to the last iterate, even where the step goes back to an earlier one.

    Attributes:
        cg_iterations: iterations of this solve.
        stop_reason: why it stopped.
        residual: norm of (G_b + d I) x + g.
        model_decrease: decrease of the quadratic model from x = 0: -q(x), q(x) = x'(G_b + d I) x / 2 + g'x.
        product_method: how G_b was multiplied, one of `ProductMethod`.
        note: why a faster method was not used; empty where there is no reason.
        cost: work of the solve, its set-up and warm start included [gradients of S_g].
        predicted_cost: what the planner predicted, vector operations converted [same unit]; None: nothing was planned.
        step_norm: Euclidean norm of the change of the block's weights.
        damping: d.
        steps: alpha of each iteration.
        ratios: beta of each iteration.
    """

    cg_iterations: int
    stop_reason: StopReason
    residual: float
    model_decrease: float
    product_method: str = ""
    note: str = ""
    cost: float = 0.0
    predicted_cost: float | None = None
    step_norm: float = 0.0
    damping: float = 0.0
    steps: tuple[float, ...] = ()
    ratios: tuple[float, ...] = ()

    @property
    def ritz_min(self) -> float | None:
        """Estimate of the smallest eigenvalue of G_b + d I; None: there was no iteration."""
        return self._ritz[0] if self._ritz else None

    @property
    def ritz_max(self) -> float | None:
        """Estimate of the largest eigenvalue of G_b + d I; None: there was no iteration."""
        return self._ritz[-1] if self._ritz else None

    @cached_property
    def _ritz(self) -> list[float]:
        return self.ritz_values(RITZ_ITERATIONS)

    def ritz_values(self, most: int | None = None) -> list[float]:
        """Estimate eigenvalues of G_b + d I as those of the Lanczos matrix T.

        T[j, j] = 1 / alpha_j + beta_(j-1) / alpha_(j-1), T[j, j+1] = sqrt(beta_j) / alpha_j. Large ones converge first.

        Args:
            most: use at most this number of iterations, the first ones; None: all.

        Returns:
            The estimates, ascending, one per iteration used. With a preconditioner M they are those of
            M^-1 (G_b + d I).

        Source: Saad (2003), "Iterative methods for sparse linear systems", section 6.7.3.
        """
        alpha = torch.tensor(self.steps[:most], dtype=torch.float64, device="cpu")
        beta = torch.tensor(self.ratios[: len(alpha)], dtype=torch.float64, device="cpu")
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

    Attributes:
        loss: mean loss over S_g before the update, without the penalty of weight decay.
        gradient_norm: Euclidean norm of the gradient over S_g before the update, as it is solved for: after gradient
            hooks, with weight decay.
        step_norm: Euclidean norm of the change of the weights.
        cost: the update's work, counted as floating-point operations of matrix products [gradients of S_g].
        blocks: one result per block; empty for first-order optimizers.
        scale: factor of the line search on the step.
        reduction_ratio: decrease of the loss over that of the quadratic model; None: the damping does not adapt.
        iteration: iterate that backtracking went back to; None: it is off.
        evaluations: losses computed for line search, ratio and backtracking.
        loss_decrease: decrease of the loss with the penalty of weight decay, where the ratio is known.
        gradient_seconds: time of loss and gradient [s], see `worker.optim.phases`; ignored by ==.
        curvature_seconds: time of the solves with their set-up [s]; None: there are none; ignored by ==.
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
