"""Tests of the queue's verbs: claims, leases, starts, ends, attempts."""

from collections.abc import Callable

import pytest
from sqlalchemy import update

from backend.errors import LeaseLost, NotFound
from backend.schemas.api import Finish, Start
from backend.schemas.catalog import Catalog
from backend.schemas.runs import RunError, RunStatus, Summary
from backend.storage.tables import RUNS
from tests.backend.samples import catalog
from tests.backend.scene import Scene

pytestmark = pytest.mark.every_database


def test_runs_are_claimed_in_order(scene: Scene) -> None:
    """The oldest run goes first; when all are taken there is nothing to claim."""
    first, second = scene.claim(), scene.claim()
    assert [first.run.id, second.run.id] == [run.id for run in scene.experiment.runs]
    assert scene.services.queue.claim(scene.worker) is None
    assert (first.claim_number, first.run.status, first.run.claims) == (1, RunStatus.RUNNING, 1)
    assert first.run.worker_id == scene.worker
    assert first.run.started_at is not None


def test_an_unknown_worker_claims_nothing(scene: Scene) -> None:
    """A worker must be registered to claim or to be heard."""
    with pytest.raises(NotFound, match="register again"):
        scene.services.queue.claim("unknownworker")
    with pytest.raises(NotFound, match="register again"):
        scene.services.workers.heartbeat("unknownworker")


def test_a_worker_gets_only_what_it_can_train(scene: Scene) -> None:
    """A worker without the problem, or without the data set, is passed over."""
    lacking = [Catalog(problems=[], data=catalog().data), Catalog(problems=[], data=[])]
    for announced in lacking:
        assert scene.services.queue.claim(scene.register(announced)) is None
    assert scene.claim().run.id == scene.experiment.runs[0].id


def test_a_lease_is_renewed_by_heartbeats(scene: Scene) -> None:
    """No other worker can claim a run while its worker sends heartbeats."""
    claim = scene.claim()
    scene.claim()
    for _ in range(5):
        scene.clock.now += scene.settings.lease_seconds - 1
        assert not scene.services.queue.heartbeat(claim.run.id, claim.claim_number).cancel
    again = scene.claim()
    assert again.run.id != claim.run.id
    assert scene.services.queue.claim(scene.worker) is None


@pytest.mark.parametrize("verb", ["append", "start"])
def test_a_lease_is_renewed_by_reports(scene: Scene, verb: str) -> None:
    """Rows and the report of the start are signs of life as well."""
    claim = scene.claim()
    scene.claim()
    scene.clock.now += scene.settings.lease_seconds - 1
    if verb == "append":
        scene.append(claim, 1)
    else:
        scene.services.queue.start(claim.run.id, Start(claim_number=1, environment={}, blocks=[], parameters=0))
    scene.clock.now += scene.settings.lease_seconds - 1
    assert scene.claim().run.id != claim.run.id


def test_a_lost_run_begins_again(scene: Scene) -> None:
    """A run whose worker is lost is claimed with the next claim number, without its rows and summary."""
    claim = scene.claim()
    scene.services.queue.start(
        claim.run.id, Start(claim_number=1, environment={"a": "b"}, blocks=[["c"]], parameters=7)
    )
    scene.append(claim, 3)
    scene.lose()
    again = scene.claim()
    assert (again.run.id, again.claim_number, again.run.claims) == (claim.run.id, claim.claim_number + 1, 2)
    assert (again.run.summary, again.run.blocks, again.run.parameters) == (Summary(), [["c"]], None)
    columns = scene.services.metrics.series([claim.run.id], blocks=True)[claim.run.id]
    assert (columns["update"], columns["blocks"], columns["last_update"]) == ([], [], 0)
    assert scene.append(again, 2) == 2


