"""What follows from a run's state: whether it has ended, what can be done with it, how far it is."""

from datetime import UTC, datetime
from typing import Any

import pytest
from pydantic import ValidationError

from backend.schemas.experiments import Budget
from backend.schemas.runs import Run, RunStatus, Summary
from tests.backend.samples import spec

NOW = datetime(2026, 1, 1, tzinfo=UTC)
RUN = Run(
    id="r0000001",
    experiment_id="e0000001",
    experiment_name="sample",
    config=spec().runs()[0],
    status=RunStatus.QUEUED,
    created_at=NOW,
)


def changed(**changes: Any) -> Run:
    """Make a run with these fields."""
    return RUN.model_copy(update=changes)


@pytest.mark.parametrize(
    ("changes", "names"),
    [
        ({"status": RunStatus.QUEUED}, ["pause", "cancel"]),
        ({"status": RunStatus.RUNNING}, ["pause", "cancel"]),
        ({"status": RunStatus.RUNNING, "pause_requested": True}, ["resume", "cancel"]),
        ({"status": RunStatus.RUNNING, "cancel_requested": True}, []),
        ({"status": RunStatus.PAUSED}, ["resume", "cancel"]),
        ({"status": RunStatus.FINISHED}, []),
        ({"status": RunStatus.FAILED}, ["retry"]),
        ({"status": RunStatus.CANCELLED, "cancel_requested": True}, ["retry"]),
    ],
)
def test_actions_depend_on_the_state(changes: dict[str, Any], names: list[str]) -> None:
    """A pause that is not obeyed yet can be taken back, a cancel cannot; only what ended badly is tried again."""
    assert changed(**changes).actions == names


@pytest.mark.parametrize(
    ("status", "budget", "summary", "share"),
    [
        ("running", Budget(updates=100), Summary(updates=25), 0.25),
        ("running", Budget(updates=100, seconds=10), Summary(updates=25, seconds=5), 0.5),
        ("running", Budget(updates=None, epochs=2), Summary(epoch=3), 1.0),
        ("failed", Budget(updates=100), Summary(updates=25), 0.25),
        ("finished", Budget(updates=100), Summary(updates=25), 1.0),
    ],
)
def test_progress_is_by_the_nearest_limit(status: str, budget: Budget, summary: Summary, share: float) -> None:
    """The largest fraction of a limit counts; a finished run is complete."""
    config = RUN.config.model_copy(update={"budget": budget})
    assert changed(status=RunStatus(status), config=config, summary=summary).progress == share


def test_a_run_reads_what_it_writes() -> None:
    """The answer holds the derived fields; a client accepts and recomputes them, and refuses unknown ones."""
    answer = changed(status=RunStatus.FAILED).model_dump(mode="json")
    assert (answer["final"], answer["actions"], answer["progress"]) == (True, ["retry"], 0.0)
    assert Run.model_validate(answer | {"final": False}) == changed(status=RunStatus.FAILED)
    with pytest.raises(ValidationError):
        Run.model_validate(answer | {"finale": True})


def test_a_run_of_the_version_before_is_read() -> None:
    """Version 0.1 wrote the number of claims as `attempts`."""
    document = RUN.model_dump(mode="json")
    del document["claims"]
    assert Run.model_validate(document | {"attempts": 3}).claims == 3
