"""Tests of a run's state on disk."""

from pathlib import Path

import pytest
import torch

from backend.schemas.runs import Checkpoint, RunStatus
from worker.checkpoints.files import Checkpoints, State


def state(value: float) -> State:
    """Make a small state."""
    return State({"a": torch.full((3,), value), "b": torch.arange(4)}, {"updates": 1, "best": float("inf")})


def make(root: Path, token: int = 1, *, limit: int = 10**6) -> Checkpoints:
    """Open a run's checkpoints."""
    return Checkpoints(root, "runrunrun", token, limit=limit)


def names(root: Path) -> list[str]:
    """List what lies there."""
    return sorted(str(path.relative_to(root)) for path in root.rglob("*") if path.is_file())


def test_what_is_written_is_read(tmp_path: Path) -> None:
    """Tensors and document come back bit for bit, each tensor in aligned memory of its own; the same gives the same."""
    found = State.from_bytes(state(0.1).to_bytes())
    assert found.document == state(0.1).document
    assert {name: tensor.tolist() for name, tensor in found.tensors.items()} == {
        "a": state(0.1).tensors["a"].tolist(),
        "b": [0, 1, 2, 3],
    }
    assert all(tensor.data_ptr() % 64 == 0 for tensor in found.tensors.values())
    assert state(0.1).to_bytes() == state(0.1).to_bytes() == found.to_bytes()
    named = make(tmp_path).save(state(0.1), 7)
    loaded = make(tmp_path, 2).load(named)
    assert loaded is not None
    assert torch.equal(loaded.tensors["a"], state(0.1).tensors["a"])


def test_other_bytes_are_not_a_checkpoint(tmp_path: Path) -> None:
    """A missing file, other contents, or a pickle that would act when loaded give nothing, and nothing happens."""
    checkpoints = make(tmp_path / "root")
    named = checkpoints.save(state(1), 7)
    assert checkpoints.load(Checkpoint(update=8, sha256=named.sha256)) is None
    assert checkpoints.load(Checkpoint(update=7, sha256="0" * 64)) is None
    bomb = f"cpathlib\nPath.touch\n(cpathlib\nPath\n(S'{tmp_path / 'trace'}'\ntRtR.".encode()
    with pytest.raises(ValueError, match="no checkpoint"):
        State.from_bytes(bomb)
    assert not (tmp_path / "trace").exists()


def test_two_are_kept(tmp_path: Path) -> None:
    """The newest stays, and the one that the backend names; once it names the newest, that one alone."""
    checkpoints = make(tmp_path)
    first = checkpoints.save(state(1), 5)
    checkpoints.named(first)
    for update in (9, 10, 11):
        last = checkpoints.save(state(update), update)
    assert names(tmp_path) == ["runrunrun/11-1.safetensors", "runrunrun/5-1.safetensors"]
    checkpoints.named(last)
    assert names(tmp_path) == ["runrunrun/11-1.safetensors"]


def test_a_later_claims_files_are_left_alone(tmp_path: Path) -> None:
    """A worker that lost the run and does not know it yet removes nothing of the worker that has it now."""
    named = make(tmp_path, 2).save(state(1), 5)
    stale = make(tmp_path, 1)
    stale.named(stale.save(state(2), 9))
    stale.finished()
    assert make(tmp_path, 3).load(named) is not None


def test_a_finished_run_keeps_its_weights(tmp_path: Path) -> None:
    """The checkpoints go, the final weights stay."""
    checkpoints = make(tmp_path)
    checkpoints.save(state(1), 5)
    checkpoints.save_weights(state(2))
    checkpoints.finished()
    assert names(tmp_path) == ["runrunrun/weights.safetensors"]


def test_a_paused_runs_checkpoint_stays(tmp_path: Path) -> None:
    """Over the limit a finished run's weights go; where only a paused run's are left, the new one is not written."""
    stands = {"otherother": RunStatus.FINISHED, "pausedrun": RunStatus.PAUSED}
    size = len(state(1).to_bytes())
    paused = Checkpoints(tmp_path, "pausedrun", 1, limit=10**6)
    named = paused.save(state(1), 3)
    Checkpoints(tmp_path, "otherother", 1, limit=10**6).save_weights(state(1))
    tight = Checkpoints(tmp_path, "runrunrun", 1, limit=2 * size + 10, standings=lambda _: stands)
    tight.save(state(1), 1)
    assert names(tmp_path) == ["pausedrun/3-1.safetensors", "runrunrun/1-1.safetensors"]
    with pytest.raises(OSError, match="BLOCKHF_CHECKPOINT_QUOTA_BYTES"):
        tight.save(state(1), 2)
    assert paused.load(named) is not None
    with pytest.raises(OSError, match="BLOCKHF_CHECKPOINT_QUOTA_BYTES"):
        make(tmp_path / "alone", limit=size - 1).save(state(1), 2)


def test_what_cannot_be_removed_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the disk refuses to remove an old checkpoint, the new one counts all the same."""

    def refuse(_: Path, *, missing_ok: bool = False) -> None:
        raise OSError(30, f"Read-only file system, {missing_ok}")

    checkpoints = make(tmp_path)
    checkpoints.save(state(1), 1)
    named = checkpoints.save(state(2), 2)
    (tmp_path / "runrunrun" / "1-1.safetensors").write_bytes(b"old")
    monkeypatch.setattr(Path, "unlink", refuse)
    checkpoints.named(named)
    assert names(tmp_path) == ["runrunrun/1-1.safetensors", "runrunrun/2-1.safetensors"]
