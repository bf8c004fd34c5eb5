"""Tests of worker processes that die, stop, or lose their backend in the middle of a run."""

import os
import signal
import sys
from pathlib import Path

import pytest

from backend.schemas.experiments import Budget
from backend.schemas.optimizers import Adam
from backend.schemas.runs import Run, RunStatus
from tests.processes import DEADLINE, Processes
from tests.worker.cases import PACED
from tests.worker.conftest import alive, launch, updates

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="not Linux: children are found in its /proc")

LONG = Budget(updates=None, seconds=4)
ADAM = Adam(gradient_batch=30)


def child_of(pid: int) -> int | None:
    """Find the child process of a worker that executes a run: it has an outbox open, the spare process has none."""
    pids = [p for tasks in Path(f"/proc/{pid}/task").glob("*/children") for p in tasks.read_text().split()]
    return next((int(p) for p in pids if any("spool" in str(fd.readlink()) for fd in open_files(p))), None)


def open_files(pid: str) -> list[Path]:
    """List the links to the open files of a process; none if it has ended."""
    return [fd for fd in Path(f"/proc/{pid}/fd").glob("*") if fd.is_symlink()]


def wait_for_rows(processes: Processes, run: Run, *, attempt: int = 1) -> None:
    """Wait until the claim has stored some rows."""

    def has_rows() -> bool:
        now = processes.client.run(run.id)
        return now.claims == attempt and now.summary.updates >= 5

    processes.wait_until(has_rows)


def check_complete(processes: Processes, run: Run, *, attempts: int) -> None:
    """Wait for the run's end; it is finished, and each update is there exactly once."""
    (ended,) = processes.client.wait([run.id], timeout=DEADLINE)
    assert (ended.status, ended.claims) == (RunStatus.FINISHED, attempts)
    assert ended.summary.updates > 5
    assert updates(processes, run) == list(range(1, ended.summary.updates + 1))


def test_killed_worker_loses_no_run(short_leases: Processes) -> None:
    """After SIGKILL the child ends too, another worker takes the run up, and each update is there exactly once."""
    first = short_leases.start("worker")
    (run,) = launch(short_leases, [ADAM], budget=LONG, problem=PACED).runs
    wait_for_rows(short_leases, run)
    child = child_of(first.pid)
    assert child is not None
    first.kill()
    first.wait()
    short_leases.wait_until(lambda: not alive(child))
    short_leases.start("worker")
    check_complete(short_leases, run, attempts=2)


def test_woken_worker_writes_nothing_more(short_leases: Processes) -> None:
    """A worker and its child that slept past the lease find their run taken: they drop it, and no row is doubled."""
    first = short_leases.start("worker")
    (run,) = launch(short_leases, [ADAM], budget=LONG, problem=PACED).runs
    wait_for_rows(short_leases, run)
    child = child_of(first.pid)
    assert child is not None
    for pid in (first.pid, child):
        os.kill(pid, signal.SIGSTOP)
    short_leases.start("worker")
    wait_for_rows(short_leases, run, attempt=2)
    for pid in (child, first.pid):
        os.kill(pid, signal.SIGCONT)
    short_leases.wait_until(lambda: not alive(child))
    check_complete(short_leases, run, attempts=2)
    assert first.poll() is None


def test_backend_may_restart(own_processes: Processes) -> None:
    """While the backend is away training goes on and the rows wait; afterwards each is there exactly once."""
    own_processes.start("worker")
    (run,) = launch(own_processes, [ADAM], budget=LONG, problem=PACED).runs
    wait_for_rows(own_processes, run)
    own_processes.restart_backend(after=1)
    check_complete(own_processes, run, attempts=1)


def test_worker_waits_for_its_backend(own_processes: Processes) -> None:
    """A worker started before its backend registers as soon as that is there."""
    own_processes.kill("backend")
    own_processes.start("worker")
    own_processes.wait_until(lambda: own_processes.log("worker"), "the worker has found no backend")
    own_processes.start("backend")
    own_processes.wait_until(own_processes.client.health)
    own_processes.wait_until(lambda: own_processes.client.catalog().workers)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_signal_ends_the_worker_cleanly(processes: Processes, number: signal.Signals) -> None:
    """SIGTERM and SIGINT end worker and child with exit code 0; the run is queued again with all its updates saved."""
    worker = processes.start("worker")
    (run,) = launch(processes, [ADAM], budget=Budget(updates=None, seconds=600), problem=PACED).runs
    wait_for_rows(processes, run)
    child = child_of(worker.pid)
    assert child is not None
    worker.send_signal(number)
    assert worker.wait(60) == 0
    assert not alive(child)
    stopped = processes.client.run(run.id)
    assert (stopped.status, stopped.notes) == (RunStatus.QUEUED, [])
    assert stopped.checkpoint is not None
    assert stopped.checkpoint.update == stopped.summary.updates
