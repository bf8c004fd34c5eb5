"""Tests of a run's rows on their way to a real backend."""

import os
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from backend.client import Client
from backend.errors import BackendUnavailable, LeaseLost
from backend.schemas.api import Claim
from backend.schemas.catalog import WorkerInfo
from backend.schemas.experiments import ExperimentSpec
from backend.schemas.optimizers import Adam
from backend.schemas.runs import Checkpoint, RunError, RunStatus, Update
from backend.settings import Settings
from tests.inprocess import backend
from tests.worker.cases import registry, small_run
from worker.delivery import reporter as reporter_module
from worker.delivery.outbox import Spool, path_of
from worker.delivery.reporter import Reporter, persist


def row(update: int) -> Update:
    """Make a row."""
    return Update(
        update=update, epoch=update / 4, samples=update * 10, seconds=update / 8, cost=update, batch_loss=1.5,
        gradient_norm=1, step_norm=1,
    )  # fmt: skip


@pytest.fixture
def client(tmp_path: Path) -> Iterator[Client]:
    """Start the application."""
    with backend(Settings(home=tmp_path, lease_seconds=0.05, heartbeat_seconds=0.01)) as http:
        yield Client(http=http)


def claimed(client: Client) -> Claim:
    """Register a worker and claim what waits."""
    worker = client.register(WorkerInfo(name="test", device="cpu", threads=1), registry().catalog())
    claim = client.claim(worker.worker_id)
    assert claim is not None
    return claim


@pytest.fixture
def claim(client: Client) -> Claim:
    """Launch a run and claim it."""
    client.register(WorkerInfo(name="test", device="cpu", threads=1), registry().catalog())
    spec = small_run(Adam()).model_dump(exclude={"optimizer", "seed"})
    client.launch(ExperimentSpec.model_validate(spec | {"optimizers": [Adam(gradient_batch=10)]}))
    return claimed(client)


@pytest.fixture
def reporter(client: Client, claim: Claim) -> Reporter:
    """Begin to report."""
    reporter = Reporter(client, claim.run.id, claim.claim_number)
    reporter.start(environment={"device": "cpu"}, blocks=[["encoder.code"]], parameters=7)
    return reporter


def stored(client: Client, claim: Claim) -> list[int]:
    """Read the stored update numbers."""
    numbers: list[int] = client.series([claim.run.id])[claim.run.id]["update"]
    return numbers


def test_start_tells_what_the_run_is_made_of(client: Client, claim: Claim, reporter: Reporter) -> None:
    """Environment, blocks and parameters are on the run before its first update."""
    run = client.run(claim.run.id)
    assert (run.environment, run.blocks, run.parameters) == ({"device": "cpu"}, [["encoder.code"]], 7)
    reporter.flush()


def test_first_row_is_posted_without_the_end(client: Client, claim: Claim, reporter: Reporter) -> None:
    """A row is stored though no further one comes."""
    reporter.update(row(1))
    waited = threading.Event()
    for _ in range(200):
        if stored(client, claim) == [1]:
            break
        waited.wait(0.02)
    assert stored(client, claim) == [1]
    reporter.flush()


def test_many_rows_are_stored_in_order(client: Client, claim: Claim, reporter: Reporter) -> None:
    """More rows than a post may hold are all stored, each once, before the run ends."""
    for update in range(1, 2501):
        reporter.update(row(update))
    reporter.finish(RunStatus.FINISHED, ended_by="updates = 2500 reached")
    assert stored(client, claim) == list(range(1, 2501))
    run = client.run(claim.run.id)
    assert (run.status, run.ended_by) == (RunStatus.FINISHED, "updates = 2500 reached")


def test_the_end_is_heard_before_the_spool_goes(client: Client, claim: Claim, tmp_path: Path) -> None:
    """A finished run's files are cleaned up once the backend knows, while the spool could still tell it again."""
    path = path_of(tmp_path, claim.run.id, claim.claim_number)
    seen: list[tuple[RunStatus, bool]] = []
    reporter = Reporter(
        client, claim.run.id, claim.claim_number, spool=Spool(path),
        finished=lambda: seen.append((client.run(claim.run.id).status, path.exists())),
    )  # fmt: skip
    reporter.start(environment={}, blocks=[], parameters=7)
    reporter.finish(RunStatus.FINISHED)
    assert seen == [(RunStatus.FINISHED, True)]
    assert not path.exists()


def test_failure_is_told_with_its_reason(client: Client, claim: Claim, reporter: Reporter) -> None:
    """A failed run keeps the rows it had, and the error."""
    reporter.update(row(1))
    reporter.finish(RunStatus.FAILED, error=RunError(message="too bold", traceback="line 1"))
    run = client.run(claim.run.id)
    assert run.status is RunStatus.FAILED
    assert run.error == RunError(message="too bold", traceback="line 1")
    assert stored(client, claim) == [1]


def test_failure_before_the_start_is_told(client: Client, claim: Claim) -> None:
    """A run that fails before it has started can be ended."""
    Reporter(client, claim.run.id, claim.claim_number).finish(
        RunStatus.FAILED, error=RunError(message="no such device")
    )
    assert client.run(claim.run.id).status is RunStatus.FAILED


