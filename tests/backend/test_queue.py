"""Tests of the queue's verbs."""

from collections.abc import Callable
from dataclasses import dataclass, field

import pytest

from backend.errors import Conflict, InvalidInput, LeaseLost, NotFound
from backend.schemas import (
    Announcement,
    Append,
    Catalog,
    Claim,
    Experiment,
    Finish,
    Run,
    RunError,
    RunStatus,
    Start,
    Summary,
)
from backend.settings import Settings
from backend.store import Store
from tests.backend.samples import INFO, Clock, catalog, checkpoint, spec, updates

pytestmark = pytest.mark.every_database


@dataclass
class Scene:
    """A queue with one comparison of two runs and one worker."""

    store: Store
    clock: Clock
    settings: Settings
    worker: str = field(init=False)
    experiment: Experiment = field(init=False)

    def __post_init__(self) -> None:
        self.worker = self.register()
        self.experiment = self.store.experiments.launch(spec())

    def register(self, announced: Catalog | None = None) -> str:
        """Add a worker."""
        body = Announcement(info=INFO, catalog=announced or catalog())
        return self.store.workers.register(body).worker_id

    def claim(self) -> Claim:
        """Claim a run that must be there."""
        claim = self.store.queue.claim(self.worker)
        assert claim is not None
        return claim

    def lose(self) -> None:
        """Let every lease run out."""
        self.clock.now += self.settings.lease_seconds + 1

    def run(self, claim: Claim) -> Run:
        """Read a claimed run as it is now."""
        return self.store.runs.get(claim.run.id)

    def append(self, claim: Claim, last: int, *, saved: int = 0) -> int:
        """Report updates up to `last`, from the first on, and perhaps a checkpoint."""
        named = checkpoint(saved) if saved else None
        return self.store.metrics.append(
            claim.run.id, Append(token=claim.token, rows=updates(1, last), checkpoint=named)
        )

    def start(self, claim: Claim, resumed_from: int, note: str = "") -> None:
        """Begin from an update."""
        body = Start(token=claim.token, environment={}, blocks=[], parameters=1, resumed_from=resumed_from, note=note)
        self.store.queue.start(claim.run.id, body)

    def rows(self, claim: Claim) -> list[int]:
        """Read the stored update numbers."""
        stored: list[int] = self.store.metrics.series([claim.run.id])[claim.run.id]["update"]
        return stored


@pytest.fixture
def scene(store: Store, clock: Clock, settings: Settings) -> Scene:
    """Set the scene."""
    return Scene(store, clock, settings)


def test_runs_are_claimed_in_order(scene: Scene) -> None:
    """The oldest run goes first; when all are taken there is nothing to claim."""
    first, second = scene.claim(), scene.claim()
    assert [first.run.id, second.run.id] == [run.id for run in scene.experiment.runs]
    assert scene.store.queue.claim(scene.worker) is None
    assert (first.token, first.run.status, first.run.attempts) == (1, RunStatus.RUNNING, 1)
    assert first.run.worker_id == scene.worker
    assert first.run.started_at is not None


def test_an_unknown_worker_claims_nothing(scene: Scene) -> None:
    """A worker must be registered to claim or to be heard."""
    with pytest.raises(NotFound, match="register again"):
        scene.store.queue.claim("unknownworker")
    with pytest.raises(NotFound, match="register again"):
        scene.store.workers.heartbeat("unknownworker")


def test_a_worker_gets_only_what_it_can_train(scene: Scene) -> None:
    """A worker without the problem, or without the data set, is passed over."""
    lacking = [Catalog(problems=[], data=catalog().data), Catalog(problems=[], data=[])]
    for announced in lacking:
        assert scene.store.queue.claim(scene.register(announced)) is None
    assert scene.claim().run.id == scene.experiment.runs[0].id


def test_a_lease_is_renewed_by_heartbeats(scene: Scene) -> None:
    """A run whose worker is heard of is nobody else's."""
    claim = scene.claim()
    scene.claim()
    for _ in range(5):
        scene.clock.now += scene.settings.lease_seconds - 1
        assert not scene.store.queue.heartbeat(claim.run.id, claim.token).cancel
    again = scene.claim()
    assert again.run.id != claim.run.id
    assert scene.store.queue.claim(scene.worker) is None


