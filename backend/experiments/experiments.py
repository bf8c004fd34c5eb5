"""Comparisons: validated against the catalog, then queued completely or not at all."""

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, TypedDict, Unpack

import orjson
from sqlalchemy import Connection, Row, Select, insert, select, update

from backend.catalog.capabilities import check_device, check_optimizers, largest_memory
from backend.catalog.validation import plan
from backend.errors import Conflict, NotFound, NoWorker
from backend.queue.leases import cancel_experiment
from backend.queue.queue import check_queue_limit
from backend.queue.workers import Workers
from backend.schemas.api import ExperimentChange, ExperimentName, Plan, RunPlan
from backend.schemas.experiments import ExperimentSpec, StoredSpec
from backend.schemas.runs import Experiment, Run, RunStatus
from backend.settings import Settings
from backend.storage.database import Database
from backend.storage.ids import new_id
from backend.storage.run_rows import moment, select_runs, to_run
from backend.storage.tables import EXPERIMENTS, RUNS

_PAGE = 5
"""Number of experiments read at a time; each may have hundreds of runs."""


class ListFilter(TypedDict, total=False):
    """Which experiments to list.

    Attributes:
        limit: maximum number; default: 50.
        before: ID of an experiment; list only older ones.
        tag: list only experiments with this tag.
        search: list only experiments whose name contains this text, in any case.
        archived: whether to include archived experiments; default: no.
        deleted: whether to include deleted experiments; default: no.
    """

    limit: int
    before: str | None
    tag: str | None
    search: str | None
    archived: bool
    deleted: bool


