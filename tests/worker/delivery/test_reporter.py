"""Tests of reporting a run's rows to a real backend."""

import os
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from backend.errors import BackendUnavailable, LeaseLost
from backend.schemas.api import Claim
from backend.schemas.catalog import WorkerInfo
from backend.schemas.experiments import ExperimentSpec
from backend.schemas.measures import Update
from backend.schemas.optimizers import Adam
from backend.schemas.runs import Checkpoint, RunError, RunStatus
from backend.settings import Settings
from tests.clients import BothClient
from tests.inprocess import backend
from tests.worker.cases import registry, small_run
from worker.delivery import reporter as reporter_module
from worker.delivery.outbox import Outbox, outbox_path
from worker.delivery.reporter import Reporter, retry_until_reachable


def row(update: int) -> Update:
    """Make a row."""
    return Update(
        update=update, epoch=update / 4, samples=update * 10, seconds=update / 8, cost=update, batch_loss=1.5,
        gradient_norm=1, step_norm=1,
    )  # fmt: skip


@pytest.fixture
def client(tmp_path: Path) -> Iterator[BothClient]:
    """Start the application."""
    with backend(Settings(home=tmp_path, lease_seconds=0.05, heartbeat_seconds=0.01)) as http:
        yield BothClient(http=http)


def claimed(client: BothClient) -> Claim:
    """Register a worker and claim the first run of the queue."""
    worker = client.register(WorkerInfo(name="test", device="cpu", threads=1), registry().catalog())
    claim = client.claim(worker.worker_id)
    assert claim is not None
    return claim


@pytest.fixture
def claim(client: BothClient) -> Claim:
    """Launch a run and claim it."""
    client.register(WorkerInfo(name="test", device="cpu", threads=1), registry().catalog())
    spec = small_run(Adam()).model_dump(exclude={"optimizer", "seed"})
    client.launch(ExperimentSpec.model_validate(spec | {"optimizers": [Adam(gradient_batch=10)]}))
    return claimed(client)


@pytest.fixture
def reporter(client: BothClient, claim: Claim) -> Reporter:
    """Start reporting."""
    reporter = Reporter(client, claim.run.id, claim.claim_number)
    reporter.start(environment={"device": "cpu"}, blocks=[["encoder.code"]], parameters=7)
    return reporter


def stored(client: BothClient, claim: Claim) -> list[int]:
    """Return the stored update numbers."""
    numbers: list[int] = client.series([claim.run.id])[claim.run.id]["update"]
    return numbers


def test_start_reports_the_properties_of_the_run(client: BothClient, claim: Claim, reporter: Reporter) -> None:
    """The run has environment, blocks and number of parameters before its first update."""
    run = client.run(claim.run.id)
    assert (run.environment, run.blocks, run.parameters) == ({"device": "cpu"}, [["encoder.code"]], 7)
    reporter.flush()


def test_the_first_row_is_posted_at_once(client: BothClient, claim: Claim, reporter: Reporter) -> None:
    """A row is stored although no other follows."""
    reporter.update(row(1))
    waited = threading.Event()
    for _ in range(200):
        if stored(client, claim) == [1]:
            break
        waited.wait(0.02)
    assert stored(client, claim) == [1]
    reporter.flush()


def test_many_rows_are_stored_in_order(client: BothClient, claim: Claim, reporter: Reporter) -> None:
    """More rows than one request may have are all stored, each once, before the run ends."""
    for update in range(1, 2501):
        reporter.update(row(update))
    reporter.finish(RunStatus.FINISHED, ended_by="updates = 2500 reached")
    assert stored(client, claim) == list(range(1, 2501))
    run = client.run(claim.run.id)
    assert (run.status, run.ended_by) == (RunStatus.FINISHED, "updates = 2500 reached")


def test_on_finished_is_called_before_the_outbox_is_removed(client: BothClient, claim: Claim, tmp_path: Path) -> None:
    """`on_finished` is called when the backend knows the end, and the outbox still exists in case of a crash."""
    path = outbox_path(tmp_path, claim.run.id, claim.claim_number)
    seen: list[tuple[RunStatus, bool]] = []
    reporter = Reporter(
        client, claim.run.id, claim.claim_number, outbox=Outbox(path),
        on_finished=lambda: seen.append((client.run(claim.run.id).status, path.exists())),
    )  # fmt: skip
    reporter.start(environment={}, blocks=[], parameters=7)
    reporter.finish(RunStatus.FINISHED, weights="0" * 64)
    assert seen == [(RunStatus.FINISHED, True)]
    assert not path.exists()


def test_a_failure_is_reported_with_its_error(client: BothClient, claim: Claim, reporter: Reporter) -> None:
    """A failed run has its rows and the error."""
    reporter.update(row(1))
    reporter.finish(RunStatus.FAILED, error=RunError(message="too bold", traceback="line 1"))
    run = client.run(claim.run.id)
    assert run.status is RunStatus.FAILED
    assert run.error == RunError(message="too bold", traceback="line 1")
    assert stored(client, claim) == [1]


