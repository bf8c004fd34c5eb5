"""Tests of accidents that the worker's loop must outlive."""

import logging
import os
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from pydantic import SecretStr

from backend.client import Client
from backend.schemas.base import MAX_TRACEBACK
from backend.schemas.experiments import Budget, ExperimentSpec
from backend.schemas.optimizers import Adam
from backend.schemas.runs import RunStatus
from backend.security.tokens import Scope, Tokens
from tests.processes import Processes
from tests.worker.cases import small_run
from tests.worker.conftest import launch, make_worker
from worker.agent.executor import Exit, Task
from worker.agent.local_process import LocalExecution


class Dying(LocalExecution):
    """A child that has ended, with much to say."""

    def wait(self, seconds: float) -> Exit | None:
        """Report the end once it is there."""
        self.kill()
        end = super().wait(seconds)
        return end and replace(end, output="x" * 30_000 + "last words")


class Unforeseen:
    """An engine that fails in a way that nobody foresaw, the first time, and then works; or whose children die."""

    def __init__(self, *, dying: bool = False) -> None:
        self.started = 0
        self._dying = dying

    def start(self, task: Task) -> LocalExecution:
        """Fail, or start a child."""
        self.started += 1
        if self._dying:
            return Dying(task)
        if self.started == 1:
            raise LookupError("nobody foresaw this")
        return LocalExecution(task)


def test_long_last_words_are_cut(processes: Processes) -> None:
    """What a child printed before its death is kept as far as a run has room for it: its end."""
    worker = make_worker(processes, Unforeseen(dying=True))
    worker.iterate()
    (run,) = launch(processes, [Adam(gradient_batch=30)]).runs
    assert worker.iterate()
    error = processes.client.run(run.id).error
    assert error is not None
    assert error.message.startswith("the training process was killed by SIGKILL")
    assert error.traceback.endswith("xlast words")
    assert len(error.traceback) == MAX_TRACEBACK


def test_no_error_ends_the_loop(processes: Processes, caplog: pytest.LogCaptureFixture) -> None:
    """An error that nobody foresaw is logged; the run is claimed again after its lease."""
    engine, stopped = Unforeseen(), threading.Event()
    thread = threading.Thread(target=make_worker(processes, engine, stopped).loop)
    thread.start()
    (run,) = launch(processes, [Adam(gradient_batch=30)]).runs
    (ended,) = processes.client.wait([run.id], timeout=120)
    stopped.set()
    thread.join()
    assert (ended.status, ended.claims, engine.started) == (RunStatus.FINISHED, 2, 2)
    assert "LookupError: nobody foresaw this" in caplog.text


SECONDS = small_run(Adam()).model_dump(exclude={"optimizer", "seed"}) | {
    "optimizers": [Adam(gradient_batch=30)],
    "budget": Budget(updates=None, seconds=2),
}
"""a run that trains for 2 seconds"""


@pytest.fixture
def guarded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Processes]:
    """Start a backend that wants tokens; the worker's is in the environment of its children, too."""
    started = Processes(tmp_path, LEASE_SECONDS=3, HEARTBEAT_SECONDS=0.2, TOKEN="a-token-for-everything-1")
    monkeypatch.setenv("BLOCKHF_TOKEN", Tokens(started.settings()).create("worker", frozenset({Scope.WORKER})))
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parents[3]))
    yield started
    started.stop()


def test_a_token_that_is_refused_for_a_while_ends_no_run(guarded: Processes, caplog: pytest.LogCaptureFixture) -> None:
    """A run whose rows are refused is left to its lease, and goes on once the worker is let in again."""
    caplog.set_level(logging.INFO, logger="worker.agent.local_process")  # where children's words are passed on
    settings, stopped = guarded.settings(), threading.Event()
    tokens, aside = settings.home / "tokens.json", settings.home / "aside"
    of_worker = settings.model_copy(update={"token": SecretStr(os.environ["BLOCKHF_TOKEN"])})
    with Client.of(settings) as user, Client.of(of_worker) as client:
        guarded.client.close()
        guarded.client = client
        thread = threading.Thread(target=make_worker(guarded, stopped=stopped).loop)
        thread.start()
        try:
            guarded.wait_until(lambda: user.catalog().catalog)
            run = user.launch(ExperimentSpec.model_validate(SECONDS)).runs[0].id
            guarded.wait_until(lambda: user.run(run).summary.updates >= 10)
            tokens.rename(aside)
            guarded.wait_until(lambda: "the backend refuses, the run is left to its lease" in caplog.text)
            aside.rename(tokens)
            (ended,) = user.wait([run], timeout=120)
        finally:
            stopped.set()
            thread.join()
        rows = user.series([run])[run]["update"]
    assert (ended.status, ended.claims, ended.error) == (RunStatus.FINISHED, 2, None)
    assert rows == list(range(1, ended.summary.updates + 1))
