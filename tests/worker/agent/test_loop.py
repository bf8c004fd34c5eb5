"""Tests of the worker's loop, with a real backend and real child processes."""

import hashlib
import os
import shutil
import signal
import threading
from collections.abc import Callable

import pytest

from backend.schemas.api import Finish
from backend.schemas.experiments import Budget, Evaluation, Problem
from backend.schemas.optimizers import Adam, BlockHessianFree, HessianFree
from backend.schemas.runs import Run, RunStatus
from backend.settings import Settings
from tests.clients import BothClient
from tests.processes import DEADLINE, Processes
from tests.worker.background import Background
from tests.worker.cases import OPTIMIZERS, PACED, small_run, trained
from tests.worker.conftest import launch, make_worker, updates
from worker.agent import loop, watchdog
from worker.agent.executor import OUTBOXES
from worker.delivery.outbox import Entry, Outbox, outbox_path

ENDLESS = Budget(updates=None, seconds=600)
ONE_LONG_UPDATE = HessianFree(gradient_batch=2000, curvature_batch=1999, max_cg_iterations=10_000)


def test_runs_are_trained_as_in_this_process(processes: Processes) -> None:
    """The stored rows of finished runs equal, bit for bit, those of training in this process."""
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


def test_failed_runs_have_an_error(processes: Processes) -> None:
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
    assert crash.error.message.startswith("IndexError: ")
    assert "return torch.zeros(3)[5]" in crash.error.traceback
    assert diverged.error is not None
    assert processes.client.series([diverged.id])[diverged.id]["diverged"][-1]
    assert good.status is RunStatus.FINISHED


def test_cancel_ends_a_run_after_its_update(processes: Processes, monkeypatch: pytest.MonkeyPatch) -> None:
    """A child that reacts is asked once; the run ends as cancelled, with the rows it had."""
    for patience in ("INTERRUPT_SECONDS", "KILL_SECONDS", "ABANDON_SECONDS"):
        monkeypatch.setattr(loop, patience, DEADLINE)
    background = Background(processes)
    (run,) = launch(processes, [Adam(gradient_batch=30)], problem=PACED, budget=ENDLESS).runs
    background.begin(run)
    processes.client.cancel(run.id)
    background.end()
    ended = processes.client.run(run.id)
    assert ended.status is RunStatus.CANCELLED
    assert updates(processes, run) == list(range(1, ended.summary.updates + 1))
    assert background.executor.last.asked == ["cancel"]


@pytest.mark.parametrize(
    ("verb", "patience", "status"),
    [
        (BothClient.cancel, "INTERRUPT_SECONDS", RunStatus.CANCELLED),
        (BothClient.pause, "PAUSE_SECONDS", RunStatus.PAUSED),
    ],
)
def test_a_long_update_is_interrupted(
    processes: Processes,
    monkeypatch: pytest.MonkeyPatch,
    verb: Callable[[BothClient, str], Run],
    patience: str,
    status: RunStatus,
) -> None:
    """A run in an update that takes minutes is cancelled, or paused, by the child itself."""
    monkeypatch.setattr(loop, patience, 0.3)
    monkeypatch.setattr(loop, "KILL_SECONDS", DEADLINE)
    background = Background(processes)
    (run,) = launch(processes, [ONE_LONG_UPDATE], problem=Problem()).runs
    background.begin(run, rows=0)
    processes.wait_until(lambda: processes.client.run(run.id).parameters)
    verb(processes.client, run.id)
    background.end()
    ended = processes.client.run(run.id)
    assert ended.status is status
    assert "during update 1" in ended.ended_by


