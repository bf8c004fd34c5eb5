"""What a lost and a cancelled run go through; how long it takes is measured by `faults --loops timings`."""

import os
import signal
import threading
from collections.abc import Iterator

import pytest

from backend.schemas.optimizers import Adam
from backend.schemas.runs import Run, RunStatus
from backend.settings import Settings
from tests.benchmarks.timings import COOPERATIVE_SECONDS, FORCED_SECONDS, holder, launch
from tests.processes import Processes
from tests.worker.conftest import make_worker
from worker.agent import loop
from worker.agent.executor import Exit, Task
from worker.agent.local_process import LocalExecution
from worker.agent.loop import Worker

pytestmark = [pytest.mark.skipif(os.name != "posix", reason="there is no SIGSTOP on this system")]
SLOW_TO_NOTICE = 60.0
"""Seconds that nothing here comes near: they keep a test from hanging, and promise nothing."""


class Noted(LocalExecution):
    """A real child process that notes what its worker asks of it, in order, and how it ended."""

    def __init__(self, task: Task) -> None:
        self.asked: list[str] = []
        self.ended: Exit | None = None
        super().__init__(task)

    def cancel(self) -> None:
        """Note it and do it."""
        self.asked.append("cancel")
        super().cancel()

    def interrupt(self) -> None:
        """Note it and do it."""
        self.asked.append("SIGTERM")
        super().interrupt()

    def kill(self) -> None:
        """Note it and do it."""
        self.asked.append("SIGKILL")
        super().kill()

    def wait(self, seconds: float) -> Exit | None:
        """Keep the end."""
        self.ended = super().wait(seconds)
        return self.ended


class Engine:
    """An engine that remembers its last execution."""

    last: Noted

    def start(self, task: Task) -> Noted:
        """Start a child."""
        self.last = Noted(task)
        return self.last


@pytest.fixture(scope="module")
def processes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Processes]:
    """Start a backend with a short lease, for all tests here."""
    started = Processes(tmp_path_factory.mktemp("home"), LEASE_SECONDS=3, HEARTBEAT_SECONDS=0.2)
    yield started
    started.stop()


def cancelled(processes: Processes, engine: Engine, *, stopped: bool = False) -> Run:
    """Cancel a run that trains in a child, which may have been stopped before; return it when it has ended."""
    worker: Worker = make_worker(processes, engine)
    assert not worker.iterate()  # registers
    run = launch(processes.client, Adam(gradient_batch=300))
    thread = threading.Thread(target=worker.iterate)
    thread.start()
    processes.wait_until(lambda: processes.client.run(run.id).summary.updates > 0)
    if stopped:
        os.kill(engine.last.pid, signal.SIGSTOP)
    processes.client.cancel(run.id)
    thread.join(SLOW_TO_NOTICE)
    assert not thread.is_alive()
    return processes.client.run(run.id)


def test_a_child_that_listens_gets_no_signal(processes: Processes, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is asked once, ends after its update and says so itself."""
    monkeypatch.setattr(loop, "INTERRUPT_SECONDS", SLOW_TO_NOTICE)
    engine = Engine()
    run = cancelled(processes, engine)
    assert (run.status, run.ended_by) == (RunStatus.CANCELLED, f"cancelled after {run.summary.updates} updates")
    assert engine.last.asked == ["cancel"]
    assert engine.last.ended is not None
    assert engine.last.ended.code == 0


def test_a_child_that_does_not_is_ended_step_by_step(processes: Processes, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is asked, then gets SIGTERM, then SIGKILL, each once at first, and the run says that it was killed."""
    monkeypatch.setattr(loop, "INTERRUPT_SECONDS", 0.1)
    monkeypatch.setattr(loop, "KILL_SECONDS", 0.5)
    engine = Engine()
    run = cancelled(processes, engine, stopped=True)
    assert (run.status, run.ended_by) == (RunStatus.CANCELLED, "cancelled; the training process had to be killed")
    assert engine.last.asked[:3] == ["cancel", "SIGTERM", "SIGKILL"]
    assert set(engine.last.asked[3:]) <= {"SIGKILL"}
    assert engine.last.ended is not None
    assert engine.last.ended.reason.startswith("the training process was killed by SIGKILL")


def test_the_steps_add_up_to_what_is_promised() -> None:
    """As it is set up, a signal comes within 2 s of the word, and force within 12 s of the user's wish."""
    word = Settings.model_fields["heartbeat_seconds"].default + loop.WATCH_SECONDS
    assert loop.INTERRUPT_SECONDS <= COOPERATIVE_SECONDS
    assert word + loop.KILL_SECONDS + loop.WATCH_SECONDS < FORCED_SECONDS


def test_a_lost_run_is_taken_over(processes: Processes) -> None:
    """The other worker gets it, with the next token, and goes on; no row is lost or doubled."""
    client = processes.client
    pids = {processes.start("worker").pid for _ in range(2)}
    run = launch(client, Adam(gradient_batch=300))
    processes.wait_until(lambda: client.run(run.id).summary.updates >= 3)
    processes.wait_until(lambda: sum(":" in worker.info.name for worker in client.catalog().workers) == 2)
    first = holder(client, client.run(run.id))
    os.kill(first, signal.SIGKILL)
    processes.wait_until(lambda: client.run(run.id).claims == 2)
    assert {holder(client, client.run(run.id))} == pids - {first}
    before = client.run(run.id).summary.updates
    processes.wait_until(lambda: client.run(run.id).summary.updates > before)
    client.cancel(run.id)
    processes.wait_until(lambda: client.run(run.id).status.final)
    ended = client.run(run.id)
    assert (ended.status, ended.claims) == (RunStatus.CANCELLED, 2)
    assert client.series([run.id])[run.id]["update"] == list(range(1, ended.summary.updates + 1))
