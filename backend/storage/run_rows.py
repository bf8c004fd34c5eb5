"""Reading runs: rows of the table as records of the schema."""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

import orjson
from sqlalchemy import Connection, Row, Select, or_, select

from backend.errors import NotFound
from backend.schemas.experiments import RunConfig
from backend.schemas.runs import Checkpoint, Run, RunError, RunStatus, Summary
from backend.storage.database import Database
from backend.storage.tables import EXPERIMENTS, RUNS

_SUMMARY = tuple(Summary.model_fields)


class Runs:
    """The runs in any state."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def get(self, run_id: str) -> Run:
        """Return one run.

        Raises:
            NotFound: there is no such run.
        """
        with self._database.read() as connection:
            return get_run(connection, run_id)

    def list(
        self,
        *,
        experiment: str | None = None,
        status: RunStatus | None = None,
        limit: int = 100,
        before: str | None = None,
    ) -> Sequence[Run]:
        """Return runs, newest first.

        Args:
            experiment: return only this experiment's runs. Without it, ended runs of deleted experiments are omitted.
            status: return only runs with this status.
            limit: maximum number of runs.
            before: return only runs older than this one.

        Raises:
            NotFound: there is no run `before`.
        """
        query = select_runs().order_by(RUNS.c.number.desc()).limit(limit)
        if experiment is not None:
            query = query.where(EXPERIMENTS.c.id == experiment)
        else:
            query = query.where(or_(EXPERIMENTS.c.deleted_at.is_(None), RUNS.c.status == RunStatus.RUNNING))
        if status is not None:
            query = query.where(RUNS.c.status == status)
        with self._database.read() as connection:
            if before is not None:
                query = query.where(RUNS.c.number < run_number(connection, before))
            return [to_run(row) for row in connection.execute(query)]


def run_number(connection: Connection, run_id: str) -> int:
    """Return the number of a run, its key in other tables.

    Raises:
        NotFound: there is no such run.
    """
    number: int | None = connection.scalar(select(RUNS.c.number).where(RUNS.c.id == run_id))
    if number is None:
        raise NotFound(f"there is no run {run_id}")
    return number


def get_run(connection: Connection, run_id: str) -> Run:
    """Return one run within a transaction.

    Raises:
        NotFound: there is no such run.
    """
    row = connection.execute(select_runs().where(RUNS.c.id == run_id)).one_or_none()
    if row is None:
        raise NotFound(f"there is no run {run_id}")
    return to_run(row)


def select_runs() -> Select[Any]:
    """Return a query of the rows that `to_run` reads."""
    return select(RUNS, EXPERIMENTS.c.id.label("experiment_id"), EXPERIMENTS.c.name.label("experiment_name")).join(
        EXPERIMENTS, EXPERIMENTS.c.number == RUNS.c.experiment
    )


def to_run(row: Row[Any]) -> Run:
    """Turn a row of `select_runs` into a record."""
    r = row._mapping
    return Run(
        id=r["id"],
        experiment_id=r["experiment_id"],
        experiment_name=r["experiment_name"],
        config=RunConfig.model_validate_json(r["config"]),
        status=RunStatus(r["status"]),
        cancel_requested=r["cancel_requested"],
        pause_requested=r["pause_requested"],
        priority=r["priority"],
        claims=r["claims"],
        created_at=moment(r["created_at"]),
        started_at=None if r["started_at"] is None else moment(r["started_at"]),
        finished_at=None if r["finished_at"] is None else moment(r["finished_at"]),
        ended_by=r["ended_by"],
        error=None if r["error"] is None else RunError.model_validate_json(r["error"]),
        worker_id=r["worker"],
        environment=orjson.loads(r["environment"]),
        blocks=orjson.loads(r["blocks"]),
        parameters=r["parameters"],
        checkpoint=None if r["checkpoint"] is None else Checkpoint.model_validate_json(r["checkpoint"]),
        notes=orjson.loads(r["notes"]),
        weights=r["weights"],
        summary=Summary(**{name: r[name] for name in _SUMMARY}),
    )


def moment(seconds: float) -> datetime:
    """Convert seconds since 1970 to a time in UTC."""
    return datetime.fromtimestamp(seconds, UTC)