class Experiments:
    """Named groups of runs on the same problem."""

    def __init__(
        self, database: Database, settings: Settings, workers: Workers, *, clock: Callable[[], float] = time.time
    ) -> None:
        self._database = database
        self._settings = settings
        self._workers = workers
        self._clock = clock

    def check(self, spec: ExperimentSpec) -> Plan:
        """Return the runs that a launch would queue; raises the same errors as `launch`."""
        return self._plan(spec)

    def launch(self, spec: ExperimentSpec, *, idempotency_key: str | None = None) -> Experiment:
        """Queue every run of a comparison. A key that was used before returns the experiment queued then.

        Raises:
            NoWorker: no worker has registered.
            InvalidInput: the comparison cannot be trained.
            QueueFull: too many runs are queued.
            Conflict: the key was used for another comparison.
        """
        earlier = self._find_earlier(spec, idempotency_key)
        if earlier is not None:
            return earlier
        planned = self._plan(spec)
        with self._database.write(exclusive=True) as connection:
            # Two requests with the same key may both reach this line.
            if (number := _queued_with_key(connection, spec, idempotency_key)) is None:
                check_queue_limit(connection, len(spec.seeds) * len(spec.optimizers), self._settings.max_queued)
                number = queue_runs(connection, spec, idempotency_key, self._clock(), planned)
            return _experiments(connection, [_row(connection, EXPERIMENTS.c.number == number)])[0]

    def get(self, experiment_id: str) -> Experiment:
        """Return one experiment with its runs, in the order of the queue."""
        with self._database.read() as connection:
            return _experiments(connection, [_row(connection, EXPERIMENTS.c.id == experiment_id, experiment_id)])[0]

    def list(self, **filters: Unpack[ListFilter]) -> Sequence[Experiment]:
        """Return the experiments that match the filters, newest first."""
        with self.each(**filters) as found:
            return list(found)

    @contextmanager
    def each(self, **filters: Unpack[ListFilter]) -> Iterator[Iterator[Experiment]]:
        """Open the result of `list` as an iterator over one consistent view, so that it need not fit into memory."""
        with self._database.read() as connection:
            rows = connection.execute(_listed(connection, select(EXPERIMENTS), filters)).all()
            yield (
                one
                for first in range(0, len(rows), _PAGE)
                for one in _experiments(connection, rows[first : first + _PAGE])
            )

    def names(self, **filters: Unpack[ListFilter]) -> Sequence[ExperimentName]:
        """Return what `list` returns, without the runs and the specifications, which can be large."""
        columns = (EXPERIMENTS.c[name] for name in ("id", "name", "created_at", "tags"))
        with self._database.read() as connection:
            rows = connection.execute(_listed(connection, select(*columns), filters)).all()
        return [
            ExperimentName(id=row.id, name=row.name, created_at=moment(row.created_at), tags=orjson.loads(row.tags))
            for row in rows
        ]

    def tags(self) -> Sequence[str]:
        """Return the tags of all experiments that are not deleted, in alphabetical order."""
        used = select(EXPERIMENTS.c.tags).where(EXPERIMENTS.c.deleted_at.is_(None), EXPERIMENTS.c.tags != "[]")
        with self._database.read() as connection:
            return sorted({tag for text in connection.scalars(used) for tag in orjson.loads(text)})

    def change(self, experiment_id: str, body: ExperimentChange) -> Experiment:
        """Change name, note, tags or archive status.

        Raises:
            Conflict: the experiment is deleted.
        """
        values = body.model_dump(exclude_none=True)
        if "tags" in values:
            values["tags"] = orjson.dumps(values["tags"]).decode()
        with self._database.write() as connection:
            if _row(connection, EXPERIMENTS.c.id == experiment_id, experiment_id).deleted_at is not None:
                raise Conflict(f"the experiment {experiment_id} is deleted: restore it before you change it")
            return _change(connection, experiment_id, values)

    def delete(self, experiment_id: str) -> Experiment:
        """Mark an experiment as deleted and cancel its queued, paused and running runs. No row is removed."""
        now = self._clock()
        with self._database.write(exclusive=True) as connection:  # exclusive, as a retry is
            row = _row(connection, EXPERIMENTS.c.id == experiment_id, experiment_id)
            cancel_experiment(connection, row.number, now)
            return _change(connection, experiment_id, {"deleted_at": row.deleted_at or now})

    def restore(self, experiment_id: str) -> Experiment:
        """Restore a deleted experiment. Runs that the deletion cancelled stay cancelled and can be retried.

        Raises:
            Conflict: a purge has started and may have removed rows.
        """
        here = EXPERIMENTS.c.id == experiment_id
        with self._database.write() as connection:
            _row(connection, here, experiment_id)
            back = update(EXPERIMENTS).where(here, ~EXPERIMENTS.c.purging).values(deleted_at=None)
            if not connection.execute(back).rowcount:
                raise Conflict(f"the experiment {experiment_id} is being purged and can no longer be restored")
            return _change(connection, experiment_id, {})

    def _plan(self, spec: ExperimentSpec) -> Plan:
        answer = self._workers.catalog()
        if answer.catalog is None:
            raise NoWorker(
                "no worker has registered yet, so nothing can be queued: start one (python -m worker) or wait a moment"
            )
        alive = [one.info for one in answer.workers if one.alive]
        check_device(spec.device, alive)
        check_optimizers(spec, alive)
        return plan(spec, answer.catalog, largest_memory(alive, spec.device))

    def _find_earlier(self, spec: ExperimentSpec, key: str | None) -> Experiment | None:
        with self._database.read() as connection:
            number = _queued_with_key(connection, spec, key)
            if number is None:
                return None
            return _experiments(connection, [_row(connection, EXPERIMENTS.c.number == number)])[0]


def _queued_with_key(connection: Connection, spec: ExperimentSpec, key: str | None) -> int | None:
    """Return the number of the experiment queued with this key; raise Conflict if its specification differs."""
    if key is None:
        return None
    row = connection.execute(select(EXPERIMENTS).where(EXPERIMENTS.c.idempotency_key == key)).one_or_none()
    if row is None:
        return None
    # Compare parsed specifications, because a newer version may have added fields with defaults.
    if (
        row.spec != spec.model_dump_json()
        and StoredSpec.model_validate_json(row.spec).model_dump() != spec.model_dump()
    ):
        raise Conflict(f"the idempotency key {key} was used for another comparison, {row.id}: use a new key")
    return int(row.number)


