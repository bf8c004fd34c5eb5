"""Tests of when a run's state is kept."""

from pathlib import Path

import torch

from backend.schemas.runs import Checkpoint
from worker.checkpoints.files import Checkpoints, State
from worker.checkpoints.policy import DiskKeeper

STATE = State({"a": torch.ones(3)}, {"updates": 2})


def make(
    root: Path, told: list[Checkpoint], *, named: Checkpoint | None = None, every: float = 0.0, limit: int = 10**6
) -> DiskKeeper:
    """Make a keeper that nobody pauses."""
    checkpoints = Checkpoints(root, "runrunrun", 1, limit=limit)
    return DiskKeeper(checkpoints, named, every=every, paused=lambda: False, tell=told.append)


def test_what_is_kept_is_told_and_found(tmp_path: Path) -> None:
    """The next keeper finds the state by what the first one told."""
    told: list[Checkpoint] = []
    assert make(tmp_path, told).keep(STATE, 2)
    again = make(tmp_path, [], named=told[0])
    found = again.found()
    assert found is not None
    assert found.document == {"updates": 2}
    assert make(tmp_path, []).found() is None
    assert make(tmp_path, []).missing() == ""


def test_a_checkpoint_that_is_elsewhere_is_missed(tmp_path: Path) -> None:
    """A worker without the file says that the run begins again, and why."""
    keeper = make(tmp_path, [], named=Checkpoint(update=2, sha256="0" * 64))
    assert keeper.found() is None
    assert keeper.missing().startswith("began again: ")
    assert "checkpoint of update 2 is not on this worker's disk" in keeper.missing()


def test_a_state_is_kept_from_time_to_time(tmp_path: Path) -> None:
    """It is due when its time has come, and not right after it was kept."""
    assert make(tmp_path, []).due()
    keeper = make(tmp_path, [], every=1000)
    assert not keeper.due()
    keeper = make(tmp_path, [])
    keeper.keep(STATE, 2)
    assert not keeper.due()  # for it took time: 20 times that must pass


def test_training_goes_on_without_room(tmp_path: Path) -> None:
    """Where neither checkpoint nor final weights can be written, nothing is told and nothing is raised."""
    told: list[Checkpoint] = []
    keeper = make(tmp_path, told, limit=10)
    assert not keeper.keep(STATE, 2)
    keeper.end(STATE)
    assert (told, keeper.weights) == ([], None)
