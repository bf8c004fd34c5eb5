"""What the pages say of runs in words."""

from typing import Any

import pytest

from backend.schemas.optimizers import Adam, HessianFree
from backend.schemas.runs import Checkpoint, Run, RunStatus
from dashboard import runs
from tests.dashboard.samples import NOON, SPEC, experiment

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
    queued, started, note, ended = runs.history(run, "one")
    assert queued.startswith("Queued ")
    assert queued.endswith(", with priority 3.")
    assert started.endswith(" on worker one, cpu (attempt 2).")
    assert note == "It began again: its checkpoint was gone."
    assert ended.startswith("Finished ")
    assert ended.endswith(": patience, after 0 of 100 updates.")
    assert runs.about(run) == "The sample's settings, 1,234 parameters"
    assert runs.about(changed()) == "The sample's settings"


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
    assert runs.history(changed(**changes))[1:] == [sentence]


def test_the_duration_is_judged_by_earlier_runs() -> None:
    """Seconds per update of earlier runs of the same kind times the budget, at most the budget's own seconds."""
    spec = SPEC.model_copy(update={"optimizers": [Adam(), HessianFree()], "seeds": [0, 1]})
    earlier = experiment(spec).runs
    paced = [
        run.model_copy(
            update={"summary": run.summary.model_copy(update={"updates": 10, "seconds": seconds}), "parameters": 83}
        )
        for run, seconds in zip(earlier, [1.0, 20.0, 1.0, 20.0], strict=True)
    ]
    assert runs.estimate(SPEC.model_copy(update={"optimizers": [Adam(), HessianFree()]}), 83, paced) == 10 + 200
    short = SPEC.budget.model_copy(update={"seconds": 15.0})
    assert runs.estimate(SPEC.model_copy(update={"optimizers": [HessianFree()], "budget": short}), 83, paced) == 15
    assert runs.estimate(SPEC, 83, paced) is None
    assert runs.estimate(SPEC.model_copy(update={"optimizers": [Adam()]}), 84, paced) is None


@pytest.mark.parametrize(("seconds", "text"), [(5, "5 s"), (120, "2 min"), (7200, "2.0 h")])
def test_durations_are_written_in_a_fitting_unit(seconds: float, text: str) -> None:
    """Seconds, minutes or hours."""
    assert runs.duration(seconds) == text
