"""Tests of the limit on the runs' files, and of the order of removal."""

import os
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import pytest

from backend.durable_files import draft_of
from backend.schemas.runs import RunStatus
from worker.checkpoints.quota import CheckpointQuota, remove_stale_drafts

STATES = {
    "finished0": RunStatus.FINISHED,
    "failed000": RunStatus.FAILED,
    "cancelled": RunStatus.CANCELLED,
    "queued000": RunStatus.QUEUED,
    "running00": RunStatus.RUNNING,
    "paused000": RunStatus.PAUSED,
}
CHECKPOINT, WEIGHTS = "5-1.safetensors", "weights.safetensors"
REMOVED = [
    ("unknown00", WEIGHTS), ("finished0", CHECKPOINT), ("finished0", WEIGHTS), ("cancelled", CHECKPOINT),
    ("failed000", CHECKPOINT),
]  # fmt: skip
PROTECTED = [("queued000", CHECKPOINT), ("running00", CHECKPOINT), ("paused000", CHECKPOINT), ("not-a-run", CHECKPOINT)]
SIZE = 10


def dead_pid() -> int:
    """Return the id of a process that has ended."""
    with subprocess.Popen([sys.executable, "-c", ""]) as process:
        return process.pid


def write(path: Path, age: int = 0) -> Path:
    """Write a file that was changed some seconds ago."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"." * SIZE)
    os.utime(path, (10**9 - age, 10**9 - age))
    return path


def fill(root: Path) -> list[Path]:
    """Write the files of all runs, the protected ones the oldest; return the others in the order of removal."""
    for number, (run_id, name) in enumerate(PROTECTED):
        write(root / run_id / name, age=1000 + number)
    return [write(root / run_id / name, age=100 - number) for number, (run_id, name) in enumerate(REMOVED)]


@pytest.mark.parametrize("lacking", range(len(REMOVED) + 1))
def test_files_are_removed_in_order(tmp_path: Path, lacking: int) -> None:
    """No more files are removed than necessary, in order, and none of a queued, running or paused run."""
    removable = fill(tmp_path)
    quota = CheckpointQuota(
        tmp_path, limit=(len(REMOVED) + len(PROTECTED) + 1 - lacking) * SIZE, run_states=lambda _: STATES
    )
    quota.evict_until_fits(SIZE, "runrunrun")
    assert [path for path in removable if not path.exists()] == removable[:lacking]
    assert all((tmp_path / run_id / name).exists() for run_id, name in PROTECTED)


def test_a_full_quota_is_an_error(tmp_path: Path) -> None:
    """If protected files fill the quota, the error names the setting, and the files remain."""
    fill(tmp_path)
    with pytest.raises(OSError, match=r"BLOCKHF_CHECKPOINT_QUOTA_BYTES \(49\) by 1 bytes"):
        CheckpointQuota(tmp_path, limit=49, run_states=lambda _: STATES).evict_until_fits(SIZE, "runrunrun")
    assert all((tmp_path / run_id / name).exists() for run_id, name in PROTECTED)


def test_checkpoints_remain_while_states_are_unknown(tmp_path: Path) -> None:
    """While the backend does not answer, only final weights are removed."""
    removable = fill(tmp_path)
    with pytest.raises(OSError, match="BLOCKHF_CHECKPOINT_QUOTA_BYTES"):
        CheckpointQuota(tmp_path, limit=0, run_states=lambda _: None).evict_until_fits(SIZE, "runrunrun")
    assert [path.name for path in removable if path.exists()] == [CHECKPOINT] * 3


def test_states_are_requested_only_if_necessary(tmp_path: Path) -> None:
    """The backend is asked for the states of runs only if a file must be removed."""
    asked: list[Sequence[str]] = []

    def run_states(run_ids: Sequence[str]) -> dict[str, RunStatus]:
        asked.append(run_ids)
        return STATES

    fill(tmp_path)
    CheckpointQuota(tmp_path, limit=1000, run_states=run_states).evict_until_fits(SIZE, "runrunrun")
    assert asked == []
    CheckpointQuota(tmp_path, limit=90, run_states=run_states).evict_until_fits(SIZE, "runrunrun")
    assert asked == [sorted({"unknown00", *STATES})]


def test_drafts_of_dead_processes_are_removed(tmp_path: Path) -> None:
    """Old drafts of killed processes are removed; complete files and drafts of living processes remain, and young ones.

    A young draft may be of a process in another container, whose number means nothing here.
    """
    path = write(tmp_path / "runrunrun" / CHECKPOINT)
    living = write(draft_of(path))
    pid = dead_pid()
    dead, young = (write(path.with_name(f".{name}.{pid}")) for name in (path.name, f"9-{path.name}"))
    os.utime(young, (time.time() - 500, time.time() - 500))
    remove_stale_drafts(tmp_path)
    assert [file.exists() for file in (path, living, young, dead)] == [True, True, True, False]


def test_drafts_count(tmp_path: Path) -> None:
    """Drafts count towards the quota; those of dead processes are removed first, also the run's own."""
    path = write(tmp_path / "runrunrun" / CHECKPOINT)
    living = write(draft_of(path))
    dead = write(path.with_name(f".{path.name}.{dead_pid()}"))
    CheckpointQuota(tmp_path, limit=3 * SIZE, run_states=lambda _: {}).evict_until_fits(SIZE, "runrunrun")
    assert (path.exists(), living.exists(), dead.exists()) == (True, True, False)
    with pytest.raises(OSError, match="BLOCKHF_CHECKPOINT_QUOTA_BYTES"):
        CheckpointQuota(tmp_path, limit=3 * SIZE - 1, run_states=lambda _: {}).evict_until_fits(SIZE, "runrunrun")
