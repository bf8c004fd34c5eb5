"""Tests of the runs' folders as the doctor sees them: what is missing, what is of no use, what is not its business."""

import hashlib
import os
import subprocess
import time
from pathlib import Path

import pytest

from backend.api.services import Services
from backend.operations import checkpoint_folders
from backend.operations.checkpoint_folders import RECENT_SECONDS
from backend.operations.doctor import examine, repair
from backend.schemas.api import Append, Claim, Finish
from backend.schemas.runs import Checkpoint, RunStatus
from backend.settings import Settings
from backend.storage.ids import new_id
from tests.backend.samples import updates
from tests.backend.scene import Scene

BYTES = bytes(2_000_000)
NAMED = Checkpoint(update=5, sha256=hashlib.sha256(BYTES).hexdigest())


@pytest.fixture
def root(settings: Settings) -> Path:
    """Name the folder of folders."""
    return settings.home / "checkpoints"


@pytest.fixture
def saved(scene: Scene) -> Claim:
    """Claim a run that has five rows and a checkpoint of the fifth, whose file the test writes, or not."""
    claim = scene.claim()
    scene.services.metrics.append(
        claim.run.id, Append(claim_number=claim.claim_number, rows=updates(1, 5), checkpoint=NAMED)
    )
    return claim


@pytest.fixture
def dead() -> int:
    """Return the number of a process that has ended."""
    process = subprocess.Popen(["true"])
    process.wait()
    return process.pid


def write(path: Path, content: bytes = BYTES, *, age: float = 0.0) -> Path:
    """Write a file, and make it and its folder as old as that [s]."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    for entry in (path, path.parent):
        os.utime(entry, (time.time() - age,) * 2)
    return path


OLD = 2 * RECENT_SECONDS


def test_checkpoints_of_finished_runs_are_dropped(
    services: Services, settings: Settings, root: Path, saved: Claim
) -> None:
    """Checkpoints are deleted once the run has finished; weights and unknown folders stay."""
    names = [f"{saved.run.id}/5-1.safetensors", f"{saved.run.id}/weights.safetensors", "elsewhere/5-1.safetensors"]
    for name in names:
        write(root / name, age=OLD)
    assert examine(settings) == []
    services.queue.finish(saved.run.id, Finish(claim_number=saved.claim_number, status=RunStatus.FINISHED))
    (finding,) = examine(settings)
    assert saved.run.id in finding.text
    assert "2.0 MB" in finding.text
    assert repair(settings, [finding]) == 0
    assert [(root / name).exists() for name in names] == [False, True, True]
    assert examine(settings) == []


@pytest.mark.parametrize("status", [RunStatus.QUEUED, RunStatus.RUNNING, RunStatus.PAUSED])
@pytest.mark.parametrize(
    ("name", "content", "fault"),
    [
        ("5-1", BYTES, ""),
        ("5-7", BYTES, ""),
        ("4-1", BYTES, "is missing"),
        ("55-1", BYTES, "is missing"),
        ("5-1", b"other", "has another SHA-256 than "),
    ],
)
def test_a_checkpoint_to_go_on_from_is_looked_for(
    scene: Scene, root: Path, saved: Claim, status: RunStatus, name: str, content: bytes, fault: str
) -> None:
    """While a run has not ended, the file that its row names must be there, by its SHA-256; no repair is offered."""
    write(root / saved.run.id / f"{name}.safetensors", content)
    if status is not RunStatus.RUNNING:
        scene.services.queue.pause(saved.run.id)
        scene.lose()
        scene.services.queue.sweep()
    if status is RunStatus.QUEUED:
        scene.services.queue.resume(saved.run.id)
    assert scene.run(saved).status is status
    findings = examine(scene.settings)
    assert len(findings) == bool(fault)
    for finding in findings:
        assert f"run {saved.run.id} at update 5 in {root}" in finding.text
        assert fault in finding.text
        assert (finding.repairable, finding.note) == (False, False)
        assert repair(scene.settings, [finding]) == 1


def test_a_checkpoint_on_another_machine_is_remarked_on(scene: Scene, root: Path, saved: Claim) -> None:
    """Without a folder of the run, its worker is elsewhere: that is said, and is nothing wrong."""
    write(root / new_id() / "1-1.safetensors")
    (finding,) = examine(scene.settings)
    assert saved.run.id in finding.text
    assert finding.note
    assert repair(scene.settings, [finding]) == 0


def test_a_checkpoint_that_is_replaced_meanwhile_is_not_missed(
    scene: Scene, root: Path, saved: Claim, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A worker names a later checkpoint and drops the one that the doctor is about to look at: no alarm."""
    file = write(root / saved.run.id / "5-1.safetensors")
    look = checkpoint_folders._fault

    def late(folder: Path, named: Checkpoint) -> str:
        later = Checkpoint(update=6, sha256=NAMED.sha256)
        scene.services.metrics.append(
            saved.run.id, Append(claim_number=saved.claim_number, rows=updates(6, 6), checkpoint=later)
        )
        file.unlink()
        return look(folder, named)

    monkeypatch.setattr(checkpoint_folders, "_fault", late)
    assert examine(scene.settings) == []


def test_folders_of_unknown_runs_are_named_and_stay(scene: Scene, root: Path, dead: int) -> None:
    """Another database may know them, so none of their files goes. What is young, or no run's, is not named."""
    named = [write(root / new_id() / name, age=OLD) for name in ("weights.safetensors", f".5-1.safetensors.{dead}")]
    others = [
        write(root / new_id() / "5-1.safetensors"),
        write(root / new_id() / f".5-1.safetensors.{os.getpid()}", age=OLD),
        write(root / "lost+found" / "file", age=OLD),
        write(root / "file", age=OLD),
        write(scene.settings.home / "elsewhere" / "file", age=OLD),
    ]
    (root / new_id()).symlink_to(scene.settings.home / "elsewhere")
    (finding,) = examine(scene.settings)
    assert finding.text.startswith(f"2 folders in {root} (")
    assert "4.0 MB" in finding.text
    assert finding.note
    assert repair(scene.settings, [finding]) == 0
    assert all(path.exists() for path in (*named, *others))


@pytest.mark.usefixtures("saved")
def test_drafts_of_the_dead_are_dropped(scene: Scene, root: Path, saved: Claim, dead: int) -> None:
    """What a kill left half written goes; drafts of the living, young ones and whole files stay."""
    folder = root / saved.run.id
    gone = [write(folder / f".{name}.safetensors.{dead}", b"half", age=OLD) for name in ("6-1", "weights")]
    kept = [
        write(folder / f".7-1.safetensors.{os.getpid()}", age=OLD),
        write(folder / f".8-1.safetensors.{dead}"),
        write(folder / ".hidden", age=OLD),
        write(folder / "5-1.safetensors", age=OLD),
    ]
    (finding,) = examine(scene.settings)
    assert finding.text.startswith(f"2 files in {root} (.6-1.safetensors.{dead}, ")
    assert repair(scene.settings, [finding]) == 0
    assert [path.exists() for path in (*gone, *kept)] == [False] * 2 + [True] * 4
    assert examine(scene.settings) == []