@pytest.mark.parametrize("verb", ["append", "start"])
def test_a_lease_is_renewed_by_reports(scene: Scene, verb: str) -> None:
    """Rows and the report of the start are signs of life as well."""
    claim = scene.claim()
    scene.claim()
    scene.clock.now += scene.settings.lease_seconds - 1
    if verb == "append":
        scene.append(claim, 1)
    else:
        scene.store.queue.start(claim.run.id, Start(token=1, environment={}, blocks=[], parameters=0))
    scene.clock.now += scene.settings.lease_seconds - 1
    assert scene.claim().run.id != claim.run.id


def test_a_lost_run_begins_again(scene: Scene) -> None:
    """A run whose worker is lost is given away with the next token, without its rows and summary."""
    claim = scene.claim()
    scene.store.queue.start(claim.run.id, Start(token=1, environment={"a": "b"}, blocks=[["c"]], parameters=7))
    scene.append(claim, 3)
    scene.lose()
    again = scene.claim()
    assert (again.run.id, again.token, again.run.attempts) == (claim.run.id, claim.token + 1, 2)
    assert (again.run.summary, again.run.blocks, again.run.parameters) == (Summary(), [], None)
    columns = scene.store.metrics.series([claim.run.id], blocks=True)[claim.run.id]
    assert (columns["update"], columns["blocks"], columns["last_update"]) == ([], [], 0)
    assert scene.append(again, 2) == 2


def test_every_write_of_a_stale_token_is_refused(scene: Scene) -> None:
    """A worker that lost its run learns it from whatever it says next, and changes nothing."""
    claim = scene.claim()
    scene.lose()
    again = scene.claim()
    run_id, token = claim.run.id, claim.token
    writes: list[Callable[[], object]] = [
        lambda: scene.store.queue.heartbeat(run_id, token),
        lambda: scene.store.queue.start(run_id, Start(token=token, environment={}, blocks=[], parameters=1)),
        lambda: scene.store.queue.finish(run_id, Finish(token=token, status=RunStatus.FINISHED)),
        lambda: scene.append(claim, 1),
    ]
    for write in writes:
        with pytest.raises(LeaseLost):
            write()
    assert scene.run(again) == again.run


def test_a_late_worker_keeps_a_run_that_nobody_took(scene: Scene) -> None:
    """A lease that ran out can be renewed while no other worker has claimed the run."""
    claim = scene.claim()
    scene.lose()
    assert scene.append(claim, 2) == 2
    assert scene.claim().run.id != claim.run.id


def test_writes_about_unknown_runs_are_not_found(scene: Scene) -> None:
    """A run that does not exist is told apart from one that is lost."""
    with pytest.raises(NotFound):
        scene.store.queue.heartbeat("unknownrun", 1)
    with pytest.raises(NotFound):
        scene.store.queue.cancel("unknownrun")


def test_start_is_kept(scene: Scene) -> None:
    """What the worker found out stands on the run."""
    claim = scene.claim()
    body = Start(token=claim.token, environment={"device": "cpu"}, blocks=[["a", "b"], ["c"]], parameters=12)
    scene.store.queue.start(claim.run.id, body)
    run = scene.run(claim)
    assert (run.environment, run.blocks, run.parameters) == (body.environment, body.blocks, 12)


@pytest.mark.parametrize(
    "body",
    [
        Finish(token=1, status=RunStatus.FINISHED, ended_by="updates"),
        Finish(token=1, status=RunStatus.CANCELLED, ended_by="cancelled"),
        Finish(token=1, status=RunStatus.FAILED, ended_by="error", error=RunError(message="broke", traceback="line 1")),
    ],
)
def test_finish_ends_a_run_once(scene: Scene, body: Finish) -> None:
    """The end is kept with its reason; repeating it is fine, contradicting it is not."""
    claim = scene.claim()
    for _ in range(2):
        scene.store.queue.finish(claim.run.id, body)
        scene.clock.now += 1
    run = scene.run(claim)
    assert (run.status, run.ended_by, run.error) == (body.status, body.ended_by, body.error)
    assert run.finished_at is not None
    assert run.finished_at.timestamp() == scene.clock.now - 2
    other = RunStatus.FINISHED if body.status is not RunStatus.FINISHED else RunStatus.CANCELLED
    with pytest.raises(LeaseLost):
        scene.store.queue.finish(claim.run.id, Finish(token=1, status=other))
    with pytest.raises(LeaseLost):
        scene.append(claim, 1)


