"""Tests of the purge: what was deleted long ago goes with its rows, and nothing else does."""

from sqlalchemy import func, select

from backend.doctor import examine
from backend.retention import purge
from backend.schemas import Announcement, Append, Finish, RunStatus
from backend.settings import Settings
from backend.store import Store
from backend.tables import BLOCKS, UPDATES
from tests.backend.samples import INFO, Clock, catalog, spec, updates

DAY = 86_400


def test_only_what_was_deleted_long_ago_is_removed(store: Store, settings: Settings, clock: Clock) -> None:
    """A kept one, one deleted lately, and one whose run is still held stay; the rows of the purged one go with it."""
    worker = store.workers.register(Announcement(info=INFO, catalog=catalog())).worker_id
    old, held, late, kept = (store.experiments.launch(spec(name=name)) for name in ("old", "held", "late", "kept"))
    for _ in range(3):
        claim = store.queue.claim(worker)
        assert claim is not None
        store.metrics.append(claim.run.id, Append(token=claim.token, rows=updates(1, 4)))
        if claim.run.experiment_id == old.id:
            store.queue.finish(claim.run.id, Finish(token=claim.token, status=RunStatus.FINISHED))
    for one in (old, held):
        store.experiments.delete(one.id)
    clock.now += 30 * DAY
    store.experiments.delete(late.id)
    assert purge(settings, 31, clock=clock) == 0
    assert purge(settings, 30, clock=clock) == 1
    left = store.experiments.list(archived=True, deleted=True)
    assert [one.id for one in left] == [kept.id, late.id, held.id]
    with store.database.read() as connection:
        assert connection.scalar(select(func.count()).select_from(UPDATES)) == 4
        assert connection.scalar(select(func.count()).select_from(BLOCKS)) == 8
    assert examine(settings) == []
