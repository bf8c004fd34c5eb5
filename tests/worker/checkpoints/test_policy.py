"""Tests of when a run's state is saved."""

from pathlib import Path

import torch

from backend.schemas.runs import Checkpoint
from worker.checkpoints.files import Checkpoints, Snapshot
from worker.checkpoints.policy import DiskCheckpointPolicy

STATE = Snapshot({"a": torch.ones(3)}, {"updates": 2})


def make(
    root: Path,
    saved: list[Checkpoint],
    *,
    recorded: Checkpoint | None = None,
    interval: float = 0.0,
    limit: int = 10**6,
) -> DiskCheckpointPolicy:
    """Make a policy without a pause."""
    checkpoints = Checkpoints(root, "runrunrun", 1, limit=limit)
    return DiskCheckpointPolicy(
        checkpoints, recorded, interval=interval, pause_requested=lambda: False, on_saved=saved.append
    )


def test_a_saved_state_is_reported_and_loaded(tmp_path: Path) -> None:
    """A later policy loads the state that the first one reported."""
    saved: list[Checkpoint] = []
    assert make(tmp_path, saved).save(STATE, 2)
    again = make(tmp_path, [], recorded=saved[0])
    found = again.load()
    assert found is not None
    assert found.document == {"updates": 2}
    assert make(tmp_path, []).load() is None
    assert make(tmp_path, []).missing_note() == ""


def test_a_missing_checkpoint_is_explained(tmp_path: Path) -> None:
    """A worker without the file explains which checkpoint is missing."""
    policy = make(tmp_path, [], recorded=Checkpoint(update=2, sha256="0" * 64))
    assert policy.load() is None
    assert "update 2 " in policy.missing_note()


def test_a_state_is_saved_at_intervals(tmp_path: Path) -> None:
    """It is due after the interval, and not right after it was saved."""
    assert make(tmp_path, []).due()
    policy = make(tmp_path, [], interval=1000)
    assert not policy.due()
    policy = make(tmp_path, [])
    policy.save(STATE, 2)
    assert not policy.due()  # 20 times the duration of the write must pass


def test_a_full_disk_is_no_error(tmp_path: Path) -> None:
    """If neither checkpoint nor final weights can be written, nothing is reported and nothing raised."""
    saved: list[Checkpoint] = []
    policy = make(tmp_path, saved, limit=10)
    assert not policy.save(STATE, 2)
    policy.save_weights(STATE)
    assert (saved, policy.weights) == ([], None)
    assert "weights" in policy.note
