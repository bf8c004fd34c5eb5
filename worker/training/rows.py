"""Rows: an update's results as they are reported, and the message for a diverged one."""

import math

from backend.schemas.experiments import RunConfig
from backend.schemas.measures import BLOCK_FIELDS, BlockStats, Update
from worker.optim import BlockResult, StepResult


def make_row(step: StepResult, **counted: float | None) -> Update:
    """Turn an update's figures into a row; what is not finite becomes null."""
    ruled = step.evaluations > 0  # a rule of acceptance is on
    figures = (step.loss, step.gradient_norm, step.step_norm)
    return Update.model_validate(
        {
            **counted,
            "batch_loss": finite(step.loss),
            "gradient_norm": finite(step.gradient_norm),
            "step_norm": finite(step.step_norm),
            "gradient_seconds": step.gradient_seconds,
            "curvature_seconds": step.curvature_seconds,
            "scale": step.scale if ruled else None,
            "reduction_ratio": finite(step.reduction_ratio),
            "loss_decrease": finite(step.loss_decrease),
            "diverged": not all(math.isfinite(figure) for figure in figures),
            "blocks": [_block(block) for block in step.blocks],
        }
    )


def _block(result: BlockResult) -> BlockStats:
    """Turn a block's result into its part of the row: both name the measures alike."""
    values = {name: getattr(result, name) for name in BLOCK_FIELDS}
    finite_values = {name: finite(value) if isinstance(value, float) else value for name, value in values.items()}
    texts = {"stop_reason": result.stop_reason.value, "note": result.note[:500] or None}
    return BlockStats.model_validate(finite_values | texts | {"product_method": result.product_method or None})


def finite(value: float | None) -> float | None:
    """Return the value; None if it is not finite."""
    return value if value is not None and math.isfinite(value) else None


def divergence(row: Update, config: RunConfig) -> str:
    """Say what is not finite, and what to change."""
    named = {
        "the loss over the batch": row.batch_loss, "the gradient": row.gradient_norm, "the step": row.step_norm,
    }  # fmt: skip
    broken = [name for name, value in named.items() if value is None] or ["the loss after the update"]
    cure = "choose a smaller learning_rate"
    if config.optimizer.has_curvature:
        cure += " or more damping, or fewer max_cg_iterations"
    return f"diverged at update {row.update}: {' and '.join(broken)} is not a finite number; {cure}"
