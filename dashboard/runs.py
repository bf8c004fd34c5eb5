"""What the pages say of runs in words: name, progress, history, how long more of them would take."""

from collections.abc import Sequence
from datetime import datetime
from statistics import median

from backend.schemas.experiments import ExperimentSpec, RunConfig
from backend.schemas.looks import OPTIMIZER_NAMES
from backend.schemas.runs import Run, RunStatus

LOST = "its worker is gone, the next one goes on with it"


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


def asked(run: Run) -> list[str]:
    """Say what is asked of a run and not done yet: nothing, or one phrase."""
    if run.status.final:
        return []
    return ["being cancelled"] if run.cancel_requested else ["pauses after its update"] if run.pause_requested else []


def history(run: Run, worker: str = "") -> list[str]:
    """Tell what became of a run, in sentences; `worker` is the name of the one that has, or had, it."""
    first = f", with priority {run.priority}" if run.priority else ""
    lines = [f"Queued {_when(run.created_at)}{first}."]
    if run.started_at:
        names = [f"worker {worker}" if worker else "", run.environment.get("device", "")]
        where = " on " + ", ".join(name for name in names if name) if any(names) else ""
        again = f" (attempt {run.attempts})" if run.attempts > 1 else ""
        lines.append(f"Started {_when(run.started_at)}{where}{again}.")
    lines.extend(run.notes)
    if run.finished_at:
        reason = f": {run.ended_by}" if run.ended_by and run.ended_by != run.status else ""
        lines.append(f"{run.status.capitalize()} {_when(run.finished_at)}{reason}, after {progress(run)}.")
    else:
        lines.extend(_standing(run))
    return lines


def about(run: Run) -> str:
    """Name the comparison that a run is of, and the size of its network as soon as that is known."""
    return f"{run.experiment_name}, {run.parameters:,} parameters" if run.parameters else run.experiment_name


def _standing(run: Run) -> list[str]:
    """Say where a run that has not ended stands."""
    from_where = f"from the checkpoint after update {run.checkpoint.update:,}" if run.checkpoint else "from the start"
    lines = [f"It is {phrase}." if phrase.startswith("being") else f"It {phrase}." for phrase in asked(run)]
    if run.status is RunStatus.PAUSED:
        lines.append(f"Paused after {progress(run)}. When it is resumed it goes on {from_where}.")
    elif run.status is RunStatus.QUEUED and run.attempts:
        lines.append(f"It waits for a worker, to go on {from_where}.")
    elif run.checkpoint:
        lines.append(f"Its last checkpoint is of update {run.checkpoint.update:,}.")
    return lines


def _when(moment: datetime) -> str:
    return moment.astimezone().strftime("%d %b %H:%M:%S")
