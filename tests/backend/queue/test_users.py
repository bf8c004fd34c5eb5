"""Tests of the user's actions on the queue: cancel, pause, resume, retry, prioritize."""

import pytest

from backend.errors import Conflict, QueueFull
from backend.schemas.api import Finish
from backend.schemas.optimizers import Adam
from backend.schemas.runs import RunError, RunStatus
from tests.backend.samples import checkpoint, spec
from tests.backend.scene import Scene

pytestmark = pytest.mark.every_database


def test_a_waiting_run_is_cancelled_at_once(scene: Scene) -> None:
    """A run that no worker has claimed never starts; cancelling it again changes nothing."""
    first, second = scene.experiment.runs
    cancelled = scene.services.queue.cancel(first.id)
    assert (cancelled.status, cancelled.ended_by) == (RunStatus.CANCELLED, "cancelled")
    assert cancelled.finished_at is not None
    assert scene.services.queue.cancel(first.id) == cancelled
    assert scene.claim().run.id == second.id


def test_a_running_run_is_asked_to_stop(scene: Scene) -> None:
    """The worker learns of a cancel by its next heartbeat and ends the run itself."""
    claim = scene.claim()
    asked = scene.services.queue.cancel(claim.run.id)
    assert (asked.status, asked.cancel_requested) == (RunStatus.RUNNING, True)
    assert scene.services.queue.heartbeat(claim.run.id, claim.claim_number).cancel
    scene.services.queue.finish(claim.run.id, Finish(claim_number=1, status=RunStatus.CANCELLED, ended_by="user"))
    assert scene.run(claim).status is RunStatus.CANCELLED


@pytest.mark.parametrize("verb", ["sweep", "claim", "cancel"])
def test_a_lost_run_that_was_cancelled_is_over(scene: Scene, verb: str) -> None:
    """Where the worker is lost before it could obey, the run is cancelled without it."""
    claim = scene.claim()
    scene.claim()
    scene.services.queue.cancel(claim.run.id)
    scene.lose()
    if verb == "sweep":
        scene.services.queue.sweep()
    elif verb == "claim":
        assert scene.claim().run.id != claim.run.id
    else:
        scene.services.queue.cancel(claim.run.id)
    assert scene.run(claim).status is RunStatus.CANCELLED


@pytest.mark.parametrize("status", [RunStatus.FINISHED, RunStatus.FAILED])
def test_an_ended_run_cannot_be_cancelled(scene: Scene, status: RunStatus) -> None:
    """A cancel after the end is refused."""
    claim = scene.claim()
    error = RunError(message="broke") if status is RunStatus.FAILED else None
    scene.services.queue.finish(claim.run.id, Finish(claim_number=1, status=status, error=error))
    with pytest.raises(Conflict, match=status):
        scene.services.queue.cancel(claim.run.id)


def test_a_run_pauses_and_goes_on(scene: Scene) -> None:
    """A pause rides on the heartbeat; a resumed run waits again, and keeps what it had up to its checkpoint."""
    claim = scene.claim()
    queue = scene.services.queue
    scene.append(claim, 3, saved=3)
    assert queue.pause(claim.run.id).status is RunStatus.RUNNING
    assert queue.heartbeat(claim.run.id, claim.claim_number).pause
    for _ in range(2):
        queue.finish(claim.run.id, Finish(claim_number=1, status=RunStatus.PAUSED, ended_by="paused"))
    paused = scene.run(claim)
    assert (paused.status, paused.pause_requested, paused.finished_at) == (RunStatus.PAUSED, False, None)
    assert scene.claim().run.id != claim.run.id
    assert scene.services.queue.claim(scene.worker) is None
    assert queue.resume(claim.run.id).status is RunStatus.QUEUED
    again = scene.claim()
    assert (again.run.id, again.run.checkpoint, again.run.summary.updates) == (claim.run.id, checkpoint(3), 3)


def test_a_pause_can_be_taken_back(scene: Scene) -> None:
    """A worker that pauses after the user changed their mind gives the run back to the queue."""
    claim = scene.claim()
    scene.services.queue.pause(claim.run.id)
    scene.services.queue.resume(claim.run.id)
    assert not scene.services.queue.heartbeat(claim.run.id, claim.claim_number).pause
    scene.services.queue.finish(claim.run.id, Finish(claim_number=1, status=RunStatus.PAUSED))
    assert scene.run(claim).status is RunStatus.QUEUED


def test_a_cancel_goes_before_a_pause(scene: Scene) -> None:
    """Where a run pauses after the user cancelled it, it is cancelled."""
    claim = scene.claim()
    scene.services.queue.pause(claim.run.id)
    scene.services.queue.cancel(claim.run.id)
    scene.services.queue.finish(claim.run.id, Finish(claim_number=1, status=RunStatus.PAUSED, ended_by="paused"))
    assert scene.run(claim).status is RunStatus.CANCELLED


