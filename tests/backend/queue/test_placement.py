"""Tests of which runs a worker gets: the runs of a race together, devices, memory, one run of a sequence."""

from typing import Any

import pytest

from backend.api.services import Services
from backend.errors import InvalidInput
from backend.queue.placement import PROCESS_BYTES
from backend.schemas.api import Announcement, Claim, Finish
from backend.schemas.optimizers import Adam, HessianFree
from backend.schemas.runs import Experiment, RunStatus
from backend.settings import Settings
from tests.backend.samples import INFO, Clock, catalog, spec

pytestmark = pytest.mark.every_database

CUDA = {"device": "cuda:0 (a)", "devices": ["cpu", "cuda:0"]}


def register(services: Services, **info: Any) -> str:
    """Add a worker."""
    body = Announcement(info=INFO.model_validate(INFO.model_dump() | {"slots": 2} | info), catalog=catalog())
    return services.workers.register(body).worker_id


def launch(services: Services, **changes: Any) -> Experiment:
    """Queue two runs."""
    return services.experiments.launch(spec(**changes))


def claim(services: Services, worker: str) -> str | None:
    """Claim a run; return the id of its comparison."""
    claimed = services.queue.claim(worker)
    return claimed.run.experiment_id if claimed else None


def finish(services: Services, claimed: Claim | None) -> None:
    """End a run."""
    assert claimed is not None
    services.queue.finish(
        claimed.run.id, Finish(claim_number=claimed.claim_number, status=RunStatus.FINISHED, ended_by="updates")
    )


def test_a_race_goes_to_one_worker(services: Services) -> None:
    """Another worker passes over a comparison that a worker with a free slot races, and takes the next one."""
    one, other = register(services), register(services)
    first, second = launch(services), launch(services)
    claimed = [claim(services, worker) for worker in (one, other, one, other)]
    assert claimed == [first.id, second.id, first.id, second.id]


def test_a_worker_without_free_slots_is_helped(services: Services) -> None:
    """What does not fit the slots of the worker that races, another worker takes."""
    one, other = register(services), register(services)
    queued = launch(services, seeds=[0, 1])
    assert [claim(services, worker) for worker in (one, one, other, other)] == [queued.id] * 4


def test_a_lost_worker_is_not_waited_for(services: Services, clock: Clock, settings: Settings) -> None:
    """The runs of a comparison go to another worker when the one that raced it is not heard of any more."""
    one, other = register(services), register(services)
    queued = launch(services)
    assert claim(services, one) == queued.id
    assert claim(services, other) is None
    clock.now += settings.lease_seconds + 1
    assert claim(services, other) == queued.id


def test_a_sequence_is_trained_one_after_another(services: Services) -> None:
    """A worker gets the next run of such a comparison after the one before; meanwhile it gets other runs."""
    worker = register(services)
    sequence, race = launch(services, schedule="sequential"), launch(services)
    first = services.queue.claim(worker)
    assert first is not None
    assert (first.run.experiment_id, first.schedule) == (sequence.id, "sequential")
    assert [claim(services, worker) for _ in range(3)] == [race.id, race.id, None]
    finish(services, first)
    assert claim(services, worker) == sequence.id


def test_a_sequence_is_shared_by_workers(services: Services) -> None:
    """Two workers train two runs of it at the same time, as they always did."""
    workers = [register(services), register(services)]
    queued = launch(services, schedule="sequential")
    assert [claim(services, worker) for worker in workers] == [queued.id] * 2


def test_a_priority_goes_first(services: Services) -> None:
    """A run with a higher priority is claimed before the rest of a race that has begun."""
    worker = register(services)
    first, second = launch(services), launch(services)
    assert claim(services, worker) == first.id
    services.queue.prioritize(second.runs[1].id, 1)
    assert [claim(services, worker) for _ in range(2)] == [second.id, first.id]


def test_a_claim_carries_how_to_race(services: Services) -> None:
    """The claim has the comparison's schedule, and what decides who is behind."""
    worker = register(services)
    launch(services, race_by="seconds")
    claimed = services.queue.claim(worker)
    assert claimed is not None
    assert (claimed.schedule, claimed.race_by) == ("race", "seconds")


@pytest.mark.parametrize(
    ("device", "info", "given"),
    [
        ("cpu", {}, True),
        ("cpu", CUDA, True),
        ("cuda", {}, False),
        ("cuda", CUDA, True),
        ("cuda:0", CUDA, True),
        ("cuda:0", {"device": "cuda:0 (of an earlier version)"}, True),
        ("cuda:1", CUDA, False),
    ],
)
def test_a_run_goes_to_a_worker_with_its_device(
    services: Services, device: str, info: dict[str, Any], given: bool
) -> None:
    """A run that asks for a GPU goes only to a worker that has it."""
    register(services, devices=["cpu", "cuda:0", "cuda:1"])
    worker = register(services, **info)
    launch(services, device=device)
    assert (claim(services, worker) is not None) == given


def test_the_runs_of_a_comparison_share_a_kind_of_device(services: Services, clock: Clock, settings: Settings) -> None:
    """With `auto`, the kind that trains the first run trains all, while a worker that has it is alive."""
    cpu, gpu = register(services, slots=1), register(services, slots=1, **CUDA)
    first = launch(services)
    assert claim(services, cpu) == first.id
    assert claim(services, gpu) is None
    second = launch(services)
    assert claim(services, gpu) == second.id
    clock.now += settings.lease_seconds + 1
    services.workers.heartbeat(gpu)
    assert claim(services, gpu) == first.id


@pytest.mark.parametrize(("lacking", "held"), [(0, 2), (1, 1)])
def test_the_runs_of_a_worker_fit_its_memory(services: Services, lacking: int, held: int) -> None:
    """A second run is claimed if both fit by the estimate of the launch; one run always is."""
    queued = spec(optimizers=[Adam(gradient_batch=10), HessianFree(gradient_batch=10, curvature_batch=5)])
    register(services)
    needed = sum(run.memory for run in services.experiments.check(queued).runs)
    assert needed > 0
    worker = register(services, memory=needed + 2 * PROCESS_BYTES - lacking)
    services.experiments.launch(queued)
    claims = [claim(services, worker) for _ in range(2)]
    assert sum(found is not None for found in claims) == held


def test_a_device_that_no_worker_has_is_refused(services: Services, clock: Clock, settings: Settings) -> None:
    """A launch names the field before anything is queued; with every worker lost it is queued for the next one."""
    register(services)
    with pytest.raises(InvalidInput) as caught:
        launch(services, device="cuda")
    assert [(error.field, error.value) for error in caught.value.errors] == [("device", "cuda")]
    assert not services.experiments.list()
    clock.now += settings.lease_seconds + 1
    launch(services, device="cuda")
    worker = register(services, **CUDA)
    assert claim(services, worker) is not None


def test_a_worker_shows_all_its_runs(services: Services) -> None:
    """The list has each worker once, with every run that it trains."""
    worker = register(services)
    queued = launch(services)
    claim(services, worker)
    claim(services, worker)
    (shown,) = services.workers.catalog().workers
    assert shown.run_ids == [run.id for run in queued.runs]
    assert shown.run_id == queued.runs[0].id
