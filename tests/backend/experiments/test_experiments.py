"""Tests of comparisons: queued as a whole or not at all."""

from concurrent.futures import ThreadPoolExecutor

import orjson
import pytest
from sqlalchemy import select, update

from backend.api.services import Services
from backend.errors import Conflict, InvalidInput, NotFound, NoWorker, QueueFull
from backend.schemas.api import Announcement, Append, ExperimentChange, Finish, Start
from backend.schemas.runs import RunStatus
from backend.settings import Settings
from backend.storage.tables import EXPERIMENTS
from tests.backend.samples import INFO, Clock, catalog, spec, updates

BAD = spec(problem={"name": "squeeze", "data": "nowhere"})


@pytest.fixture
def ready(services: Services) -> Services:
    """Register a worker, so that there is a catalog."""
    services.workers.register(Announcement(info=INFO, catalog=catalog()))
    return services


def test_launch_queues_every_run(ready: Services) -> None:
    """A comparison becomes one run per seed and optimizer, in this order, complete."""
    wanted = spec(seeds=[1, 2])
    made = ready.experiments.launch(wanted)
    assert [run.config for run in made.runs] == wanted.runs()
    assert {run.status for run in made.runs} == {RunStatus.QUEUED}
    assert {(run.experiment_id, run.experiment_name) for run in made.runs} == {(made.id, "sample")}
    assert made.spec == wanted
    assert ready.experiments.get(made.id) == made


def test_nothing_is_launched_before_a_worker_came(services: Services) -> None:
    """Without a catalog nothing can be checked or queued."""
    for verb in (services.experiments.launch, services.experiments.check):
        with pytest.raises(NoWorker, match="no worker has registered yet"):
            verb(spec())


def test_bad_input_queues_nothing(ready: Services) -> None:
    """A comparison that is refused leaves no trace."""
    for verb in (ready.experiments.launch, ready.experiments.check):
        with pytest.raises(InvalidInput, match=r"problem\.data"):
            verb(BAD)
    assert ready.experiments.list() == []
    assert ready.runs.list() == []


def test_check_queues_nothing(ready: Services) -> None:
    """A check returns what would be queued and stores nothing."""
    assert len(ready.experiments.check(spec()).runs) == 2
    assert ready.experiments.list() == []


def test_a_key_launches_once(ready: Services) -> None:
    """The same key with the same comparison returns what it queued, also when that could not be queued any more."""
    made = ready.experiments.launch(spec(), idempotency_key="k")
    ready.workers.register(Announcement(info=INFO, catalog=catalog(data=["other"])))
    assert ready.experiments.launch(spec(), idempotency_key="k") == made
    assert len(ready.experiments.list()) == 1


def test_a_key_is_for_one_comparison(ready: Services) -> None:
    """The same key with another comparison is refused."""
    ready.experiments.launch(spec(), idempotency_key="k")
    with pytest.raises(Conflict, match="the idempotency key k"):
        ready.experiments.launch(spec(name="another"), idempotency_key="k")
    ready.experiments.launch(spec(name="another"), idempotency_key="other")


def test_a_key_outlives_an_upgrade(ready: Services) -> None:
    """What was queued before a field came is the same comparison, written with the field's default."""
    made = ready.experiments.launch(spec(), idempotency_key="k")
    with ready.database.write() as connection:
        (text,) = connection.scalars(select(EXPERIMENTS.c.spec))
        before = orjson.loads(text)
        del before["precision"], before["optimizers"][0]["learning_rate"]
        connection.execute(update(EXPERIMENTS).values(spec=orjson.dumps(before).decode()))
    assert ready.experiments.launch(spec(), idempotency_key="k").id == made.id
    with pytest.raises(Conflict, match="the idempotency key k"):
        ready.experiments.launch(spec(name="another"), idempotency_key="k")


def test_a_key_launches_once_from_many_threads(ready: Services) -> None:
    """Requests with one key that arrive together queue one comparison."""
    with ThreadPoolExecutor(8) as pool:
        made = list(pool.map(lambda _: ready.experiments.launch(spec(), idempotency_key="k").id, range(16)))
    assert len(set(made)) == 1
    assert len(ready.experiments.list()) == 1


def test_the_queue_has_a_limit(settings: Settings, clock: Clock) -> None:
    """A comparison that does not fit into the queue is refused as a whole."""
    services = Services(settings.model_copy(update={"max_queued": 3}), clock=clock)
    services.workers.register(Announcement(info=INFO, catalog=catalog()))
    services.experiments.launch(spec())
    with pytest.raises(QueueFull, match="BLOCKHF_MAX_QUEUED"):
        services.experiments.launch(spec())
    assert len(services.runs.list()) == 2
    services.queue.cancel(services.runs.list()[0].id)
    services.experiments.launch(spec())
    services.close()


def test_experiments_are_listed_newest_first(ready: Services) -> None:
    """A list continues where the previous one ended."""
    made = [ready.experiments.launch(spec(name=f"number {i}")) for i in range(5)]
    first = ready.experiments.list(limit=2)
    second = ready.experiments.list(limit=10, before=first[-1].id)
    assert [*first, *second] == made[::-1]


def test_an_unknown_experiment_is_not_found(ready: Services) -> None:
    """The error names the requested ID."""
    with pytest.raises(NotFound, match="no experiment nowhere"):
        ready.experiments.get("nowhere")
    with pytest.raises(NotFound, match="no experiment nowhere"):
        ready.experiments.list(before="nowhere")


