"""The queue, which is the runs table: claim, lease, fencing token, heartbeat, finish, cancel.

queued ──claim──► running ──finish──► finished | failed | cancelled
   │                │ ▲ └─ lease over: claim again (token + 1, from the beginning), or cancelled, or failed
   └─cancel─► cancelled
"""

import time
from collections.abc import Callable
from typing import Any

import orjson
from sqlalchemy import ColumnElement, Connection, and_, case, delete, null, or_, select, update

from backend.database import Database
from backend.errors import Conflict, LeaseLost
from backend.runs import get_run, run_number
from backend.schemas import Catalog, Claim, Finish, Run, RunError, RunStatus, Start, Summary
from backend.settings import Settings
from backend.tables import BLOCKS, RUNS, UPDATES
from backend.workers import see_worker

Clock = Callable[[], float]

_FRESH_SUMMARY: dict[str, Any] = {name: field.default for name, field in Summary.model_fields.items()}
_FINAL = [status for status in RunStatus if status.final]


class Queue:
    """Hands runs to workers; a run belongs to the token of its last claim, for as long as its lease is renewed."""

    def __init__(self, database: Database, settings: Settings, *, clock: Clock = time.time) -> None:
        self._database = database
        self._settings = settings
        self._clock = clock

    def claim(self, worker_id: str) -> Claim | None:
        """Give the oldest run that waits, or whose worker is lost, to a worker that can train it."""
        now = self._clock()
        with self._database.write() as connection:
            catalog = see_worker(connection, worker_id, now, every=self._settings.heartbeat_seconds)
            _sweep(connection, now, self._settings.max_attempts)
            claimed = connection.execute(_claim(worker_id, catalog, now, self._settings.lease_seconds)).one_or_none()
            if claimed is None:
                return None
            if claimed.attempts > 1:
                for table in (BLOCKS, UPDATES):
                    connection.execute(delete(table).where(table.c.run == claimed.number))
            return Claim(run=get_run(connection, claimed.id), token=claimed.token)

    def sweep(self) -> None:
        """End the runs of lost workers that were cancelled, or that no attempt got any further with."""
        with self._database.write() as connection:
            _sweep(connection, self._clock(), self._settings.max_attempts)

    def heartbeat(self, run_id: str, token: int) -> bool:
        """Renew the lease; return whether the user wants the run cancelled."""
        now = self._clock()
        with self._database.write() as connection:
            lease = hold(connection, run_id, token)
            see_worker(connection, lease.worker, now, every=self._settings.heartbeat_seconds)
            _set(connection, lease.number, lease_until=now + self._settings.lease_seconds)
            return bool(lease.cancel_requested)

    def start(self, run_id: str, body: Start) -> None:
        """Keep what the worker found out when it built the run."""
        with self._database.write() as connection:
            lease = hold(connection, run_id, body.token)
            _set(
                connection,
                lease.number,
                lease_until=self._clock() + self._settings.lease_seconds,
                environment=orjson.dumps(body.environment).decode(),
                blocks=orjson.dumps(body.blocks).decode(),
                parameters=body.parameters,
            )

    def finish(self, run_id: str, body: Finish) -> None:
        """End a run; saying the same again is fine."""
        with self._database.write() as connection:
            try:
                lease = hold(connection, run_id, body.token)
            except LeaseLost:
                ended = and_(RUNS.c.id == run_id, RUNS.c.token == body.token, RUNS.c.status == body.status)
                if connection.scalar(select(RUNS.c.number).where(ended)) is None:
                    raise
                return
            _set(
                connection,
                lease.number,
                **_end(body.status, self._clock(), body.ended_by),
                error=body.error.model_dump_json() if body.error else None,
            )

    def cancel(self, run_id: str) -> Run:
        """Cancel a run: at once where no worker holds it, else by its next heartbeat."""
        now = self._clock()
        with self._database.write() as connection:
            number = run_number(connection, run_id)
            row = connection.execute(select(RUNS.c.status, RUNS.c.lease_until).where(RUNS.c.number == number)).one()
            if row.status in {RunStatus.FINISHED, RunStatus.FAILED}:
                raise Conflict(f"run {run_id} has {row.status} already; it cannot be cancelled")
            if row.status == RunStatus.QUEUED or (row.status == RunStatus.RUNNING and row.lease_until < now):
                _set(connection, number, cancel_requested=True, **_end(RunStatus.CANCELLED, now, "cancelled"))
            elif row.status == RunStatus.RUNNING:
                _set(connection, number, cancel_requested=True)
            return get_run(connection, run_id)


