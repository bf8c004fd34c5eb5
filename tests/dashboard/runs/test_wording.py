"""What the pages say of runs in words."""

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
        started_at=NOON, finished_at=NOON, status=RunStatus.FINISHED, attempts=2, ended_by="patience", parameters=1234,
        environment={"device": "cpu"}, notes=["It began again: its checkpoint was gone."], priority=3,
    )  # fmt: skip
    queued, started, note, ended = wording.history(run, "one")
    assert queued.startswith("Queued ")
    assert queued.endswith(", with priority 3.")
    assert started.endswith(" on worker one, cpu (attempt 2).")
    assert note == "It began again: its checkpoint was gone."
    assert ended.startswith("Finished ")
    assert ended.endswith(": patience, after 0 of 100 updates.")
    assert wording.about(run) == "The sample's settings, 1,234 parameters"
    assert wording.about(changed()) == "The sample's settings"


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"status": RunStatus.PAUSED}, "Paused after 0 of 100 updates. When it is resumed it goes on from the start."),
        (
            {"status": RunStatus.PAUSED, "checkpoint": KEPT},
            "Paused after 0 of 100 updates. When it is resumed it goes on from the checkpoint after update 40.",
        ),
        (
            {"status": RunStatus.QUEUED, "checkpoint": KEPT, "attempts": 1},
            "It waits for a worker, to go on from the checkpoint after update 40.",
        ),
        ({"status": RunStatus.RUNNING, "checkpoint": KEPT}, "Its last checkpoint is of update 40."),
        ({"status": RunStatus.RUNNING, "cancel_requested": True}, "It is being cancelled."),
        ({"status": RunStatus.RUNNING, "pause_requested": True}, "It pauses after its update."),
    ],
)
def test_it_is_told_where_a_run_stands(changes: dict[str, Any], sentence: str) -> None:
    """What is asked of it, and from where it will go on."""
    assert wording.history(changed(**changes))[1:] == [sentence]
