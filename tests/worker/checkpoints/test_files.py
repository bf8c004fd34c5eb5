"""Tests of checkpoint files."""

from pathlib import Path

import pytest
import torch

from backend.schemas.runs import Checkpoint, RunStatus
from worker.checkpoints.files import Checkpoints, Snapshot


def snapshot(value: float) -> Snapshot:
    """Make a small snapshot."""
    return Snapshot({"a": torch.full((3,), value), "b": torch.arange(4)}, {"updates": 1, "best": float("inf")})


def make(root: Path, claim_number: int = 1, *, limit: int = 10**6) -> Checkpoints:
    """Open a run's checkpoints."""
    return Checkpoints(root, "runrunrun", claim_number, limit=limit)


def names(root: Path) -> list[str]:
    """List the files."""
    return sorted(str(path.relative_to(root)) for path in root.rglob("*") if path.is_file())


def test_what_is_written_is_read(tmp_path: Path) -> None:
    """Tensors and document are equal bit for bit, in aligned memory; equal snapshots give equal bytes."""
    found = Snapshot.from_bytes(snapshot(0.1).to_bytes())
    assert found.document == snapshot(0.1).document
    assert {name: tensor.tolist() for name, tensor in found.tensors.items()} == {
        "a": snapshot(0.1).tensors["a"].tolist(),
        "b": [0, 1, 2, 3],
    }
    assert all(tensor.data_ptr() % 64 == 0 for tensor in found.tensors.values())
    assert snapshot(0.1).to_bytes() == snapshot(0.1).to_bytes() == found.to_bytes()
    saved = make(tmp_path).save(snapshot(0.1), 7)
    loaded = make(tmp_path, 2).load(saved)
    assert loaded is not None
    assert torch.equal(loaded.tensors["a"], snapshot(0.1).tensors["a"])


def test_other_bytes_are_not_a_checkpoint(tmp_path: Path) -> None:
    """A missing file, other content, or a pickle that would run code when loaded is refused, and no code runs."""
    checkpoints = make(tmp_path / "root")
    saved = checkpoints.save(snapshot(1), 7)
    assert checkpoints.load(Checkpoint(update=8, sha256=saved.sha256)) is None
    assert checkpoints.load(Checkpoint(update=7, sha256="0" * 64)) is None
    bomb = f"cpathlib\nPath.touch\n(cpathlib\nPath\n(S'{tmp_path / 'trace'}'\ntRtR.".encode()
    with pytest.raises(ValueError, match="not a checkpoint"):
        Snapshot.from_bytes(bomb)
    assert not (tmp_path / "trace").exists()


def test_the_newest_and_the_recorded_checkpoints_remain(tmp_path: Path) -> None:
    """The two newest and the recorded checkpoint remain; once the newest is recorded, the two newest."""
    checkpoints = make(tmp_path)
    first = checkpoints.save(snapshot(1), 5)
    checkpoints.mark_recorded(first)
    for update in (8, 9, 10):
        last = checkpoints.save(snapshot(update), update)
    files = [f"runrunrun/{update}-1.safetensors" for update in (10, 5, 9)]
    assert names(tmp_path) == files
    checkpoints.mark_recorded(last)
    assert names(tmp_path) == [files[0], files[2]]


def test_a_run_that_began_again_keeps_its_new_checkpoints(tmp_path: Path) -> None:
    """Checkpoints of an earlier claim are older, also those of later updates."""
    for update in (80, 90):
        make(tmp_path, 1).save(snapshot(update), update)
    for update in (5, 6):
        make(tmp_path, 2).save(snapshot(update), update)
    assert names(tmp_path) == ["runrunrun/5-2.safetensors", "runrunrun/6-2.safetensors"]


def test_the_newest_checkpoint_of_a_claim_is_found(tmp_path: Path) -> None:
    """Only those of the claim count, up to the last update that is known."""
    make(tmp_path, 1).save(snapshot(1), 9)
    checkpoints = make(tmp_path, 2)
    assert checkpoints.newest(100) is None
    first, second = (checkpoints.save(snapshot(update), update) for update in (3, 5))
    assert (checkpoints.newest(100), checkpoints.newest(4)) == (second, first)


def test_files_of_a_later_claim_are_not_touched(tmp_path: Path) -> None:
    """A worker that has lost the run without knowing it removes no file of the worker that has it now."""
    saved = make(tmp_path, 2).save(snapshot(1), 5)
    stale = make(tmp_path, 1)
    stale.mark_recorded(stale.save(snapshot(2), 9))
    stale.remove_all()
    assert make(tmp_path, 3).load(saved) is not None


def test_the_weights_of_a_finished_run_remain(tmp_path: Path) -> None:
    """The checkpoints are removed, the final weights are not."""
    checkpoints = make(tmp_path)
    checkpoints.save(snapshot(1), 5)
    checkpoints.save_weights(snapshot(2))
    checkpoints.remove_all()
    assert names(tmp_path) == ["runrunrun/weights.safetensors"]


def test_the_checkpoint_of_a_paused_run_remains(tmp_path: Path) -> None:
    """The quota removes a finished run's weights; if only a paused run's files are left, it refuses the new one."""
    states = {"otherother": RunStatus.FINISHED, "pausedrun": RunStatus.PAUSED}
    size = len(snapshot(1).to_bytes())
    paused = Checkpoints(tmp_path, "pausedrun", 1, limit=10**6)
    saved = paused.save(snapshot(1), 3)
    Checkpoints(tmp_path, "otherother", 1, limit=10**6).save_weights(snapshot(1))
    tight = Checkpoints(tmp_path, "runrunrun", 1, limit=2 * size + 10, run_states=lambda _: states)
    tight.save(snapshot(1), 1)
    assert names(tmp_path) == ["pausedrun/3-1.safetensors", "runrunrun/1-1.safetensors"]
    with pytest.raises(OSError, match="BLOCKHF_CHECKPOINT_QUOTA_BYTES"):
        tight.save(snapshot(1), 2)
    assert paused.load(saved) is not None
    with pytest.raises(OSError, match="BLOCKHF_CHECKPOINT_QUOTA_BYTES"):
        make(tmp_path / "alone", limit=size - 1).save(snapshot(1), 2)


def test_a_failed_removal_is_no_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """If an old checkpoint cannot be removed, the new one is valid all the same."""

    def refuse(_: Path, *, missing_ok: bool = False) -> None:
        raise OSError(30, f"Read-only file system, {missing_ok}")

    checkpoints = make(tmp_path)
    checkpoints.save(snapshot(1), 1)
    saved = checkpoints.save(snapshot(2), 2)
    (tmp_path / "runrunrun" / "1-1.safetensors").write_bytes(b"old")
    monkeypatch.setattr(Path, "unlink", refuse)
    checkpoints.mark_recorded(saved)
    assert names(tmp_path) == ["runrunrun/1-1.safetensors", "runrunrun/2-1.safetensors"]