def test_a_failure_needs_a_reason() -> None:
    """A failed run has an error, and only a failed run."""
    with pytest.raises(ValueError, match="a failed run needs an error"):
        Finish(token=1, status=RunStatus.FAILED)
    with pytest.raises(ValueError, match="only a failed run has one"):
        Finish(token=1, status=RunStatus.FINISHED, error=RunError(message="?"))


def test_a_waiting_run_is_cancelled_at_once(scene: Scene) -> None:
    """A run that no worker has claimed never starts; cancelling it again changes nothing."""
    first, second = scene.experiment.runs
    cancelled = scene.store.queue.cancel(first.id)
    assert (cancelled.status, cancelled.ended_by) == (RunStatus.CANCELLED, "cancelled")
    assert cancelled.finished_at is not None
    assert scene.store.queue.cancel(first.id) == cancelled
    assert scene.claim().run.id == second.id


def test_a_running_run_is_asked_to_stop(scene: Scene) -> None:
    """The worker learns of a cancel by its next heartbeat and ends the run itself."""
    claim = scene.claim()
    asked = scene.store.queue.cancel(claim.run.id)
    assert (asked.status, asked.cancel_requested) == (RunStatus.RUNNING, True)
    assert scene.store.queue.heartbeat(claim.run.id, claim.token).cancel
    scene.store.queue.finish(claim.run.id, Finish(token=1, status=RunStatus.CANCELLED, ended_by="user"))
    assert scene.run(claim).status is RunStatus.CANCELLED


@pytest.mark.parametrize("verb", ["sweep", "claim", "cancel"])
def test_a_lost_run_that_was_cancelled_is_over(scene: Scene, verb: str) -> None:
    """Where the worker is lost before it could obey, the run is cancelled without it."""
    claim = scene.claim()
    scene.claim()
    scene.store.queue.cancel(claim.run.id)
    scene.lose()
    if verb == "sweep":
        scene.store.queue.sweep()
    elif verb == "claim":
        assert scene.claim().run.id != claim.run.id
    else:
        scene.store.queue.cancel(claim.run.id)
    assert scene.run(claim).status is RunStatus.CANCELLED


@pytest.mark.parametrize("status", [RunStatus.FINISHED, RunStatus.FAILED])
def test_an_ended_run_cannot_be_cancelled(scene: Scene, status: RunStatus) -> None:
    """A cancel that comes too late is told so."""
    claim = scene.claim()
    error = RunError(message="broke") if status is RunStatus.FAILED else None
    scene.store.queue.finish(claim.run.id, Finish(token=1, status=status, error=error))
    with pytest.raises(Conflict, match=f"has {status} already"):
        scene.store.queue.cancel(claim.run.id)


def test_a_run_that_kills_its_workers_fails(scene: Scene) -> None:
    """After five lost attempts that got no further the run fails and says why."""
    scene.store.queue.cancel(scene.experiment.runs[1].id)
    for attempt in range(1, scene.settings.max_attempts + 1):
        claim = scene.claim()
        assert claim.run.attempts == attempt
        scene.lose()
    assert scene.store.queue.claim(scene.worker) is None
    run = scene.run(claim)
    assert (run.status, run.ended_by) == (RunStatus.FAILED, "attempts")
    assert run.error is not None
    assert run.error.message.startswith("5 workers in a row were lost")


def test_progress_earns_new_attempts(scene: Scene) -> None:
    """Attempts count anew when one got further than any before it."""
    scene.store.queue.cancel(scene.experiment.runs[1].id)
    reached = [2, 2, 1, 0, 0, 5, 5, 0, 0, 0]  # the sixth attempt would have been the last, had it not got further
    for last in reached:
        scene.append(scene.claim(), last)
        scene.lose()
    assert scene.claim().run.attempts == len(reached) + 1
    scene.lose()
    assert scene.store.queue.claim(scene.worker) is None


