"""Tests of the worker's loop, with a real backend and real child processes."""

import hashlib
import os
import shutil
import signal
import threading
from collections.abc import Callable

import pytest

from backend.client import Client
from backend.schemas.api import Finish
from backend.schemas.experiments import Budget, Evaluation, Problem
from backend.schemas.optimizers import Adam, BlockHessianFree, HessianFree
from backend.schemas.runs import Run, RunStatus
from tests.processes import Processes
from tests.worker.cases import OPTIMIZERS, small_run, trained
from tests.worker.conftest import launch, make_worker, updates
from worker.agent import loop, watchdog
from worker.agent.executor import Task
from worker.agent.local_process import LocalExecution
from worker.delivery.outbox import Entry, Spool, path_of

ENDLESS = Budget(updates=None, seconds=600)
ONE_LONG_UPDATE = HessianFree(gradient_batch=2000, curvature_batch=1999, max_cg_iterations=10_000)


class Started:
    """An engine of child processes that remembers the last one."""

    def __init__(self) -> None:
        self.event = threading.Event()

    def start(self, task: Task) -> LocalExecution:
        """Start a child."""
        self.last = LocalExecution(task)
        self.event.set()
        return self.last


class Background:
    """One iteration of a worker in a thread, and its child."""

    def __init__(self, processes: Processes, **settings: float) -> None:
        self._processes = processes
        self.engine = Started()
        self.stopped = threading.Event()
        self.worker = make_worker(processes, self.engine, self.stopped, **settings)
        assert not self.worker.iterate()  # registers

    def begin(self, run: Run, *, rows: int = 1) -> None:
        """Begin the run and wait until it has some rows."""
        self.thread = threading.Thread(target=self.worker.iterate)
        self.thread.start()
        assert self.engine.event.wait(30)
        self._processes.wait_until(lambda: self._processes.client.run(run.id).summary.updates >= rows)

    def end(self) -> None:
        """Wait for the iteration's end."""
        self.thread.join(60)
        assert not self.thread.is_alive()


def test_runs_are_trained_as_in_this_process(processes: Processes) -> None:
    """Runs end as finished, and what is stored of each equals, bit for bit, what training in process gives."""
    worker = make_worker(processes)
    assert not worker.iterate()
    runs = launch(processes, [OPTIMIZERS["adam"], OPTIMIZERS["bhf"]]).runs
    assert [worker.iterate() for _ in range(3)] == [True, True, False]
    for run, optimizer in zip(runs, (OPTIMIZERS["adam"], OPTIMIZERS["bhf"]), strict=True):
        ended = processes.client.run(run.id)
        outcome, expected = trained(small_run(optimizer))
        assert (ended.status, ended.ended_by) == (RunStatus.FINISHED, outcome.ended_by)
        assert ended.blocks == expected.started["blocks"]
        assert ended.environment == expected.started["environment"]
        stored = processes.client.series([run.id])[run.id]
        for field in (
            "update",
            "samples",
            "cost",
            "batch_loss",
            "train_loss",
            "test_loss",
            "gradient_norm",
            "step_norm",
        ):
            assert stored[field] == [getattr(row, field) for row in expected.rows]


def test_failing_runs_keep_their_reason(processes: Processes) -> None:
    """A mistake in a plug-in and a divergence fail their runs with message and traceback; the next run is trained."""
    worker = make_worker(processes)
    worker.iterate()
    (crash,) = launch(processes, [Adam(gradient_batch=30)], problem=Problem(name="crash", train_size=100)).runs
    diverging = BlockHessianFree(gradient_batch=30, curvature_batch=10, learning_rate=100)
    (diverged,) = launch(
        processes, [diverging], budget=Budget(updates=1000), evaluation=Evaluation(every=100, train_subset=50)
    ).runs
    (good,) = launch(processes, [Adam(gradient_batch=30)]).runs
    for _ in range(3):
        assert worker.iterate()
    crash, diverged, good = (processes.client.run(run.id) for run in (crash, diverged, good))
    assert crash.status is diverged.status is RunStatus.FAILED
    assert crash.error is not None
    assert crash.error.message.startswith("IndexError: index 5 is out of bounds")
    assert "return torch.zeros(3)[5]" in crash.error.traceback
    assert diverged.error is not None
    assert diverged.error.message.startswith("diverged at update")
    assert processes.client.series([diverged.id])[diverged.id]["diverged"][-1]
    assert good.status is RunStatus.FINISHED


def test_cancel_ends_a_run_after_its_update(processes: Processes) -> None:
    """A cancelled run ends as cancelled, with the rows it had."""
    background = Background(processes)
    (run,) = launch(processes, [Adam(gradient_batch=30)], budget=ENDLESS).runs
    background.begin(run)
    processes.client.cancel(run.id)
    background.end()
    ended = processes.client.run(run.id)
    assert ended.status is RunStatus.CANCELLED
    assert ended.ended_by == f"cancelled after {ended.summary.updates} updates"
    assert updates(processes, run) == list(range(1, ended.summary.updates + 1))