def queue_runs(
    connection: Connection, spec: ExperimentSpec, key: str | None, now: float, planned: Plan | None = None
) -> int:
    """Insert an experiment with its queued runs and their planned blocks; return its number."""
    values = {
        "id": new_id(),
        "name": spec.name,
        "spec": spec.model_dump_json(),
        "idempotency_key": key,
        "created_at": now,
        "schedule": spec.schedule,
        "device": spec.device,
    }
    inserted = connection.execute(insert(EXPERIMENTS).values(values).returning(EXPERIMENTS.c.number)).scalar_one()
    number = int(inserted)
    configs = spec.runs()
    plans: Sequence[RunPlan | None] = planned.runs if planned else [None] * len(configs)
    rows = [
        {
            "id": new_id(),
            "experiment": number,
            "problem": config.problem.name,
            "data": config.problem.data,
            "config": config.model_dump_json(),
            "status": RunStatus.QUEUED,
            "created_at": now,
            "blocks": orjson.dumps([block.layers for block in of_run.blocks] if of_run else []).decode(),
            "memory": of_run.memory if of_run else None,
        }
        for config, of_run in zip(configs, plans, strict=True)
    ]
    connection.execute(insert(RUNS), rows)
    return number


def _listed(connection: Connection, query: Select[Any], filters: ListFilter) -> Select[Any]:
    """Restrict a query to the experiments that match the filters, newest first."""
    query = query.order_by(EXPERIMENTS.c.number.desc()).limit(filters.get("limit", 50))
    if (tag := filters.get("tag")) is not None:
        query = query.where(EXPERIMENTS.c.tags.contains(f'"{tag}"', autoescape=True))
    if search := filters.get("search"):
        query = query.where(EXPERIMENTS.c.name.icontains(search, autoescape=True))
    if not filters.get("archived"):
        query = query.where(~EXPERIMENTS.c.archived)
    if not filters.get("deleted"):
        query = query.where(EXPERIMENTS.c.deleted_at.is_(None))
    if (before := filters.get("before")) is not None:
        query = query.where(EXPERIMENTS.c.number < _row(connection, EXPERIMENTS.c.id == before, before).number)
    return query


def _row(connection: Connection, where: Any, name: str = "") -> Row[Any]:
    row = connection.execute(select(EXPERIMENTS).where(where)).one_or_none()
    if row is None:
        raise NotFound(f"there is no experiment {name}")
    return row


def _change(connection: Connection, experiment_id: str, values: dict[str, Any]) -> Experiment:
    """Change columns of an experiment, if any, and return it."""
    here = EXPERIMENTS.c.id == experiment_id
    if values:
        connection.execute(update(EXPERIMENTS).where(here).values(values))
    return _experiments(connection, [_row(connection, here, experiment_id)])[0]


def _experiments(connection: Connection, rows: Sequence[Row[Any]]) -> list[Experiment]:
    numbers = [row.number for row in rows]
    of_all = connection.execute(select_runs().where(RUNS.c.experiment.in_(numbers)).order_by(RUNS.c.number))
    runs: dict[int, list[Run]] = {number: [] for number in numbers}
    for run in of_all:
        runs[run.experiment].append(to_run(run))
    return [
        Experiment(
            id=row.id,
            name=row.name,
            created_at=moment(row.created_at),
            spec=StoredSpec.model_validate_json(row.spec),
            runs=runs[row.number],
            note=row.note,
            tags=orjson.loads(row.tags),
            archived=row.archived,
            deleted_at=None if row.deleted_at is None else moment(row.deleted_at),
        )
        for row in rows
    ]
