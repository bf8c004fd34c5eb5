"""Workers: what they announced, when each sent its last request, and the catalog of them all."""

import time
from collections.abc import Callable, Iterable
from typing import Any

from sqlalchemy import Connection, Row, delete, insert, select, update

from backend.catalog.validation import check_catalog
from backend.errors import NotFound
from backend.schemas.api import Announcement, CatalogAnswer, Registration, Worker
from backend.schemas.catalog import Catalog, DataSet, ProblemInfo, WorkerInfo
from backend.schemas.runs import RunStatus
from backend.settings import Settings
from backend.storage.database import Database
from backend.storage.ids import new_id
from backend.storage.run_rows import moment
from backend.storage.tables import RUNS, WORKERS

_DELETE_SECONDS = 24 * 3600
_MAX_SHOWN = 100


class Workers:
    """The workers that sent a heartbeat within the last day."""

    def __init__(self, database: Database, settings: Settings, *, clock: Callable[[], float] = time.time) -> None:
        self._database = database
        self._settings = settings
        self._clock = clock

    def register(self, body: Announcement) -> Registration:
        """Register a worker, and delete those without a heartbeat for a day.

        Raises:
            InvalidInput: its catalog is wrong.
        """
        check_catalog(body.catalog)
        now, worker_id = self._clock(), new_id()
        values = {
            "id": worker_id,
            "info": body.info.model_dump_json(),
            "catalog": body.catalog.model_dump_json(),
            "registered_at": now,
            "seen_at": now,
        }
        with self._database.write() as connection:
            holding = select(RUNS.c.worker).where(RUNS.c.status == RunStatus.RUNNING, RUNS.c.worker.is_not(None))
            old = WORKERS.c.seen_at < now - _DELETE_SECONDS
            connection.execute(delete(WORKERS).where(old, WORKERS.c.id.not_in(holding)))
            connection.execute(insert(WORKERS).values(values))
        return Registration(
            worker_id=worker_id,
            lease_seconds=self._settings.lease_seconds,
            heartbeat_seconds=self._settings.heartbeat_seconds,
        )

    def heartbeat(self, worker_id: str) -> None:
        """Record that an idle worker is alive."""
        with self._database.write() as connection:
            see_worker(connection, worker_id, self._clock(), every=self._settings.heartbeat_seconds)

    def catalog(self) -> CatalogAnswer:
        """Return the catalog and the workers, newest first."""
        now = self._clock()
        alive_since = now - self._settings.lease_seconds
        silent_since = now - max(self._settings.lease_seconds / 3, 2 * self._settings.heartbeat_seconds)
        # The limit omits lost workers first.
        query = select(WORKERS).order_by(WORKERS.c.seen_at.desc(), WORKERS.c.id).limit(_MAX_SHOWN)
        running = select(RUNS.c.worker, RUNS.c.id).where(RUNS.c.status == RunStatus.RUNNING).order_by(RUNS.c.number)
        held: dict[str, list[str]] = {}
        with self._database.read() as connection:
            rows = sorted(connection.execute(query), key=lambda row: (-row.registered_at, row.id))
            for row in connection.execute(running):
                held.setdefault(row.worker, []).append(row.id)
        workers = [
            Worker(
                id=row.id,
                info=WorkerInfo.model_validate_json(row.info),
                registered_at=moment(row.registered_at),
                seen_at=moment(row.seen_at),
                alive=row.seen_at >= alive_since,
                silent=row.seen_at < silent_since,
                run_id=next(iter(held.get(row.id, [])), None),
                run_ids=held.get(row.id, []),
            )
            for row in rows
        ]
        # If no worker is alive, the catalog of the newest one is what can be queued.
        texts = [row.catalog for row in rows if row.seen_at >= alive_since] or [row.catalog for row in rows[:1]]
        catalog = _union(Catalog.model_validate_json(text) for text in dict.fromkeys(texts)) if texts else None
        return CatalogAnswer(catalog=catalog, workers=workers)


def see_worker(connection: Connection, worker_id: str, now: float, *, every: float) -> Row[Any]:
    """Record that a worker is alive, writing at most twice per `every` seconds; return its row.

    Raises:
        NotFound: the worker is not registered.
    """
    row = connection.execute(select(WORKERS).where(WORKERS.c.id == worker_id)).first()
    if row is None:
        raise NotFound(f"worker {worker_id} is not registered: register again")
    if not row.seen_at <= now < row.seen_at + every / 2:
        connection.execute(update(WORKERS).where(WORKERS.c.id == worker_id).values(seen_at=now))
    return row


def announced_by(worker: Row[Any]) -> Announcement:
    """Return what a worker announced when it registered."""
    info, catalog = WorkerInfo.model_validate_json(worker.info), Catalog.model_validate_json(worker.catalog)
    return Announcement(info=info, catalog=catalog)


def _union(catalogs: Iterable[Catalog]) -> Catalog:
    """Merge catalogs, newest first; of two entries with the same name the newer one is used."""
    problems: dict[str, ProblemInfo] = {}
    data: dict[str, DataSet] = {}
    for catalog in catalogs:
        for problem in catalog.problems:
            problems.setdefault(problem.name, problem)
        for data_set in catalog.data:
            data.setdefault(data_set.name, data_set)
    return Catalog(problems=list(problems.values()), data=list(data.values()))
