"""What the pages say of runs in words: name, progress, history, how long more of them would take."""

from collections.abc import Sequence
from datetime import datetime
from statistics import median

from backend.schemas import ExperimentSpec, Run, RunConfig
from dashboard.frames import OPTIMIZER_NAMES


def counted(count: int, noun: str) -> str:
    """Write a count with its noun: 1 run, 2 runs."""
    return f"{count:,} {noun}" if count == 1 else f"{count:,} {noun}s"


def title(run: Run) -> str:
    """Name a run by its optimizer and seed."""
    return f"{OPTIMIZER_NAMES[run.config.optimizer.kind]}, seed {run.config.seed}"


def progress(run: Run) -> str:
    """Say how far a run is, by its budget."""
    limits = run.config.budget
    of = f" of {limits.updates:,}" if limits.updates else ""
    return f"{run.summary.updates:,}{of} updates"


def rate(run: Run | None) -> str:
    """Write a run's updates per second of training; empty where it has none yet."""
    return f"{run.summary.updates / run.summary.seconds:.3g}" if run and run.summary.seconds else ""


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


def duration(seconds: float) -> str:
    """Write a duration in the unit that suits it."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


def history(run: Run) -> list[str]:
    """Tell what became of a run, in sentences."""
    lines = [f"{run.experiment_name}. Queued {_when(run.created_at)}."]
    if run.started_at:
        again = f" (attempt {run.attempts}: a worker was lost and it began anew)" if run.attempts > 1 else ""
        where = f" on {device}" if (device := run.environment.get("device")) else ""
        lines.append(f"Started {_when(run.started_at)}{where}{again}.")
    if run.finished_at:
        reason = f": {run.ended_by}" if run.ended_by else ""
        lines.append(f"{run.status.capitalize()} {_when(run.finished_at)}{reason}, after {progress(run)}.")
    elif run.cancel_requested:
        lines.append("It is being cancelled.")
    if run.parameters:
        lines.append(f"{run.parameters:,} trainable parameters.")
    return lines


def _when(moment: datetime) -> str:
    return moment.astimezone().strftime("%d %b %H:%M:%S")