def test_a_pause_kills_a_child_that_does_not_react(processes: Processes, monkeypatch: pytest.MonkeyPatch) -> None:
    """A stopped child is killed, its run is paused, and continues when it is resumed."""
    monkeypatch.setattr(loop, "PAUSE_SECONDS", 0.1)
    monkeypatch.setattr(loop, "KILL_SECONDS", 0.5)
    background = Background(processes)
    (run,) = launch(processes, [Adam(gradient_batch=30)], problem=PACED, budget=Budget(updates=None, seconds=3)).runs
    background.begin(run)
    os.kill(background.executor.last.pid, signal.SIGSTOP)
    processes.client.pause(run.id)
    background.end()
    paused = processes.client.run(run.id)
    assert paused.status is RunStatus.PAUSED
    assert "killed" in paused.ended_by
    processes.client.resume(run.id)
    assert background.worker.iterate()
    assert processes.client.run(run.id).status is RunStatus.FINISHED


def test_cancel_kills_a_child_that_hangs(processes: Processes, monkeypatch: pytest.MonkeyPatch) -> None:
    """A child that does not react is asked, then gets SIGTERM, then SIGKILL; its run is cancelled."""
    monkeypatch.setattr(loop, "INTERRUPT_SECONDS", 0.1)
    monkeypatch.setattr(loop, "KILL_SECONDS", 0.5)
    background = Background(processes)
    (run,) = launch(processes, [Adam(gradient_batch=30)], problem=PACED, budget=ENDLESS).runs
    background.begin(run)
    os.kill(background.executor.last.pid, signal.SIGSTOP)
    processes.client.cancel(run.id)
    background.end()
    ended = processes.client.run(run.id)
    assert ended.status is RunStatus.CANCELLED
    assert "killed" in ended.ended_by
    assert background.executor.last.asked[:3] == ["cancel", "SIGTERM", "SIGKILL"]


def test_a_cancelled_run_ends_within_12_seconds() -> None:
    """A signal comes within 2 s of the request to cancel, and SIGKILL within 12 s of the user's request."""
    request = Settings.model_fields["heartbeat_seconds"].default + loop.WATCH_SECONDS
    assert loop.INTERRUPT_SECONDS <= 2
    assert request + loop.KILL_SECONDS + loop.WATCH_SECONDS < 12


def test_a_killed_child_fails_only_its_run(processes: Processes) -> None:
    """If the system kills a child, its run fails with an error, and the worker continues."""
    background = Background(processes)
    seconds = Budget(updates=None, seconds=3)
    killed, good = launch(processes, [Adam(gradient_batch=30)], seeds=[0, 1], problem=PACED, budget=seconds).runs
    background.begin(killed)
    os.kill(background.executor.last.pid, signal.SIGKILL)
    background.end()
    ended = processes.client.run(killed.id)
    assert ended.status is RunStatus.FAILED
    assert ended.error is not None
    assert "SIGKILL" in ended.error.message
    assert background.worker.iterate()
    assert processes.client.run(good.id).status is RunStatus.FINISHED


def weights(processes: Processes, run: Run) -> bytes:
    """Return the content of a run's final weights' file."""
    return (processes.home / "checkpoints" / run.id / "weights.safetensors").read_bytes()


def test_a_paused_run_continues_bit_for_bit(processes: Processes) -> None:
    """A run that was paused and resumed has the rows and final weights of one that was not."""
    background = Background(processes)
    (run,) = launch(processes, [Adam(gradient_batch=30)], problem=PACED, budget=Budget(updates=150)).runs
    background.begin(run)
    processes.client.pause(run.id)
    background.end()
    paused = processes.client.run(run.id)
    updates_then = paused.summary.updates
    assert paused.status is RunStatus.PAUSED
    assert paused.checkpoint is not None
    assert paused.checkpoint.update == updates_then < 150
    assert not background.worker.iterate()
    processes.client.resume(run.id)
    (other,) = launch(processes, [Adam(gradient_batch=30)], problem=PACED, budget=Budget(updates=150)).runs
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