def test_name_note_and_tags_are_changed(ready: Services) -> None:
    """What is given is changed, what is left out stays, and the settings stay what was launched."""
    made = ready.experiments.launch(spec())
    body = ExperimentChange(name="Figure 2", note="one\n\ttwo <b>", tags=["paper", "a_b"])
    assert ready.experiments.change(made.id, body).runs[0].experiment_name == "Figure 2"
    changed = ready.experiments.change(made.id, ExperimentChange(archived=True))
    assert (changed.name, changed.note, changed.tags) == ("Figure 2", "one\n\ttwo <b>", ["paper", "a_b"])
    assert (changed.archived, changed.spec) == (True, spec())
    assert ready.experiments.change(made.id, ExperimentChange(note="", tags=[], archived=False)).tags == []
    assert ready.experiments.change(made.id, ExperimentChange()).name == "Figure 2"


def test_lists_are_by_tag_and_leave_out_what_is_put_away(ready: Services) -> None:
    """A tag must match exactly; archived and deleted experiments are listed on request, by separate filters."""
    first, second, third, fourth = (ready.experiments.launch(spec(name=f"number {i}")) for i in range(4))
    ready.experiments.change(first.id, ExperimentChange(tags=["a_b", "paper"]))
    ready.experiments.change(second.id, ExperimentChange(tags=["axb", "paper-2"], archived=True))
    ready.experiments.change(third.id, ExperimentChange(tags=["gone"]))
    ready.experiments.delete(third.id)

    def listed(**asked: object) -> list[str]:
        return [one.id for one in ready.experiments.list(**asked)]  # type: ignore[arg-type]

    assert listed() == [fourth.id, first.id]
    assert listed(archived=True) == [fourth.id, second.id, first.id]
    assert listed(archived=True, deleted=True) == [fourth.id, third.id, second.id, first.id]
    assert listed(tag="a_b", archived=True) == [first.id]
    assert listed(tag="paper", archived=True) == [first.id]
    assert listed(tag="pap") == []
    assert ready.experiments.tags() == ["a_b", "axb", "paper", "paper-2"]


def test_a_deletion_cancels_and_can_be_taken_back(ready: Services, clock: Clock) -> None:
    """What waits or rests ends at once, what trains by its next heartbeat, what has ended stays; no row is lost."""
    made = ready.experiments.launch(spec(seeds=[0, 1]))
    worker = ready.workers.register(Announcement(info=INFO, catalog=catalog())).worker_id
    ended, training = (ready.queue.claim(worker) for _ in range(2))
    assert ended is not None
    assert training is not None
    ready.queue.finish(ended.run.id, Finish(claim_number=ended.claim_number, status=RunStatus.FINISHED))
    ready.metrics.append(training.run.id, Append(claim_number=training.claim_number, rows=updates(1, 3)))
    ready.queue.pause(training.run.id)
    ready.queue.pause(made.runs[2].id)
    gone = ready.experiments.delete(made.id)
    assert gone.deleted_at is not None
    assert [run.status.value for run in gone.runs] == ["finished", "running", "cancelled", "cancelled"]
    assert ready.queue.heartbeat(training.run.id, training.claim_number).cancel
    assert {run.id for run in ready.runs.list()} == {training.run.id}
    ready.queue.finish(training.run.id, Finish(claim_number=training.claim_number, status=RunStatus.PAUSED))
    assert ready.runs.get(training.run.id).status is RunStatus.CANCELLED
    assert ready.queue.claim(worker) is None
    assert ready.runs.list() == []
    assert len(ready.runs.list(experiment=made.id)) == 4

    clock.now += 5
    assert ready.experiments.delete(made.id).deleted_at == gone.deleted_at
    with pytest.raises(Conflict, match="restore that first"):
        ready.queue.retry(training.run.id)
    with pytest.raises(Conflict, match="restore it before"):
        ready.experiments.change(made.id, ExperimentChange(name="b"))
    back = ready.experiments.restore(made.id)
    assert (back.deleted_at, back.runs[1].summary.updates) == (None, 3)
    assert ready.experiments.list() == [back]
    ready.queue.retry(training.run.id)
    again = ready.queue.claim(worker)
    assert again is not None
    ready.queue.start(again.run.id, Start(claim_number=again.claim_number, environment={}, blocks=[], parameters=1))


def test_a_run_whose_worker_is_lost_is_cancelled_at_once(ready: Services, clock: Clock) -> None:
    """Nobody would obey a request."""
    made = ready.experiments.launch(spec())
    worker = ready.workers.register(Announcement(info=INFO, catalog=catalog())).worker_id
    assert ready.queue.claim(worker) is not None
    clock.now += 1000
    assert {run.status for run in ready.experiments.delete(made.id).runs} == {RunStatus.CANCELLED}


def test_what_is_not_there_cannot_be_changed(ready: Services) -> None:
    """Each verb names the id."""
    for verb in (ready.experiments.delete, ready.experiments.restore):
        with pytest.raises(NotFound, match="no experiment nowhere"):
            verb("nowhere")
    with pytest.raises(NotFound, match="no experiment nowhere"):
        ready.experiments.change("nowhere", ExperimentChange())
