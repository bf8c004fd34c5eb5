"""Tests of workers and the catalog that they make."""

from collections.abc import Callable

import pytest

from backend.api.services import Services
from backend.errors import InvalidInput
from backend.schemas.api import Announcement
from backend.schemas.catalog import Catalog
from backend.settings import Settings
from tests.backend.samples import INFO, Clock, catalog, spec

DAY = 24 * 3600


def register(store: Services, announced: Catalog) -> str:
    """Add a worker; return its id."""
    return store.workers.register(Announcement(info=INFO, catalog=announced)).worker_id


def test_there_is_no_catalog_before_a_worker_came(store: Services) -> None:
    """An empty database says so."""
    answer = store.workers.catalog()
    assert (answer.catalog, answer.workers) == (None, [])


def test_a_worker_learns_the_rhythm(store: Services, settings: Settings) -> None:
    """Registering tells how often to be heard of."""
    made = store.workers.register(Announcement(info=INFO, catalog=catalog()))
    assert (made.lease_seconds, made.heartbeat_seconds) == (settings.lease_seconds, settings.heartbeat_seconds)


def test_a_broken_catalog_registers_nobody(store: Services) -> None:
    """A worker that announces something incomplete is told what is wrong."""
    with pytest.raises(InvalidInput, match=r"catalog\.problems\.0\.data"):
        register(store, catalog(data=["nowhere"]))
    assert store.workers.catalog().workers == []


def test_the_catalog_joins_what_living_workers_can_do(store: Services, clock: Clock) -> None:
    """Problems of all living workers are there; of two with one name the newer worker's is taken."""
    register(store, catalog(title="old"))
    clock.now += 1
    register(store, catalog(title="new"))
    clock.now += 1
    register(store, catalog(name="another"))
    answer = store.workers.catalog().catalog
    assert answer is not None
    assert {problem.name: problem.title for problem in answer.problems} == {"squeeze": "new", "another": "Squeeze"}


def test_a_lost_workers_problems_leave_the_catalog(store: Services, clock: Clock, settings: Settings) -> None:
    """What only a lost worker could do is not offered while another lives."""
    register(store, catalog())
    clock.now += settings.lease_seconds + 1
    register(store, catalog(name="another"))
    answer = store.workers.catalog()
    assert answer.catalog is not None
    assert [problem.name for problem in answer.catalog.problems] == ["another"]
    assert [worker.alive for worker in answer.workers] == [True, False]


def test_the_catalog_outlives_the_last_worker(store: Services, clock: Clock) -> None:
    """With every worker lost, comparisons can still be queued for the next one."""
    register(store, catalog())
    clock.now += 10 * DAY
    answer = store.workers.catalog()
    assert answer.catalog == catalog()
    assert [worker.alive for worker in answer.workers] == [False]
    store.experiments.launch(spec())


def test_a_heartbeat_keeps_a_worker_alive(store: Services, clock: Clock, settings: Settings) -> None:
    """An idle worker that is heard of is alive, by heartbeats as by claims."""
    worker = register(store, catalog())
    verbs: list[Callable[[], object]] = [lambda: store.workers.heartbeat(worker), lambda: store.queue.claim(worker)]
    for verb in verbs:
        clock.now += settings.lease_seconds - 1
        verb()
        clock.now += settings.lease_seconds - 1
        assert store.workers.catalog().workers[0].alive
    clock.now += settings.lease_seconds
    assert not store.workers.catalog().workers[0].alive


def test_a_worker_is_silent_before_it_is_gone(store: Services, clock: Clock, settings: Settings) -> None:
    """After a third of the lease without a word it is silent, after all of it no longer alive; a word ends that."""
    worker = register(store, catalog())
    told = []
    for part in (0.3, 0.1, 0.7):
        clock.now += part * settings.lease_seconds
        [shown] = store.workers.catalog().workers
        told.append((shown.silent, shown.alive))
    assert told == [(False, True), (True, True), (True, False)]
    store.workers.heartbeat(worker)
    [shown] = store.workers.catalog().workers
    assert (shown.silent, shown.alive) == (False, True)


def test_a_training_worker_is_alive_and_shown_with_its_run(store: Services, clock: Clock, settings: Settings) -> None:
    """The heartbeat of a run counts for its worker."""
    worker = register(store, catalog())
    store.experiments.launch(spec())
    claim = store.queue.claim(worker)
    assert claim is not None
    clock.now += settings.lease_seconds - 1
    store.queue.heartbeat(claim.run.id, claim.claim_number)
    clock.now += settings.lease_seconds - 1
    (shown,) = store.workers.catalog().workers
    assert (shown.alive, shown.run_id) == (True, claim.run.id)


def test_workers_are_forgotten_after_a_day(store: Services, clock: Clock) -> None:
    """The list of workers does not grow for ever."""
    register(store, catalog())
    clock.now += DAY + 1
    newer = register(store, catalog())
    assert [worker.id for worker in store.workers.catalog().workers] == [newer]


def test_a_worker_that_has_a_run_is_not_forgotten(store: Services, clock: Clock) -> None:
    """Where the backend was away for days, a worker that trained on meanwhile goes on with its run."""
    worker = register(store, catalog())
    store.experiments.launch(spec())
    claim = store.queue.claim(worker)
    assert claim is not None
    clock.now += 3 * DAY
    store.queue.renew_all_leases()
    register(store, catalog())
    assert not store.queue.heartbeat(claim.run.id, claim.claim_number).cancel


def test_a_clock_that_jumps_back_does_no_harm(store: Services, clock: Clock) -> None:
    """A worker heard of in the future is heard of now."""
    worker = register(store, catalog())
    clock.now -= 3600
    store.workers.heartbeat(worker)
    assert store.workers.catalog().workers[0].seen_at.timestamp() == clock.now


def test_the_living_are_not_hidden_by_the_dead(store: Services, clock: Clock) -> None:
    """A worker that dies at each start, and registers anew, takes no living one out of the catalog."""
    first = store.workers.register(Announcement(info=INFO, catalog=catalog(name="first"))).worker_id
    for _ in range(120):
        clock.now += 1
        store.workers.register(Announcement(info=INFO, catalog=catalog(name="crashing")))
    store.workers.heartbeat(first)
    answer = store.workers.catalog()
    assert first in {worker.id for worker in answer.workers if worker.alive}
    assert answer.catalog is not None
    assert "first" in {problem.name for problem in answer.catalog.problems}