def test_checkpoints_of_finished_runs_are_removed(processes: Processes) -> None:
    """If a process died right after its run had finished, the worker removes the checkpoints, not the weights."""
    worker = make_worker(processes)
    worker.iterate()
    (run,) = launch(processes, [Adam(gradient_batch=30)]).runs
    assert worker.iterate()
    left = processes.home / "checkpoints" / run.id / "3-1.safetensors"
    left.write_bytes(b"left")
    outbox = Outbox(outbox_path(processes.home / OUTBOXES, run.id, 1))
    outbox.append(Entry(finish=Finish(claim_number=1, status=RunStatus.FINISHED, weights="0" * 64)))
    outbox._file.close()
    outbox._lock.release()
    assert not worker.iterate()
    assert list(left.parent.iterdir()) == [left.with_name("weights.safetensors")]


def test_a_starting_worker_removes_stale_drafts(processes: Processes) -> None:
    """The unfinished files of killed processes are removed, those of living processes are not."""
    root = processes.home / "checkpoints" / "runrunrun"
    root.mkdir(parents=True)
    dead, living = (root / f".5-1.safetensors.{pid}" for pid in (2**22 + 1, os.getpid()))
    for draft in (dead, living):
        draft.touch()
        os.utime(draft, (0, 0))
    stopped = threading.Event()
    stopped.set()
    make_worker(processes, stopped=stopped).loop()
    assert list(root.iterdir()) == [living]


def test_a_stalled_child_is_killed(processes: Processes, monkeypatch: pytest.MonkeyPatch) -> None:
    """A child that makes no more updates is killed and its run fails; after a retry it finishes."""
    monkeypatch.setattr(watchdog, "LONGEST_UPDATE_FACTOR", 2)
    background = Background(processes, stall_timeout_seconds=10)
    (run,) = launch(processes, [Adam(gradient_batch=30)], problem=PACED, budget=Budget(updates=None, seconds=3)).runs
    background.begin(run, rows=10)
    os.kill(background.executor.last.pid, signal.SIGSTOP)
    background.end()
    ended = processes.client.run(run.id)
    assert ended.status is RunStatus.FAILED
    assert ended.error is not None
    assert "BLOCKHF_STALL_TIMEOUT_SECONDS" in ended.error.message
    processes.client.retry(run.id)
    patient = make_worker(processes)
    processes.wait_until(patient.iterate)
    assert processes.client.run(run.id).status is RunStatus.FINISHED


def test_a_run_without_its_checkpoint_restarts(processes: Processes) -> None:
    """A worker without the checkpoint trains from the start and adds a note; each row is stored once."""
    background = Background(processes)
    (run,) = launch(processes, [Adam(gradient_batch=30)], problem=PACED, budget=Budget(updates=150)).runs
    background.begin(run)
    processes.client.pause(run.id)
    background.end()
    shutil.rmtree(processes.home / "checkpoints")
    processes.client.resume(run.id)
    assert background.worker.iterate()
    ended = processes.client.run(run.id)
    assert len(ended.notes) == 1
    assert updates(processes, run) == list(range(1, 151))


def test_the_quota_protects_a_paused_run(processes: Processes) -> None:
    """However small the quota, runs that finish meanwhile do not remove a paused run's checkpoint."""
    background = Background(processes)
    (run,) = launch(processes, [Adam(gradient_batch=30)], problem=PACED, budget=Budget(updates=150)).runs
    background.begin(run)
    processes.client.pause(run.id)
    background.end()
    then = processes.client.run(run.id).summary.updates
    root = processes.home / "checkpoints"
    (file,) = (root / run.id).iterdir()
    worker = make_worker(processes, checkpoint_quota_bytes=int(file.stat().st_size * 1.5), checkpoint_seconds=0)
    assert not worker.iterate()
    others = launch(processes, [Adam(gradient_batch=30)], seeds=[1, 2]).runs
    assert [worker.iterate() for _ in others] == [True] * 2
    assert file.exists()
    assert sum(path.stat().st_size for path in root.glob("*/*")) <= 1.5 * file.stat().st_size
    processes.client.resume(run.id)
    assert worker.iterate()
    ended = processes.client.run(run.id)
    assert (ended.status, ended.claims, ended.notes) == (RunStatus.FINISHED, 2, [])
    assert processes.client.series([run.id])[run.id]["row_generation"] == 1
    assert then < 150
