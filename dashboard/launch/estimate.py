"""How long planned runs will train, estimated from earlier runs."""

from collections.abc import Sequence
from statistics import median

from backend.schemas.experiments import ExperimentSpec, RunConfig
from backend.schemas.runs import Run


def estimate(spec: ExperimentSpec, parameters: int, earlier: Sequence[Run]) -> float | None:
    """Estimate the training seconds of all runs, one after another, from similar earlier runs.

    Returns:
        The seconds; None if a budget has no limit in updates or seconds, or if there is no similar run.
    """
    total = 0.0
    for config in spec.runs():
        alike = [
            run
            for run in earlier
            if run.parameters == parameters and run.summary.updates and _is_similar(run.config, config)
        ]
        bounds = [config.budget.seconds] if config.budget.seconds else []
        if alike and config.budget.updates:
            pace = median(run.summary.seconds / run.summary.updates for run in alike)
            bounds.append(pace * config.budget.updates)
        if not bounds:
            return None
        total += min(bounds)
    return total


def _is_similar(one: RunConfig, other: RunConfig) -> bool:
    """Return whether an update of both runs is about the same work, if their networks have the same size."""
    kind, batch = one.optimizer.kind, one.optimizer.gradient_batch
    return (one.problem.name, kind, batch) == (
        other.problem.name,
        other.optimizer.kind,
        other.optimizer.gradient_batch,
    )
