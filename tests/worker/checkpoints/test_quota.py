"""Tests of how much the runs' files may take together, and which go first."""

import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from backend.durable_files import draft_of
from backend.schemas.runs import RunStatus
from worker.checkpoints.quota import Room, remove_drafts

STANDS = {
    "finished0": RunStatus.FINISHED,
    "failed000": RunStatus.FAILED,
    "cancelled": RunStatus.CANCELLED,
    "queued000": RunStatus.QUEUED,
    "running00": RunStatus.RUNNING,
    "paused000": RunStatus.PAUSED,
}
CHECKPOINT, WEIGHTS = "5-1.safetensors", "weights.safetensors"
ORDER = [
    ("unknown00", WEIGHTS), ("finished0", CHECKPOINT), ("finished0", WEIGHTS), ("cancelled", CHECKPOINT),
    ("failed000", CHECKPOINT),
]  # fmt: skip
STAY = [("queued000", CHECKPOINT), ("running00", CHECKPOINT), ("paused000", CHECKPOINT), ("not-a-run", CHECKPOINT)]
SIZE = 10


def dead_pid() -> int:
    """Give the number of a process that has ended."""
    with subprocess.Popen([sys.executable, "-c", ""]) as process:
        return process.pid


def write(path: Path, age: int = 0) -> Path:
    """Leave a file that was changed some seconds ago."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"." * SIZE)
    os.utime(path, (10**9 - age, 10**9 - age))
    return path


def fill(root: Path) -> list[Path]:
    """Write the files of all runs, those that stay the oldest; return those that may go, the first first."""
    for number, (run_id, name) in enumerate(STAY):
        write(root / run_id / name, age=1000 + number)
    return [write(root / run_id / name, age=100 - number) for number, (run_id, name) in enumerate(ORDER)]


@pytest.mark.parametrize("lacking", range(len(ORDER) + 1))
def test_what_nobody_needs_goes_first(tmp_path: Path, lacking: int) -> None:
    """No more goes than must, in order, and no file of a run that waits, trains or rests."""
    going = fill(tmp_path)
    room = Room(tmp_path, limit=(len(ORDER) + len(STAY) + 1 - lacking) * SIZE, standings=lambda _: STANDS)
    room.make(SIZE, "runrunrun")
    assert [path for path in going if not path.exists()] == going[:lacking]
    assert all((tmp_path / run_id / name).exists() for run_id, name in STAY)


def test_without_room_nothing_more_is_written(tmp_path: Path) -> None:
    """Where runs that go on fill the limit, that is an error that names it, and their files stay."""
    fill(tmp_path)
    with pytest.raises(OSError, match=r"10 bytes more would be 1 over BLOCKHF_CHECKPOINT_QUOTA_BYTES, which is 49"):
        Room(tmp_path, limit=49, standings=lambda _: STANDS).make(SIZE, "runrunrun")
    assert all((tmp_path / run_id / name).exists() for run_id, name in STAY)


def test_where_nothing_is_known_checkpoints_stay(tmp_path: Path) -> None:
    """While the backend does not say how runs stand, final weights alone make room."""
    going = fill(tmp_path)
    with pytest.raises(OSError, match="BLOCKHF_CHECKPOINT_QUOTA_BYTES"):
        Room(tmp_path, limit=0, standings=lambda _: None).make(SIZE, "runrunrun")
    assert [path.name for path in going if path.exists()] == [CHECKPOINT] * 3


def test_nobody_is_asked_where_there_is_room(tmp_path: Path) -> None:
    """The backend hears of the runs that have files here only when something must go."""
    asked: list[Sequence[str]] = []

    def standings(run_ids: Sequence[str]) -> dict[str, RunStatus]:
        asked.append(run_ids)
        return STANDS

    fill(tmp_path)
    Room(tmp_path, limit=1000, standings=standings).make(SIZE, "runrunrun")
    assert asked == []
    Room(tmp_path, limit=90, standings=standings).make(SIZE, "runrunrun")
    assert asked == [sorted({"unknown00", *STANDS})]


def test_drafts_of_the_dead_go(tmp_path: Path) -> None:
    """What a killed process had half written goes, finished files and the drafts of the living stay."""
    path = write(tmp_path / "runrunrun" / CHECKPOINT)
    living = write(draft_of(path))
    dead = write(path.with_name(f".{path.name}.{dead_pid()}"))
    remove_drafts(tmp_path)
    assert (path.exists(), living.exists(), dead.exists()) == (True, True, False)


def test_drafts_count(tmp_path: Path) -> None:
    """Half a checkpoint takes room: the living's stays and counts, the dead's goes first, also the run's own."""
    path = write(tmp_path / "runrunrun" / CHECKPOINT)
    living = write(draft_of(path))
    dead = write(path.with_name(f".{path.name}.{dead_pid()}"))
    Room(tmp_path, limit=3 * SIZE, standings=lambda _: {}).make(SIZE, "runrunrun")
    assert (path.exists(), living.exists(), dead.exists()) == (True, True, False)
    with pytest.raises(OSError, match="BLOCKHF_CHECKPOINT_QUOTA_BYTES"):
        Room(tmp_path, limit=3 * SIZE - 1, standings=lambda _: {}).make(SIZE, "runrunrun")
