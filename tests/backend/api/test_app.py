"""Tests of the application's life, in its own process and in ours."""

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from backend.schemas.runs import RunStatus
from backend.settings import Settings
from tests.backend.samples import INFO, Clock, catalog, spec, updates
from tests.clients import BothClient
from tests.inprocess import backend
from tests.processes import DEADLINE


def test_building_an_application_touches_nothing(tmp_path: Path) -> None:
    """The database is opened when the application starts, not before."""
    from backend.api.app import create_app

    create_app(Settings(home=tmp_path / "home"))
    assert not (tmp_path / "home").exists()


def test_lost_runs_end_without_any_worker(tmp_path: Path) -> None:
    """A cancelled run of a lost worker ends, although no worker claims a run."""
    clock = Clock()
    with backend(Settings(home=tmp_path, lease_seconds=0.05, heartbeat_seconds=0.01), clock=clock) as http:
        client = BothClient(http=http)
        worker = client.register(INFO, catalog()).worker_id
        client.launch(spec())
        claim = client.claim(worker)
        assert claim is not None
        client.cancel(claim.run.id)
        clock.now += 1
        (run,) = client.wait([claim.run.id], timeout=DEADLINE)
        assert run.status is RunStatus.CANCELLED


@contextmanager
def served(home: Path) -> Iterator[tuple[subprocess.Popen[bytes], BothClient]]:
    """Run `python -m backend` on a free port until it answers; end it at the end."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    environment = os.environ | {"BLOCKHF_HOME": str(home), "BLOCKHF_PORT": str(port), "BLOCKHF_HOST": "127.0.0.1"}
    process = subprocess.Popen([sys.executable, "-W", "error", "-m", "backend"], env=environment)
    try:
        with BothClient(f"http://127.0.0.1:{port}") as client:
            deadline = time.monotonic() + 60
            while not client.health():
                assert process.poll() is None
                assert time.monotonic() < deadline
                time.sleep(0.05)
            yield process, client
    finally:
        if process.poll() is None:
            process.kill()
        process.wait(30)


@pytest.mark.parametrize("end", [signal.SIGTERM, signal.SIGKILL])
def test_what_was_acknowledged_is_there_after_a_restart(tmp_path: Path, end: signal.Signals) -> None:
    """A backend that stops or is killed loses no acknowledged row, and the worker continues with its claim."""
    with served(tmp_path) as (process, client):
        worker = client.register(INFO, catalog()).worker_id
        client.launch(spec())
        claim = client.claim(worker)
        assert claim is not None
        assert client.append(claim.run.id, claim.claim_number, updates(1, 250)) == 250
        process.send_signal(end)
        process.wait(30)
    with served(tmp_path) as (_, client):
        assert client.series([claim.run.id])[claim.run.id]["update"] == list(range(1, 251))
        assert client.append(claim.run.id, claim.claim_number, updates(250, 251)) == 251
        client.finish(claim.run.id, claim.claim_number, RunStatus.FINISHED)
        assert client.run(claim.run.id).status is RunStatus.FINISHED
