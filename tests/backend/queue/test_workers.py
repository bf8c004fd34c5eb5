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


def register(services: Services, announced: Catalog) -> str:
    """Add a worker; return its id."""
    return services.workers.register(Announcement(info=INFO, catalog=announced)).worker_id


def test_there_is_no_catalog_before_a_worker_came(services: Services) -> None:
    """An empty database has no catalog."""
    answer = services.workers.catalog()
    assert (answer.catalog, answer.workers) == (None, [])


def test_a_worker_learns_the_rhythm(services: Services, settings: Settings) -> None:
    """Registering returns lease time and heartbeat interval."""
    made = services.workers.register(Announcement(info=INFO, catalog=catalog()))
    assert (made.lease_seconds, made.heartbeat_seconds) == (settings.lease_seconds, settings.heartbeat_seconds)


def test_a_broken_catalog_registers_nobody(services: Services) -> None:
    """An incomplete catalog is refused with the reasons."""
    with pytest.raises(InvalidInput, match=r"catalog\.problems\.0\.data"):
        register(services, catalog(data=["nowhere"]))
    assert services.workers.catalog().workers == []


def test_the_catalog_joins_what_living_workers_can_do(services: Services, clock: Clock) -> None:
    """Problems of all living workers are there; of two with one name the newer worker's is taken."""
    register(services, catalog(title="old"))
    clock.now += 1
    register(services, catalog(title="new"))
    clock.now += 1
    register(services, catalog(name="another"))
    answer = services.workers.catalog().catalog
    assert answer is not None
    assert {problem.name: problem.title for problem in answer.problems} == {"squeeze": "new", "another": "Squeeze"}


def test_a_lost_workers_problems_leave_the_catalog(services: Services, clock: Clock, settings: Settings) -> None:
    """What only a lost worker could do is not offered while another lives."""
    register(services, catalog())
    clock.now += settings.lease_seconds + 1
    register(services, catalog(name="another"))
    answer = services.workers.catalog()
    assert answer.catalog is not None
    assert [problem.name for problem in answer.catalog.problems] == ["another"]
    assert [worker.alive for worker in answer.workers] == [True, False]


def test_the_catalog_outlives_the_last_worker(services: Services, clock: Clock) -> None:
    """With every worker lost, comparisons can still be queued for the next one."""
    register(services, catalog())
    clock.now += 10 * DAY
    answer = services.workers.catalog()
    assert answer.catalog == catalog()
    assert [worker.alive for worker in answer.workers] == [False]
    services.experiments.launch(spec())


def test_a_heartbeat_keeps_a_worker_alive(services: Services, clock: Clock, settings: Settings) -> None:
    """An idle worker is alive if it sends heartbeats or claims."""
    worker = register(services, catalog())
    verbs: list[Callable[[], object]] = [
        lambda: services.workers.heartbeat(worker),
        lambda: services.queue.claim(worker),
    ]
    for verb in verbs:
        clock.now += settings.lease_seconds - 1
        verb()
        clock.now += settings.lease_seconds - 1
        assert services.workers.catalog().workers[0].alive
    clock.now += settings.lease_seconds
    assert not services.workers.catalog().workers[0].alive


def test_a_worker_is_silent_before_it_is_gone(services: Services, clock: Clock, settings: Settings) -> None:
    """After a third of the lease without a word it is silent, after all of it no longer alive; a word ends that."""
    worker = register(services, catalog())
    told = []
    for part in (0.3, 0.1, 0.7):
        clock.now += part * settings.lease_seconds
        [shown] = services.workers.catalog().workers
        told.append((shown.silent, shown.alive))
    assert told == [(False, True), (True, True), (True, False)]
    services.workers.heartbeat(worker)
    [shown] = services.workers.catalog().workers
    assert (shown.silent, shown.alive) == (False, True)


def test_a_training_worker_is_alive_and_shown_with_its_run(
    services: Services, clock: Clock, settings: Settings
) -> None:
    """The heartbeat of a run counts for its worker."""
    worker = register(services, catalog())
    services.experiments.launch(spec())
    claim = services.queue.claim(worker)
    assert claim is not None
    clock.now += settings.lease_seconds - 1
    services.queue.heartbeat(claim.run.id, claim.claim_number)
    clock.now += settings.lease_seconds - 1
    (shown,) = services.workers.catalog().workers
    assert (shown.alive, shown.run_id) == (True, claim.run.id)


def test_workers_are_forgotten_after_a_day(services: Services, clock: Clock) -> None:
    """The list of workers does not grow for ever."""
    register(services, catalog())
    clock.now += DAY + 1
    newer = register(services, catalog())
    assert [worker.id for worker in services.workers.catalog().workers] == [newer]


def test_a_worker_that_has_a_run_is_not_forgotten(services: Services, clock: Clock) -> None:
    """After days without the backend, a worker that kept training continues with its run."""
    worker = register(services, catalog())
    services.experiments.launch(spec())
    claim = services.queue.claim(worker)
    assert claim is not None
    clock.now += 3 * DAY
    services.queue.renew_all_leases()
    register(services, catalog())
    assert not services.queue.heartbeat(claim.run.id, claim.claim_number).cancel


def test_a_clock_that_jumps_back_does_no_harm(services: Services, clock: Clock) -> None:
    """A heartbeat with a time in the future counts as one now."""
    worker = register(services, catalog())
    clock.now -= 3600
    services.workers.heartbeat(worker)
    assert services.workers.catalog().workers[0].seen_at.timestamp() == clock.now


def test_the_living_are_not_hidden_by_the_dead(services: Services, clock: Clock) -> None:
    """A worker that dies at each start, and registers anew, takes no living one out of the catalog."""
    first = services.workers.register(Announcement(info=INFO, catalog=catalog(name="first"))).worker_id
    for _ in range(120):
        clock.now += 1
        services.workers.register(Announcement(info=INFO, catalog=catalog(name="crashing")))
    services.workers.heartbeat(first)
    answer = services.workers.catalog()
    assert first in {worker.id for worker in answer.workers if worker.alive}
    assert answer.catalog is not None
    assert "first" in {problem.name for problem in answer.catalog.problems}
