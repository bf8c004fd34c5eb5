"""Runs as text."""

from typing import Any

import pytest

from backend.schemas.runs import Checkpoint, Run, RunStatus
from dashboard.runs import wording
from tests.dashboard.samples import NOON, experiment

KEPT = Checkpoint(update=40, sha256="0" * 64)


def changed(**changes: Any) -> Run:
    """Make a run that stands where the changes say."""
    return experiment().runs[0].model_copy(update=changes)


def test_a_runs_history_is_told() -> None:
    """Queued, started where at which attempt, what to know of it, how it ended."""
    run = changed(
        started_at=NOON, finished_at=NOON, status=RunStatus.FINISHED, claims=2, ended_by="patience", parameters=1234,
        environment={"device": "cpu"}, notes=["It began again: its checkpoint was gone."], priority=3,
    )  # fmt: skip
    queued, started, note, ended = wording.history(run, "one")
    assert queued.startswith("Queued ")
    assert queued.endswith(", with priority 3.")
    assert started.endswith(" on worker one, cpu (claim 2).")
    assert note == "It began again: its checkpoint was gone."
    assert ended.startswith("Finished ")
    assert ended.endswith(": patience, after 0 of 100 updates.")
    assert wording.experiment_text(run) == "The sample's settings, 1,234 parameters"
    assert wording.experiment_text(changed()) == "The sample's settings"


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"status": RunStatus.PAUSED}, "Paused after 0 of 100 updates. It resumes from the start."),
        (
            {"status": RunStatus.PAUSED, "checkpoint": KEPT},
            "Paused after 0 of 100 updates. It resumes from the checkpoint after update 40.",
        ),
        (
            {"status": RunStatus.QUEUED, "checkpoint": KEPT, "claims": 1},
            "Waiting for a worker to continue from the checkpoint after update 40.",
        ),
        ({"status": RunStatus.RUNNING, "checkpoint": KEPT}, "Last checkpoint: update 40."),
        ({"status": RunStatus.RUNNING, "cancel_requested": True}, "Cancelling."),
        ({"status": RunStatus.RUNNING, "pause_requested": True}, "Pausing after this update."),
    ],
)
def test_the_state_is_described(changes: dict[str, Any], sentence: str) -> None:
    """The requested action, and where the run continues."""
    assert wording.history(changed(**changes))[1:] == [sentence]