@pytest.mark.parametrize(
    ("verb", "patience", "status"),
    [
        (Client.cancel, "INTERRUPT_SECONDS", RunStatus.CANCELLED),
        (Client.pause, "PAUSE_SECONDS", RunStatus.PAUSED),
    ],
)
def test_a_long_update_is_given_up(
    processes: Processes,
    monkeypatch: pytest.MonkeyPatch,
    verb: Callable[[Client, str], Run],
    patience: str,
    status: RunStatus,
) -> None:
    """A run in the middle of an update that takes minutes is cancelled, or paused, by the child itself."""
    monkeypatch.setattr(loop, patience, 0.3)
    monkeypatch.setattr(loop, "KILL_SECONDS", 30)
    background = Background(processes)
    (run,) = launch(processes, [ONE_LONG_UPDATE], problem=Problem()).runs
    background.begin(run, rows=0)
    processes.wait_until(lambda: processes.client.run(run.id).parameters)
    verb(processes.client, run.id)
    background.end()
    ended = processes.client.run(run.id)
    assert (ended.status, ended.ended_by) == (status, f"{status} before update 1 was done")


def test_a_pause_ends_a_child_that_hangs(processes: Processes, monkeypatch: pytest.MonkeyPatch) -> None:
    """A child that does not react to a pause is killed in time; its run is paused, and goes on when it is resumed."""
    monkeypatch.setattr(loop, "PAUSE_SECONDS", 0.1)
    monkeypatch.setattr(loop, "KILL_SECONDS", 0.5)
    background = Background(processes)
    (run,) = launch(processes, [Adam(gradient_batch=30)], budget=Budget(updates=None, seconds=2)).runs
    background.begin(run)
    os.kill(background.engine.last.pid, signal.SIGSTOP)
    processes.client.pause(run.id)
    background.end()
    paused = processes.client.run(run.id)
    assert paused.status is RunStatus.PAUSED
    assert paused.ended_by == "paused; the training process had to be killed"
    processes.client.resume(run.id)
    assert background.worker.iterate()
    assert processes.client.run(run.id).status is RunStatus.FINISHED


def test_cancel_kills_a_child_that_hangs(processes: Processes, monkeypatch: pytest.MonkeyPatch) -> None:
    """A child that does not react at all is killed, and its run is cancelled."""
    monkeypatch.setattr(loop, "INTERRUPT_SECONDS", 0.1)
    monkeypatch.setattr(loop, "KILL_SECONDS", 0.5)
    background = Background(processes)
    (run,) = launch(processes, [Adam(gradient_batch=30)], budget=ENDLESS).runs
    background.begin(run)
    os.kill(background.engine.last.pid, signal.SIGSTOP)
    processes.client.cancel(run.id)
    background.end()
    ended = processes.client.run(run.id)
    assert ended.status is RunStatus.CANCELLED
    assert ended.ended_by == "cancelled; the training process had to be killed"


def test_killed_child_fails_its_run_alone(processes: Processes) -> None:
    """A child that the system kills leaves a failed run with a reason, and the worker goes on."""
    background = Background(processes)
    killed, good = launch(
        processes, [OPTIMIZERS["hf"], OPTIMIZERS["adam"]], budget=Budget(updates=None, seconds=2)
    ).runs
    background.begin(killed)
    os.kill(background.engine.last.pid, signal.SIGKILL)
    background.end()
    ended = processes.client.run(killed.id)
    assert ended.status is RunStatus.FAILED
    assert ended.error is not None
    assert ended.error.message == ("the training process was killed by SIGKILL; the system may have run out of memory")
    assert background.worker.iterate()
    assert processes.client.run(good.id).status is RunStatus.FINISHED


def weights(processes: Processes, run: Run) -> bytes:
    """Read a run's final weights where the worker has left them."""
    return (processes.home / "checkpoints" / run.id / "weights.safetensors").read_bytes()


def test_a_paused_run_goes_on_bit_for_bit(processes: Processes) -> None:
    """Paused, resumed and finished, a run has the rows and the final weights of one that was never paused."""
    background = Background(processes)
    (run,) = launch(processes, [Adam(gradient_batch=30)], budget=Budget(updates=2000)).runs
    background.begin(run)
    processes.client.pause(run.id)
    background.end()
    paused = processes.client.run(run.id)
    updates_then = paused.summary.updates
    assert (paused.status, paused.ended_by) == (RunStatus.PAUSED, f"paused after {updates_then} updates")
    assert paused.checkpoint is not None
    assert paused.checkpoint.update == updates_then < 2000
    assert not background.worker.iterate()
    processes.client.resume(run.id)
    (other,) = launch(processes, [Adam(gradient_batch=30)], budget=Budget(updates=2000)).runs
    assert background.worker.iterate()
    assert background.worker.iterate()
    one, two = processes.client.run(run.id), processes.client.run(other.id)
    assert (one.status, one.claims, one.notes) == (RunStatus.FINISHED, 2, [])
    rows = processes.client.series([run.id, other.id], fields=["batch_loss", "train_loss", "test_loss", "step_norm"])
    assert rows[run.id] == rows[other.id] | {"row_generation": 1}
    assert one.weights == two.weights == hashlib.sha256(weights(processes, run)).hexdigest()
    assert weights(processes, run) == weights(processes, other)
    assert list((processes.home / "checkpoints" / run.id).iterdir()) == [
        processes.home / "checkpoints" / run.id / "weights.safetensors"
    ]