def hold(connection: Connection, run_id: str, token: int) -> Any:
    """Return the row of a run that this token holds (number, worker, cancel_requested, summary), or raise LeaseLost."""
    held = and_(RUNS.c.id == run_id, RUNS.c.token == token, RUNS.c.status == RunStatus.RUNNING)
    columns = (RUNS.c.number, RUNS.c.worker, RUNS.c.cancel_requested, *(RUNS.c[name] for name in _FRESH_SUMMARY))
    row = connection.execute(select(*columns).where(held).with_for_update()).one_or_none()
    if row is None:
        run_number(connection, run_id)
        raise LeaseLost(f"run {run_id} is not held by token {token}: it ended, or another worker has it; stop writing")
    return row


def _claim(worker_id: str, catalog: Catalog, now: float, lease_seconds: float) -> Any:
    known = and_(
        RUNS.c.problem.in_([problem.name for problem in catalog.problems]),
        RUNS.c.data.in_([data.name for data in catalog.data]),
    )
    free = or_(RUNS.c.status == RunStatus.QUEUED, _lost(now))
    # skip_locked is PostgreSQL's; on SQLite the transaction has locked out every other writer.
    oldest = select(RUNS.c.number).where(free, known).order_by(RUNS.c.number).limit(1).with_for_update(skip_locked=True)
    return (
        update(RUNS)
        .where(RUNS.c.number == oldest.scalar_subquery())
        .values(
            status=RunStatus.RUNNING,
            token=RUNS.c.token + 1,
            attempts=RUNS.c.attempts + 1,
            stalled=case((RUNS.c.updates > RUNS.c.furthest, 1), else_=RUNS.c.stalled + 1),
            furthest=case((RUNS.c.updates > RUNS.c.furthest, RUNS.c.updates), else_=RUNS.c.furthest),
            worker=worker_id,
            lease_until=now + lease_seconds,
            started_at=now,
            environment="{}",
            blocks="[]",
            parameters=null(),
            **_FRESH_SUMMARY,
        )
        .returning(RUNS.c.number, RUNS.c.id, RUNS.c.token, RUNS.c.attempts)
    )


def _lost(now: float) -> ColumnElement[bool]:
    return and_(RUNS.c.status == RunStatus.RUNNING, RUNS.c.lease_until < now)


def _sweep(connection: Connection, now: float, max_attempts: int) -> None:
    cancelled = update(RUNS).where(_lost(now), RUNS.c.cancel_requested)
    connection.execute(cancelled.values(_end(RunStatus.CANCELLED, now, "cancelled")))
    reason = RunError(
        message=f"{max_attempts} workers in a row were lost while they trained this run, and none got further than "
        "the one before: it may need more memory than they have, or crash its process"
    )
    hopeless = and_(_lost(now), RUNS.c.stalled >= max_attempts, RUNS.c.updates <= RUNS.c.furthest)
    failed = _end(RunStatus.FAILED, now, "attempts") | {"error": reason.model_dump_json()}
    connection.execute(update(RUNS).where(hopeless).values(failed))


def _end(status: RunStatus, now: float, ended_by: str) -> dict[str, Any]:
    return {"status": status, "finished_at": now, "ended_by": ended_by, "lease_until": None}


def _set(connection: Connection, number: int, **values: Any) -> None:
    connection.execute(update(RUNS).where(RUNS.c.number == number).values(values))