def test_lost_lease_stops_the_report(client: Client, claim: Claim, reporter: Reporter) -> None:
    """Once another worker has the run, nothing is stored, and the next calls raise LeaseLost."""
    threading.Event().wait(0.1)
    other = claimed(client)
    assert other.run.id == claim.run.id
    reporter.update(row(1))
    with pytest.raises(LeaseLost):
        reporter.flush()
    with pytest.raises(LeaseLost):
        reporter.update(row(2))
    with pytest.raises(LeaseLost):
        reporter.finish(RunStatus.FINISHED)
    assert stored(client, claim) == []
    assert client.run(claim.run.id).status is RunStatus.RUNNING


def test_a_checkpoint_is_named_with_its_rows(client: Client, claim: Claim, tmp_path: Path) -> None:
    """The backend names it no sooner than it has the rows before it, and whoever wrote it hears that."""
    named: list[Checkpoint] = []
    path = path_of(tmp_path, claim.run.id, claim.claim_number)
    reporter = Reporter(client, claim.run.id, claim.claim_number, spool=Spool(path), named=named.append)
    for update in range(1, 1501):
        reporter.update(row(update))
    checkpoint = Checkpoint(update=1500, sha256="1" * 64)
    reporter.checkpoint(checkpoint)
    assert path.stat().st_size > 0
    reporter.start(environment={}, blocks=[], parameters=7)
    reporter.finish(RunStatus.CANCELLED, ended_by="cancelled")
    assert client.run(claim.run.id).checkpoint == checkpoint
    assert named == [checkpoint]
    assert stored(client, claim) == list(range(1, 1501))
    assert not path.exists()


def test_a_checkpoint_alone_is_named(client: Client, claim: Claim, reporter: Reporter) -> None:
    """A checkpoint of rows that are stored already is named though no further row comes."""
    reporter.update(row(1))
    reporter.checkpoint(Checkpoint(update=1, sha256="1" * 64))
    reporter.flush()
    assert client.run(claim.run.id).checkpoint == Checkpoint(update=1, sha256="1" * 64)


def test_a_disk_that_refuses_loses_no_row(
    client: Client, claim: Claim, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """The backend is away and the disk takes nothing: the rows wait in memory, with a warning, and arrive."""
    away = threading.Event()
    away.set()
    send = client.append

    def append(*args: Any, **named: Any) -> int:
        if away.is_set():
            raise BackendUnavailable("away")
        return send(*args, **named)

    def refuse(_: int) -> None:
        refused.set()
        raise OSError(28, "No space left on device")

    refused = threading.Event()
    monkeypatch.setattr(client, "append", append)
    monkeypatch.setattr("backend.client.retry.FIRST_PAUSE", 0.01)
    monkeypatch.setattr("os.fsync", refuse)
    reporter = Reporter(
        client, claim.run.id, claim.claim_number, spool=Spool(path_of(tmp_path, claim.run.id, claim.claim_number))
    )
    reporter.start(environment={}, blocks=[], parameters=7)
    for update in range(1, 251):
        reporter.update(row(update))
    assert refused.wait(10)
    away.clear()
    reporter.finish(RunStatus.FINISHED)
    assert stored(client, claim) == list(range(1, 251))
    assert "in memory alone: [Errno 28] No space left on device" in caplog.text


@pytest.mark.parametrize("refused", ["append", "finish_as"])
def test_a_run_that_waits_for_the_backend_does_not_hang(
    tmp_path: Path, client: Client, claim: Claim, monkeypatch: pytest.MonkeyPatch, refused: str
) -> None:
    """While its last rows, or its end, wait for a backend that is away, the worker sees that the run goes on."""
    back, call = threading.Event(), getattr(client, refused)

    def when_back(*given: Any, **named: Any) -> Any:
        if not back.is_set():
            raise BackendUnavailable("away")
        return call(*given, **named)

    monkeypatch.setattr(client, refused, when_back)
    monkeypatch.setattr("backend.client.retry.FIRST_PAUSE", 0.01)
    monkeypatch.setattr("backend.client.retry.LONGEST_PAUSE", 0.05)
    monkeypatch.setattr(reporter_module, "ALIVE_SECONDS", 0.02)
    path = path_of(tmp_path, claim.run.id, claim.claim_number)
    reporter = Reporter(client, claim.run.id, claim.claim_number, spool=Spool(path))
    reporter.start(environment={}, blocks=[], parameters=7)
    for update in range(1, 4):
        reporter.update(row(update))
    ending = threading.Thread(target=reporter.finish, args=(RunStatus.FINISHED,))
    ending.start()
    ending.join(0.3)
    for _ in range(3):
        os.utime(path, (1, 1))
        while path.stat().st_mtime == 1:
            ending.join(0.01)
    assert ending.is_alive()
    back.set()
    ending.join()
    assert client.run(claim.run.id).status is RunStatus.FINISHED
    assert stored(client, claim) == [1, 2, 3]


def test_persist_tries_again_until_there_is_an_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    """A call that finds no backend twice is made a third time."""
    monkeypatch.setattr("backend.client.retry.FIRST_PAUSE", 0.001)
    calls: list[int] = []

    def send() -> str:
        calls.append(1)
        if len(calls) < 3:
            raise BackendUnavailable("away")
        return "answer"

    assert persist(send) == "answer"
    assert len(calls) == 3


def test_persist_ends_when_stopped() -> None:
    """A worker that is stopped while the backend is away does not wait for it."""
    stopped = threading.Event()
    stopped.set()

    def send() -> None:
        raise BackendUnavailable("away")

    with pytest.raises(BackendUnavailable):
        persist(send, stopped)