def test_a_worker_cleans_up_after_finished_runs(processes: Processes) -> None:
    """Checkpoints that a process left when it died right after its run had finished go; the weights stay."""
    worker = make_worker(processes)
    worker.iterate()
    (run,) = launch(processes, [Adam(gradient_batch=30)]).runs
    assert worker.iterate()
    left = processes.home / "checkpoints" / run.id / "3-1.safetensors"
    left.write_bytes(b"left")
    spool = Spool(path_of(processes.home / "spool", run.id, 1))
    spool.write(Entry(finish=Finish(claim_number=1, status=RunStatus.FINISHED)))
    spool._file.close()
    spool._lock.release()
    assert not worker.iterate()
    assert list(left.parent.iterdir()) == [left.with_name("weights.safetensors")]


def test_a_worker_begins_without_drafts(processes: Processes) -> None:
    """What a killed process had half written goes when a worker starts; what another writes now stays."""
    root = processes.home / "checkpoints" / "runrunrun"
    root.mkdir(parents=True)
    dead, living = (root / f".5-1.safetensors.{pid}" for pid in (2**22 + 1, os.getpid()))
    dead.touch()
    living.touch()
    stopped = threading.Event()
    stopped.set()
    make_worker(processes, stopped=stopped).loop()
    assert list(root.iterdir()) == [living]


def test_a_child_that_hangs_is_found(processes: Processes, monkeypatch: pytest.MonkeyPatch) -> None:
    """A child that makes no update any more is ended, and its run says so; tried again, it goes on."""
    monkeypatch.setattr(watchdog, "SLOWER", 2)
    background = Background(processes, stall_timeout_seconds=1.5)
    (run,) = launch(processes, [Adam(gradient_batch=30)], budget=Budget(updates=None, seconds=2)).runs
    background.begin(run, rows=30)
    os.kill(background.engine.last.pid, signal.SIGSTOP)
    background.end()
    ended = processes.client.run(run.id)
    assert ended.status is RunStatus.FAILED
    assert ended.error is not None
    assert ended.error.message.startswith("the training process hangs: it made no update for")
    processes.client.retry(run.id)
    assert background.worker.iterate()
    assert processes.client.run(run.id).status is RunStatus.FINISHED


def test_a_run_whose_checkpoint_is_elsewhere_begins_again(processes: Processes) -> None:
    """A worker that does not have the checkpoint begins from the beginning and says so; each row is there once."""
    background = Background(processes)
    (run,) = launch(processes, [Adam(gradient_batch=30)], budget=Budget(updates=2000)).runs
    background.begin(run)
    processes.client.pause(run.id)
    background.end()
    shutil.rmtree(processes.home / "checkpoints")
    processes.client.resume(run.id)
    assert background.worker.iterate()
    ended = processes.client.run(run.id)
    (note,) = ended.notes
    assert note.startswith("began again: the checkpoint of update")
    assert "is not on this worker's disk" in note
    assert updates(processes, run) == list(range(1, 2001))


def test_others_leave_a_paused_runs_checkpoint(processes: Processes) -> None:
    """However tight the limit, runs that finish meanwhile do not cost a paused run its rows."""
    background = Background(processes)
    (run,) = launch(processes, [Adam(gradient_batch=30)], budget=Budget(updates=1000)).runs
    background.begin(run)
    processes.client.pause(run.id)
    background.end()
    then = processes.client.run(run.id).summary.updates
    root = processes.home / "checkpoints"
    (kept,) = (root / run.id).iterdir()
    worker = make_worker(processes, checkpoint_quota_bytes=int(kept.stat().st_size * 1.5), checkpoint_seconds=0)
    assert not worker.iterate()
    others = launch(processes, [Adam(gradient_batch=30)], seeds=[1, 2]).runs
    assert [worker.iterate() for _ in others] == [True] * 2
    assert kept.exists()
    assert sum(path.stat().st_size for path in root.glob("*/*")) <= 1.5 * kept.stat().st_size
    processes.client.resume(run.id)
    assert worker.iterate()
    ended = processes.client.run(run.id)
    assert (ended.status, ended.claims, ended.notes) == (RunStatus.FINISHED, 2, [])
    assert processes.client.series([run.id])[run.id]["row_generation"] == 1
    assert then < 1000
