"""What the pages say of runs in words: name, progress, history, how long more of them would take."""

from datetime import datetime

from backend.schemas.looks import OPTIMIZER_NAMES
from backend.schemas.runs import Run, RunStatus

LOST = "its worker is gone, the next one goes on with it"


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


def asked(run: Run) -> list[str]:
    """Say what is asked of a run and not done yet: nothing, or one phrase."""
    if run.final:
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
