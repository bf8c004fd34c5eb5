"""Tests of durable writes."""

import os
from pathlib import Path

import pytest

from backend.durable_files import write_durably


def test_a_write_that_fails_leaves_what_was_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """When the disk refuses, the old file is whole and nothing else is left."""
    path = tmp_path / "file"
    write_durably(path, b"old")

    def refuse(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", refuse)
    with pytest.raises(OSError, match="No space"):
        write_durably(path, b"new")
    assert path.read_bytes() == b"old"
    assert [file.name for file in tmp_path.iterdir()] == ["file"]


def test_a_file_is_on_the_disk_before_it_has_its_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The file is synced, then renamed, then its folder is synced: after a loss of power it is whole or not there."""
    done: list[tuple[str, int]] = []
    sync, replace = os.fsync, Path.replace

    def synced(number: int) -> None:
        done.append(("sync", os.fstat(number).st_ino))
        sync(number)

    def replaced(path: Path, target: Path) -> Path:
        done.append(("rename", path.stat().st_ino))
        return replace(path, target)

    monkeypatch.setattr(os, "fsync", synced)
    monkeypatch.setattr(Path, "replace", replaced)
    path = tmp_path / "run" / "1-1.safetensors"
    write_durably(path, b"state")
    file, folder = path.stat().st_ino, path.parent.stat().st_ino
    assert done == [("sync", file), ("rename", file), ("sync", folder)]


def test_permissions_are_set_from_the_start(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A secret is never readable by others, not even as a draft."""
    seen: list[int] = []
    replace = Path.replace

    def replaced(path: Path, target: Path) -> Path:
        seen.append(path.stat().st_mode & 0o777)
        return replace(path, target)

    monkeypatch.setattr(Path, "replace", replaced)
    write_durably(tmp_path / "secret", b"secret", mode=0o600)
    assert seen == [(tmp_path / "secret").stat().st_mode & 0o777] == [0o600]