def test_reaching_the_same_again_is_no_progress(scene: Scene) -> None:
    """An attempt that only makes up for a worse one before it does not count anew."""
    scene.store.queue.cancel(scene.experiment.runs[1].id)
    for last in [3, 1, 3, 1, 3, 1]:
        scene.append(scene.claim(), last)
        scene.lose()
    assert scene.store.queue.claim(scene.worker) is None


def test_a_lease_holds_to_its_last_moment(scene: Scene) -> None:
    """A run is lost after its lease, not at its end."""
    held = scene.claim()
    scene.claim()
    scene.clock.now += scene.settings.lease_seconds
    assert scene.store.queue.claim(scene.worker) is None
    scene.clock.now += 0.001
    assert scene.claim().run.id == held.run.id


def test_sweep_leaves_the_living_alone(scene: Scene) -> None:
    """Runs that wait, are held, or may yet be claimed are not touched."""
    held = scene.claim()
    scene.store.queue.sweep()
    assert scene.run(held).status is RunStatus.RUNNING
    scene.lose()
    scene.store.queue.sweep()
    assert scene.run(held).status is RunStatus.RUNNING
    assert scene.store.runs.get(scene.experiment.runs[1].id).status is RunStatus.QUEUED


def test_a_lost_run_goes_on_from_its_checkpoint(scene: Scene) -> None:
    """Rows up to the checkpoint stay, with the summary they had; later ones go when the next worker starts."""
    claim = scene.claim()
    scene.append(claim, 5, saved=3)
    scene.lose()
    again = scene.claim()
    assert (again.run.checkpoint, again.run.summary.updates) == (checkpoint(3), 5)
    edition = scene.store.metrics.series([claim.run.id])[claim.run.id]["attempt"]
    scene.start(again, 3, "another device")
    scene.start(again, 3, "another device")
    run = scene.run(claim)
    assert scene.rows(claim) == [1, 2, 3]
    assert (run.summary.updates, run.summary.best_train_loss, run.notes) == (3, 30.0, ["another device"])
    assert scene.store.metrics.series([claim.run.id])[claim.run.id]["attempt"] == edition + 1
    assert scene.append(again, 6) == 6
    scene.start(again, 3)  # a late replay of the start takes no row away
    assert scene.rows(claim) == [1, 2, 3, 4, 5, 6]


def test_a_worker_without_the_checkpoint_begins_again(scene: Scene) -> None:
    """Rows, summary and checkpoint of the course that nobody can follow any more are gone."""
    claim = scene.claim()
    scene.append(claim, 5, saved=3)
    scene.lose()
    again = scene.claim()
    scene.start(again, 0, "the checkpoint is elsewhere")
    run = scene.run(claim)
    assert (scene.rows(claim), run.summary, run.checkpoint) == ([], Summary(), None)
    assert run.notes == ["the checkpoint is elsewhere"]


def test_a_checkpoint_fits_the_rows(scene: Scene) -> None:
    """A checkpoint ahead of the rows is refused with them, and a run goes on from its checkpoint or the beginning."""
    claim = scene.claim()
    with pytest.raises(InvalidInput, match="cannot be ahead of the rows"):
        scene.append(claim, 2, saved=3)
    assert scene.rows(claim) == []
    scene.append(claim, 3, saved=2)
    scene.lose()
    again = scene.claim()
    with pytest.raises(InvalidInput, match="must be 0 or the checkpoint's update, 2"):
        scene.start(again, 3)


def test_a_run_pauses_and_goes_on(scene: Scene) -> None:
    """A pause rides on the heartbeat; a resumed run waits again, and keeps what it had up to its checkpoint."""
    claim = scene.claim()
    queue = scene.store.queue
    scene.append(claim, 3, saved=3)
    assert queue.pause(claim.run.id).status is RunStatus.RUNNING
    assert queue.heartbeat(claim.run.id, claim.token).pause
    for _ in range(2):
        queue.finish(claim.run.id, Finish(token=1, status=RunStatus.PAUSED, ended_by="paused"))
    paused = scene.run(claim)
    assert (paused.status, paused.pause_requested, paused.finished_at) == (RunStatus.PAUSED, False, None)
    assert scene.claim().run.id != claim.run.id
    assert scene.store.queue.claim(scene.worker) is None
    assert queue.resume(claim.run.id).status is RunStatus.QUEUED
    again = scene.claim()
    assert (again.run.id, again.run.checkpoint, again.run.summary.updates) == (claim.run.id, checkpoint(3), 3)