def test_every_write_of_a_stale_token_is_refused(scene: Scene) -> None:
    """Every request of a worker that lost its run is refused and changes nothing."""
    claim = scene.claim()
    scene.lose()
    again = scene.claim()
    run_id, claim_number = claim.run.id, claim.claim_number
    writes: list[Callable[[], object]] = [
        lambda: scene.services.queue.heartbeat(run_id, claim_number),
        lambda: scene.services.queue.start(
            run_id, Start(claim_number=claim_number, environment={}, blocks=[], parameters=1)
        ),
        lambda: scene.services.queue.finish(run_id, Finish(claim_number=claim_number, status=RunStatus.FINISHED)),
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
    """An unknown run raises another error than a lost one."""
    with pytest.raises(NotFound):
        scene.services.queue.heartbeat("unknownrun", 1)
    with pytest.raises(NotFound):
        scene.services.queue.cancel("unknownrun")


def test_start_is_kept(scene: Scene) -> None:
    """The run shows what the worker reported at its start."""
    claim = scene.claim()
    body = Start(
        claim_number=claim.claim_number, environment={"device": "cpu"}, blocks=[["a", "b"], ["c"]], parameters=12
    )
    scene.services.queue.start(claim.run.id, body)
    run = scene.run(claim)
    assert (run.environment, run.blocks, run.parameters) == (body.environment, body.blocks, 12)


@pytest.mark.parametrize(
    "body",
    [
        Finish(claim_number=1, status=RunStatus.FINISHED, ended_by="updates"),
        Finish(claim_number=1, status=RunStatus.CANCELLED, ended_by="cancelled"),
        Finish(
            claim_number=1,
            status=RunStatus.FAILED,
            ended_by="error",
            error=RunError(message="broke", traceback="line 1"),
        ),
    ],
)
def test_finish_ends_a_run_once(scene: Scene, body: Finish) -> None:
    """The end is kept with its reason; repeating it is fine, contradicting it is not."""
    claim = scene.claim()
    for _ in range(2):
        scene.services.queue.finish(claim.run.id, body)
        scene.clock.now += 1
    run = scene.run(claim)
    assert (run.status, run.ended_by, run.error) == (body.status, body.ended_by, body.error)
    assert run.finished_at is not None
    assert run.finished_at.timestamp() == scene.clock.now - 2
    other = RunStatus.FINISHED if body.status is not RunStatus.FINISHED else RunStatus.CANCELLED
    with pytest.raises(LeaseLost):
        scene.services.queue.finish(claim.run.id, Finish(claim_number=1, status=other))
    with pytest.raises(LeaseLost):
        scene.append(claim, 1)


def test_a_failure_needs_a_reason() -> None:
    """A failed run has an error, and only a failed run."""
    with pytest.raises(ValueError, match="a failed run needs an error"):
        Finish(claim_number=1, status=RunStatus.FAILED)
    with pytest.raises(ValueError, match="only a failed run has one"):
        Finish(claim_number=1, status=RunStatus.FINISHED, error=RunError(message="?"))


def test_a_run_that_kills_its_workers_fails(scene: Scene) -> None:
    """After five lost claims without progress the run fails with a reason."""
    scene.services.queue.cancel(scene.experiment.runs[1].id)
    for attempt in range(1, scene.settings.max_claims_without_progress + 1):
        claim = scene.claim()
        assert claim.run.claims == attempt
        scene.lose()
    assert scene.services.queue.claim(scene.worker) is None
    run = scene.run(claim)
    assert (run.status, run.ended_by) == (RunStatus.FAILED, "attempts")
    assert run.error is not None
    assert run.error.message.startswith("5 workers in a row were lost")


def test_progress_earns_new_attempts(scene: Scene) -> None:
    """Attempts count anew when one got further than any before it."""
    scene.services.queue.cancel(scene.experiment.runs[1].id)
    reached = [2, 2, 1, 0, 0, 5, 5, 0, 0, 0]  # the sixth attempt would have been the last, had it not got further
    for last in reached:
        scene.append(scene.claim(), last)
        scene.lose()
    assert scene.claim().run.claims == len(reached) + 1
    scene.lose()
    assert scene.services.queue.claim(scene.worker) is None


def test_reaching_the_same_again_is_no_progress(scene: Scene) -> None:
    """An attempt that only makes up for a worse one before it does not count anew."""
    scene.services.queue.cancel(scene.experiment.runs[1].id)
    for last in [3, 1, 3, 1, 3, 1]:
        scene.append(scene.claim(), last)
        scene.lose()
    assert scene.services.queue.claim(scene.worker) is None


def test_a_lease_holds_to_its_last_moment(scene: Scene) -> None:
    """A run is lost after its lease, not at its end."""
    held = scene.claim()
    scene.claim()
    scene.clock.now += scene.settings.lease_seconds
    assert scene.services.queue.claim(scene.worker) is None
    scene.clock.now += 0.001
    assert scene.claim().run.id == held.run.id


def test_sweep_leaves_the_living_alone(scene: Scene) -> None:
    """Runs that wait, are held, or may yet be claimed are not touched."""
    held = scene.claim()
    scene.services.queue.sweep()
    assert scene.run(held).status is RunStatus.RUNNING
    scene.lose()
    scene.services.queue.sweep()
    assert scene.run(held).status is RunStatus.RUNNING
    assert scene.services.runs.get(scene.experiment.runs[1].id).status is RunStatus.QUEUED


def test_a_backend_that_was_away_renews_the_leases(scene: Scene) -> None:
    """After a restart of the backend every worker has a full lease time to send a heartbeat."""
    claim = scene.claim()
    scene.claim()
    scene.lose()
    scene.services.queue.renew_all_leases()
    assert scene.services.queue.claim(scene.worker) is None
    scene.lose()
    assert scene.claim().run.id == claim.run.id


def test_a_lease_of_a_clock_that_was_ahead_ends_in_time(scene: Scene) -> None:
    """At its start a backend leaves no lease longer than leases are."""
    claim = scene.claim()
    with scene.services.database.write() as connection:
        connection.execute(update(RUNS).values(lease_until=scene.clock.now + 365 * 86_400))
    scene.services.queue.renew_all_leases()
    scene.lose()
    assert scene.services.queue.cancel(claim.run.id).status is RunStatus.CANCELLED
