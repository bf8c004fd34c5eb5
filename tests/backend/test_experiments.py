"""Tests of comparisons: queued as a whole or not at all."""

from concurrent.futures import ThreadPoolExecutor

import pytest

from backend.errors import Conflict, InvalidInput, NotFound, NoWorker, QueueFull
from backend.schemas import Announcement, RunStatus
from backend.settings import Settings
from backend.store import Store
from tests.backend.samples import INFO, Clock, catalog, spec

BAD = spec(problem={"name": "squeeze", "data": "nowhere"})


@pytest.fixture
def ready(store: Store) -> Store:
    """Register a worker, so that there is a catalog."""
    store.workers.register(Announcement(info=INFO, catalog=catalog()))
    return store


def test_launch_queues_every_run(ready: Store) -> None:
    """A comparison becomes one run per seed and optimizer, in this order, complete."""
    wanted = spec(seeds=[1, 2])
    made = ready.experiments.launch(wanted)
    assert [run.config for run in made.runs] == wanted.runs()
    assert {run.status for run in made.runs} == {RunStatus.QUEUED}
    assert {(run.experiment_id, run.experiment_name) for run in made.runs} == {(made.id, "sample")}
    assert made.spec == wanted
    assert ready.experiments.get(made.id) == made


def test_nothing_is_launched_before_a_worker_came(store: Store) -> None:
    """Without a catalog nothing can be checked or queued, and the error says what is missing."""
    for verb in (store.experiments.launch, store.experiments.check):
        with pytest.raises(NoWorker, match="no worker has registered yet"):
            verb(spec())


def test_bad_input_queues_nothing(ready: Store) -> None:
    """A comparison that is refused leaves no trace."""
    for verb in (ready.experiments.launch, ready.experiments.check):
        with pytest.raises(InvalidInput, match=r"problem\.data"):
            verb(BAD)
    assert ready.experiments.list() == []
    assert ready.runs.list() == []


def test_check_queues_nothing(ready: Store) -> None:
    """A check says what would be queued and leaves no trace."""
    assert len(ready.experiments.check(spec()).runs) == 2
    assert ready.experiments.list() == []


def test_a_key_launches_once(ready: Store) -> None:
    """The same key with the same comparison returns what it queued, also when that could not be queued any more."""
    made = ready.experiments.launch(spec(), idempotency_key="k")
    ready.workers.register(Announcement(info=INFO, catalog=catalog(data=["other"])))
    assert ready.experiments.launch(spec(), idempotency_key="k") == made
    assert len(ready.experiments.list()) == 1


def test_a_key_is_for_one_comparison(ready: Store) -> None:
    """The same key with another comparison is refused."""
    ready.experiments.launch(spec(), idempotency_key="k")
    with pytest.raises(Conflict, match="the idempotency key k"):
        ready.experiments.launch(spec(name="another"), idempotency_key="k")
    ready.experiments.launch(spec(name="another"), idempotency_key="other")


def test_a_key_launches_once_from_many_threads(ready: Store) -> None:
    """Requests with one key that arrive together queue one comparison."""
    with ThreadPoolExecutor(8) as pool:
        made = list(pool.map(lambda _: ready.experiments.launch(spec(), idempotency_key="k").id, range(16)))
    assert len(set(made)) == 1
    assert len(ready.experiments.list()) == 1


def test_the_queue_has_a_limit(settings: Settings, clock: Clock) -> None:
    """A comparison that does not fit into the queue is refused as a whole."""
    store = Store(settings.model_copy(update={"max_queued": 3}), clock=clock)
    store.workers.register(Announcement(info=INFO, catalog=catalog()))
    store.experiments.launch(spec())
    with pytest.raises(QueueFull, match="2 runs wait already"):
        store.experiments.launch(spec())
    assert len(store.runs.list()) == 2
    store.queue.cancel(store.runs.list()[0].id)
    store.experiments.launch(spec())
    store.close()


def test_experiments_are_listed_newest_first(ready: Store) -> None:
    """A list goes on where the one before ended."""
    made = [ready.experiments.launch(spec(name=f"number {i}")) for i in range(5)]
    first = ready.experiments.list(limit=2)
    second = ready.experiments.list(limit=10, before=first[-1].id)
    assert [*first, *second] == made[::-1]


def test_an_unknown_experiment_is_not_found(ready: Store) -> None:
    """The error names what was asked for."""
    with pytest.raises(NotFound, match="no experiment nowhere"):
        ready.experiments.get("nowhere")
    with pytest.raises(NotFound, match="no experiment nowhere"):
        ready.experiments.list(before="nowhere")