def test_a_pause_can_be_taken_back(scene: Scene) -> None:
    """A worker that pauses after the user changed their mind gives the run back to the queue."""
    claim = scene.claim()
    scene.store.queue.pause(claim.run.id)
    scene.store.queue.resume(claim.run.id)
    assert not scene.store.queue.heartbeat(claim.run.id, claim.token).pause
    scene.store.queue.finish(claim.run.id, Finish(token=1, status=RunStatus.PAUSED))
    assert scene.run(claim).status is RunStatus.QUEUED


def test_a_waiting_run_pauses_at_once_and_can_be_cancelled(scene: Scene) -> None:
    """Where no worker holds the run nobody needs to be asked."""
    first, second = scene.experiment.runs
    assert scene.store.queue.pause(first.id).status is RunStatus.PAUSED
    assert scene.claim().run.id == second.id
    assert scene.store.queue.cancel(first.id).status is RunStatus.CANCELLED
    with pytest.raises(Conflict, match="has cancelled already; it cannot be paused"):
        scene.store.queue.pause(first.id)
    with pytest.raises(Conflict, match="only a paused run can be resumed"):
        scene.store.queue.resume(first.id)


def test_a_lost_run_that_was_to_pause_is_paused(scene: Scene) -> None:
    """Where the worker is lost before it could obey, the run pauses without it."""
    claim = scene.claim()
    scene.store.queue.pause(claim.run.id)
    scene.lose()
    scene.store.queue.sweep()
    assert scene.run(claim).status is RunStatus.PAUSED


@pytest.mark.parametrize("status", [RunStatus.FAILED, RunStatus.CANCELLED])
def test_an_ended_run_can_be_tried_again(scene: Scene, status: RunStatus) -> None:
    """A failed or cancelled run waits again, without its error, and goes on from its checkpoint."""
    claim = scene.claim()
    scene.append(claim, 2, saved=2)
    error = RunError(message="out of memory") if status is RunStatus.FAILED else None
    scene.store.queue.finish(claim.run.id, Finish.model_validate({"token": 1, "status": status, "error": error}))
    again = scene.store.queue.retry(claim.run.id)
    assert (again.status, again.error, again.ended_by, again.finished_at) == (RunStatus.QUEUED, None, "", None)
    assert scene.store.queue.retry(claim.run.id) == again
    assert scene.claim().run.checkpoint == checkpoint(2)


@pytest.mark.parametrize("status", [RunStatus.RUNNING, RunStatus.FINISHED])
def test_other_runs_cannot_be_tried_again(scene: Scene, status: RunStatus) -> None:
    """A run that trains, or has finished, is left alone."""
    claim = scene.claim()
    if status is RunStatus.FINISHED:
        scene.store.queue.finish(claim.run.id, Finish(token=1, status=RunStatus.FINISHED, weights="0" * 64))
        assert scene.run(claim).weights == "0" * 64
        with pytest.raises(Conflict, match="waits for nothing"):
            scene.store.queue.prioritize(claim.run.id, 1)
    with pytest.raises(Conflict, match="only a failed or a cancelled run"):
        scene.store.queue.retry(claim.run.id)


def test_priority_goes_before_age(scene: Scene) -> None:
    """Of runs that wait, the highest priority goes first."""
    first, second = scene.experiment.runs
    assert scene.store.queue.prioritize(second.id, 5).priority == 5
    assert [scene.claim().run.id, scene.claim().run.id] == [second.id, first.id]


def test_a_backend_that_was_away_renews_the_leases(scene: Scene) -> None:
    """While it was away nobody could be heard of: no run is given away before its worker had the time."""
    claim = scene.claim()
    scene.claim()
    scene.lose()
    scene.store.queue.forgive()
    assert scene.store.queue.claim(scene.worker) is None
    scene.lose()
    assert scene.claim().run.id == claim.run.id