def test_a_waiting_run_pauses_at_once_and_can_be_cancelled(scene: Scene) -> None:
    """A run without a worker is cancelled at once."""
    first, second = scene.experiment.runs
    assert scene.services.queue.pause(first.id).status is RunStatus.PAUSED
    assert scene.claim().run.id == second.id
    assert scene.services.queue.cancel(first.id).status is RunStatus.CANCELLED
    with pytest.raises(Conflict, match="cancelled"):
        scene.services.queue.pause(first.id)
    with pytest.raises(Conflict):
        scene.services.queue.resume(first.id)


def test_a_lost_run_that_was_to_pause_is_paused(scene: Scene) -> None:
    """Where the worker is lost before it could obey, the run pauses without it."""
    claim = scene.claim()
    scene.services.queue.pause(claim.run.id)
    scene.lose()
    scene.services.queue.sweep()
    assert scene.run(claim).status is RunStatus.PAUSED


@pytest.mark.parametrize("status", [RunStatus.FAILED, RunStatus.CANCELLED])
def test_an_ended_run_can_be_tried_again(scene: Scene, status: RunStatus) -> None:
    """A retried run is queued again, without its error, and continues from its checkpoint."""
    claim = scene.claim()
    scene.append(claim, 2, saved=2)
    error = RunError(message="out of memory") if status is RunStatus.FAILED else None
    scene.services.queue.finish(
        claim.run.id, Finish.model_validate({"claim_number": 1, "status": status, "error": error})
    )
    again = scene.services.queue.retry(claim.run.id)
    assert (again.status, again.error, again.ended_by, again.finished_at) == (RunStatus.QUEUED, None, "", None)
    assert scene.services.queue.retry(claim.run.id) == again
    assert scene.claim().run.checkpoint == checkpoint(2)


@pytest.mark.parametrize("status", [RunStatus.RUNNING, RunStatus.FINISHED])
def test_other_runs_cannot_be_tried_again(scene: Scene, status: RunStatus) -> None:
    """A run that trains, or has finished, is left alone."""
    claim = scene.claim()
    if status is RunStatus.FINISHED:
        scene.services.queue.finish(claim.run.id, Finish(claim_number=1, status=RunStatus.FINISHED, weights="0" * 64))
        assert scene.run(claim).weights == "0" * 64
        with pytest.raises(Conflict):
            scene.services.queue.prioritize(claim.run.id, 1)
    with pytest.raises(Conflict):
        scene.services.queue.retry(claim.run.id)


def test_priority_goes_before_age(scene: Scene) -> None:
    """Of runs that wait, the highest priority goes first."""
    first, second = scene.experiment.runs
    assert scene.services.queue.prioritize(second.id, 5).priority == 5
    assert [scene.claim().run.id, scene.claim().run.id] == [second.id, first.id]


def test_what_waits_again_needs_room(scene: Scene) -> None:
    """Neither a retry nor the end of a pause passes the limit of the queue, as a launch does not."""
    first, second = scene.experiment.runs
    scene.services.queue.cancel(first.id)
    scene.services.queue.pause(second.id)
    scene.services.queue._settings = scene.settings.model_copy(update={"max_queued": 2})
    scene.services.experiments.launch(spec())
    for verb, run in ((scene.services.queue.retry, first), (scene.services.queue.resume, second)):
        with pytest.raises(QueueFull, match="limit of 2"):
            verb(run.id)
    assert scene.services.runs.get(first.id).status is RunStatus.CANCELLED
    assert scene.services.runs.get(second.id).status is RunStatus.PAUSED
    scene.claim()
    assert scene.services.queue.retry(first.id).status is RunStatus.QUEUED
    assert scene.services.queue.retry(first.id).status is RunStatus.QUEUED


def test_workers_learn_how_runs_stand(scene: Scene) -> None:
    """Runs that are unknown, or ended and deleted, are left out; a deleted run that a worker still has is not."""
    claim = scene.claim()
    (other,) = scene.services.experiments.launch(spec(optimizers=[Adam(gradient_batch=10)])).runs
    scene.services.queue.pause(other.id)
    waiting = scene.experiment.runs[1].id
    asked = [claim.run.id, waiting, other.id, "a" * 32]
    known = {claim.run.id: RunStatus.RUNNING, waiting: RunStatus.QUEUED, other.id: RunStatus.PAUSED}
    assert scene.services.queue.run_states(asked) == known
    scene.services.experiments.delete(scene.experiment.id)
    assert scene.services.queue.run_states(asked) == {claim.run.id: RunStatus.RUNNING, other.id: RunStatus.PAUSED}
