"""Runs as text: progress and history."""

from datetime import datetime

from backend.schemas.runs import Run, RunStatus

LOST = "worker lost; waiting for another worker to continue"


def progress_text(run: Run) -> str:
    """Write how many updates of its budget a run has done."""
    limits = run.config.budget
    of = f" of {limits.updates:,}" if limits.updates else ""
    return f"{run.summary.updates:,}{of} updates"


def rate_text(run: Run | None) -> str:
    """Write a run's updates per second of training; empty if it has none yet."""
    return f"{run.summary.updates / run.summary.seconds:.3g}" if run and run.summary.seconds else ""


def pending_request(run: Run) -> list[str]:
    """Return the requested action that is not done yet, as a phrase in a list; empty if there is none."""
    if run.final:
        return []
    return ["cancelling"] if run.cancel_requested else ["pausing after this update"] if run.pause_requested else []


def history(run: Run, worker: str = "") -> list[str]:
    """Describe a run's history in sentences; `worker` is the name of its worker."""
    first = f", with priority {run.priority}" if run.priority else ""
    lines = [f"Queued {_when(run.created_at)}{first}."]
    if run.started_at:
        names = [f"worker {worker}" if worker else "", run.environment.get("device", "")]
        where = " on " + ", ".join(name for name in names if name) if any(names) else ""
        again = f" (claim {run.claims})" if run.claims > 1 else ""
        lines.append(f"Started {_when(run.started_at)}{where}{again}.")
    lines.extend(run.notes)
    if run.finished_at:
        reason = f": {run.ended_by}" if run.ended_by and run.ended_by != run.status else ""
        lines.append(f"{run.status.capitalize()} {_when(run.finished_at)}{reason}, after {progress_text(run)}.")
    else:
        lines.extend(_state(run))
    return lines


def experiment_text(run: Run) -> str:
    """Name a run's comparison and, once known, the size of its network."""
    return f"{run.experiment_name}, {run.parameters:,} parameters" if run.parameters else run.experiment_name


def _state(run: Run) -> list[str]:
    """Describe the state of a run that has not ended, in sentences."""
    from_where = f"from the checkpoint after update {run.checkpoint.update:,}" if run.checkpoint else "from the start"
    lines = [f"{phrase.capitalize()}." for phrase in pending_request(run)]
    if run.status is RunStatus.PAUSED:
        lines.append(f"Paused after {progress_text(run)}. It resumes {from_where}.")
    elif run.status is RunStatus.QUEUED and run.claims:
        lines.append(f"Waiting for a worker to continue {from_where}.")
    elif run.checkpoint:
        lines.append(f"Last checkpoint: update {run.checkpoint.update:,}.")
    return lines


def _when(moment: datetime) -> str:
    return moment.astimezone().strftime("%d %b %H:%M:%S")
