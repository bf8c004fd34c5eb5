"""How long planned runs will train, estimated from earlier runs."""

from collections.abc import Sequence
from statistics import median

from backend.schemas.experiments import ExperimentSpec, RunConfig
from backend.schemas.runs import Run


def estimate(spec: ExperimentSpec, parameters: int, earlier: Sequence[Run]) -> float | None:
    """Estimate the training seconds of all runs, one after another, from earlier runs like them.

    None where a budget has no limit that could be turned into seconds, or where there is no earlier run to judge by.
    """
    total = 0.0
    for config in spec.runs():
        alike = [
            run
            for run in earlier
            if run.parameters == parameters and run.summary.updates and _alike(run.config, config)
        ]
        bounds = [config.budget.seconds] if config.budget.seconds else []
        if alike and config.budget.updates:
            pace = median(run.summary.seconds / run.summary.updates for run in alike)
            bounds.append(pace * config.budget.updates)
        if not bounds:
            return None
        total += min(bounds)
    return total


def _alike(one: RunConfig, other: RunConfig) -> bool:
    """Tell whether an update of one run, on as large a network, is about the work of an update of the other."""
    kind, batch = one.optimizer.kind, one.optimizer.gradient_batch
    return (one.problem.name, kind, batch) == (
        other.problem.name,
        other.optimizer.kind,
        other.optimizer.gradient_batch,
    )