def test_a_failure_before_the_start_is_reported(client: BothClient, claim: Claim) -> None:
    """A run that fails before `start` ends as failed."""
    Reporter(client, claim.run.id, claim.claim_number).finish(
        RunStatus.FAILED, error=RunError(message="no such device")
    )
    assert client.run(claim.run.id).status is RunStatus.FAILED


def test_nothing_is_reported_after_the_lease_is_lost(client: BothClient, claim: Claim, reporter: Reporter) -> None:
    """Once another worker has the run, nothing is stored, and the calls raise LeaseLost."""
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


def test_a_checkpoint_is_recorded_after_its_rows(client: BothClient, claim: Claim, tmp_path: Path) -> None:
    """The backend records it only when it has the rows before it, and `on_recorded` is called."""
    recorded: list[Checkpoint] = []
    path = outbox_path(tmp_path, claim.run.id, claim.claim_number)
    reporter = Reporter(client, claim.run.id, claim.claim_number, outbox=Outbox(path), on_recorded=recorded.append)
    for update in range(1, 1501):
        reporter.update(row(update))
    checkpoint = Checkpoint(update=1500, sha256="1" * 64)
    reporter.checkpoint(checkpoint)
    assert path.stat().st_size > 0
    reporter.start(environment={}, blocks=[], parameters=7)
    reporter.finish(RunStatus.CANCELLED, ended_by="cancelled")
    assert client.run(claim.run.id).checkpoint == checkpoint
    assert recorded == [checkpoint]
    assert stored(client, claim) == list(range(1, 1501))
    assert not path.exists()


def test_a_checkpoint_without_new_rows_is_recorded(client: BothClient, claim: Claim, reporter: Reporter) -> None:
    """A checkpoint of rows that are already stored is recorded although no other row follows."""
    reporter.update(row(1))
    reporter.checkpoint(Checkpoint(update=1, sha256="1" * 64))
    reporter.flush()
    assert client.run(claim.run.id).checkpoint == Checkpoint(update=1, sha256="1" * 64)


def test_a_full_disk_loses_no_row(
    client: BothClient, claim: Claim, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """If the backend is unreachable and the disk full, rows wait in memory, with a warning."""
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
        client, claim.run.id, claim.claim_number, outbox=Outbox(outbox_path(tmp_path, claim.run.id, claim.claim_number))
    )
    reporter.start(environment={}, blocks=[], parameters=7)
    for update in range(1, 251):
        reporter.update(row(update))
    assert refused.wait(10)
    away.clear()
    reporter.finish(RunStatus.FINISHED)
    assert stored(client, claim) == list(range(1, 251))
    assert "No space left on device" in caplog.text


@pytest.mark.parametrize("refused", ["append", "finish_as"])
def test_a_run_that_waits_for_the_backend_has_not_stalled(
    tmp_path: Path, client: BothClient, claim: Claim, monkeypatch: pytest.MonkeyPatch, refused: str
) -> None:
    """While its last rows or its end wait for the backend, the time of change of the outbox advances."""
    back, call = threading.Event(), getattr(client, refused)

    def when_back(*given: Any, **named: Any) -> Any:
        if not back.is_set():
            raise BackendUnavailable("away")
        return call(*given, **named)

    monkeypatch.setattr(client, refused, when_back)
    monkeypatch.setattr("backend.client.retry.FIRST_PAUSE", 0.01)
    monkeypatch.setattr("backend.client.retry.LONGEST_PAUSE", 0.05)
    monkeypatch.setattr(reporter_module, "ALIVE_SECONDS", 0.02)
    path = outbox_path(tmp_path, claim.run.id, claim.claim_number)
    reporter = Reporter(client, claim.run.id, claim.claim_number, outbox=Outbox(path))
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


def test_calls_are_repeated_until_the_backend_is_reachable(monkeypatch: pytest.MonkeyPatch) -> None:
    """A call that fails twice because the backend is unreachable is repeated a second time."""
    monkeypatch.setattr("backend.client.retry.FIRST_PAUSE", 0.001)
    calls: list[int] = []

    def send() -> str:
        calls.append(1)
        if len(calls) < 3:
            raise BackendUnavailable("away")
        return "answer"

    assert retry_until_reachable(send) == "answer"
    assert len(calls) == 3


def test_a_stopped_worker_does_not_retry() -> None:
    """A worker that is stopped while the backend is unreachable does not wait for it."""
    stopped = threading.Event()
    stopped.set()

    def send() -> None:
        raise BackendUnavailable("away")

    with pytest.raises(BackendUnavailable):
        retry_until_reachable(send, stopped)
