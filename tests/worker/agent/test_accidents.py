"""Tests of errors that must not end the worker's loop."""

import logging
import os
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from pydantic import SecretStr

from backend.schemas.api import Scope
from backend.schemas.base import MAX_TRACEBACK
from backend.schemas.experiments import Budget, ExperimentSpec
from backend.schemas.optimizers import Adam
from backend.schemas.runs import RunStatus
from backend.security.tokens import Tokens
from tests.clients import BothClient
from tests.processes import DEADLINE, SHORT_LEASE, Processes
from tests.worker.cases import small_run
from tests.worker.conftest import launch, make_worker
from worker.agent.executor import ExecutionSpec, Exit
from worker.agent.gate import Turn
from worker.agent.local_process import LocalProcess


class Dying(LocalProcess):
    """A child that is killed at once after printing a lot."""

    def wait(self, seconds: float) -> Exit | None:
        """Kill the child and return its end."""
        self.kill()
        end = super().wait(seconds)
        return end and replace(end, output="x" * 30_000 + "last line")


class Failing:
    """An executor that raises an unexpected error the first time; or whose children die."""

    def __init__(self, *, dying: bool = False) -> None:
        self.started = 0
        self._dying = dying

    def start(self, spec: ExecutionSpec, turn: Turn) -> LocalProcess:
        """Fail, or start a child."""
        self.started += 1
        if self._dying:
            return Dying(spec, turn)
        if self.started == 1:
            raise LookupError("unexpected")
        return LocalProcess(spec, turn)


def test_long_output_is_cut(processes: Processes) -> None:
    """Of a child's output the last characters are stored, up to the limit of a run."""
    worker = make_worker(processes, Failing(dying=True))
    worker.iterate()
    (run,) = launch(processes, [Adam(gradient_batch=30)]).runs
    assert worker.iterate()
    error = processes.client.run(run.id).error
    assert error is not None
    assert "SIGKILL" in error.message
    assert error.traceback.endswith("xlast line")
    assert len(error.traceback) == MAX_TRACEBACK


def test_an_unexpected_error_does_not_end_the_loop(short_leases: Processes, caplog: pytest.LogCaptureFixture) -> None:
    """It is logged, and the run is claimed again when its lease expires."""
    executor, stopped = Failing(), threading.Event()
    thread = threading.Thread(target=make_worker(short_leases, executor, stopped).loop)
    thread.start()
    (run,) = launch(short_leases, [Adam(gradient_batch=30)]).runs
    (ended,) = short_leases.client.wait([run.id], timeout=DEADLINE)
    stopped.set()
    thread.join()
    assert (ended.status, ended.claims, executor.started) == (RunStatus.FINISHED, 2, 2)
    assert "LookupError: unexpected" in caplog.text


SECONDS = small_run(Adam()).model_dump(exclude={"optimizer", "seed"}) | {
    "optimizers": [Adam(gradient_batch=30)],
    "budget": Budget(updates=None, seconds=2),
}
"""a run that trains for 2 seconds"""


@pytest.fixture
def guarded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Processes]:
    """Start a backend that requires API tokens; the worker's token is also in its children's environment."""
    with Processes(tmp_path, TOKEN="a-token-for-everything-1", **SHORT_LEASE) as started:
        monkeypatch.setenv("BLOCKHF_TOKEN", Tokens(started.settings()).create("worker", frozenset({Scope.WORKER})))
        monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parents[3]))
        yield started


def test_a_token_refused_for_a_while_does_not_end_the_run(guarded: Processes, caplog: pytest.LogCaptureFixture) -> None:
    """A run with refused rows is requeued when its lease expires, and continues when the token is valid again."""
    caplog.set_level(logging.INFO, logger="worker.agent.local_process")  # which logs the children's output
    settings, stopped = guarded.settings(), threading.Event()
    tokens, aside = settings.home / "tokens.json", settings.home / "aside"
    of_worker = settings.model_copy(update={"token": SecretStr(os.environ["BLOCKHF_TOKEN"])})
    with BothClient.of(settings) as user, BothClient.of(of_worker) as client:
        guarded.client.close()
        guarded.client = client
        thread = threading.Thread(target=make_worker(guarded, stopped=stopped).loop)
        thread.start()
        try:
            guarded.wait_until(lambda: user.catalog().catalog)
            run = user.launch(ExperimentSpec.model_validate(SECONDS)).runs[0].id
            guarded.wait_until(lambda: user.run(run).summary.updates >= 10)
            tokens.rename(aside)
            guarded.wait_until(lambda: "requeued when its lease expires" in caplog.text)
            aside.rename(tokens)
            (ended,) = user.wait([run], timeout=DEADLINE)
        finally:
            stopped.set()
            thread.join()
        rows = user.series([run])[run]["update"]
    assert (ended.status, ended.claims, ended.error) == (RunStatus.FINISHED, 2, None)
    assert rows == list(range(1, ended.summary.updates + 1))
