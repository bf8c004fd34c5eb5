"""Tests of accidents that the worker's loop must outlive."""

import threading
from dataclasses import replace

import pytest

from backend.schemas import MAX_TRACEBACK, Adam, RunStatus
from tests.processes import Processes
from tests.worker.conftest import launch, make_worker
from worker.engines.engine import Exit, Task
from worker.engines.local import LocalExecution


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
    assert (ended.status, ended.attempts, engine.started) == (RunStatus.FINISHED, 2, 2)
    assert "LookupError: nobody foresaw this" in caplog.text
