"""Leases: a running run belongs to the token of its last claim; once its lease is over, the next claim may have it.

Token and lease stand in the run's row; each function is a part of a transaction of the queue.
"""

from typing import Any

from sqlalchemy import ColumnElement, Connection, and_, bindparam, case, or_, select, update

from backend.errors import LeaseLost
from backend.schemas.catalog import Catalog
from backend.schemas.runs import RunError, RunStatus, Summary
from backend.storage.run_rows import run_number
from backend.storage.tables import RUNS

_ASKED = ("number", "worker", "cancel_requested", "pause_requested", "begun", "checkpoint", "notes")
_HELD = and_(
    RUNS.c.id == bindparam("its_id"), RUNS.c.token == bindparam("its_token"), RUNS.c.status == RunStatus.RUNNING
)
_HOLD = select(*(RUNS.c[name] for name in (*_ASKED, *Summary.model_fields))).where(_HELD).with_for_update()


def hold(connection: Connection, run_id: str, token: int) -> Any:
    """Return the row of a run that this token holds (what is asked of it, checkpoint, summary), or raise LeaseLost."""
    row = connection.execute(_HOLD, {"its_id": run_id, "its_token": token}).one_or_none()
    if row is None:
        run_number(connection, run_id)
        raise LeaseLost(f"run {run_id} is not held by token {token}: it ended, or another worker has it; stop writing")
    return row


def claim_first(connection: Connection, worker_id: str, catalog: Catalog, now: float, until: float) -> Any:
    """Give a worker the first run in line of those that it can train, until then; return its row, or None."""
    known = and_(
        RUNS.c.problem.in_([problem.name for problem in catalog.problems]),
        RUNS.c.data.in_([data.name for data in catalog.data]),
    )
    free = or_(RUNS.c.status == RunStatus.QUEUED, lost(now))
    # skip_locked is PostgreSQL's; on SQLite the transaction has locked out every other writer.
    order = (RUNS.c.priority.desc(), RUNS.c.number)
    first = select(RUNS.c.number).where(free, known).order_by(*order).limit(1).with_for_update(skip_locked=True)
    claim = (
        update(RUNS)
        .where(RUNS.c.number == first.scalar_subquery())
        .values(
            status=RunStatus.RUNNING,
            token=RUNS.c.token + 1,
            attempts=RUNS.c.attempts + 1,
            stalled=case((RUNS.c.updates > RUNS.c.furthest, 1), else_=RUNS.c.stalled + 1),
            furthest=case((RUNS.c.updates > RUNS.c.furthest, RUNS.c.updates), else_=RUNS.c.furthest),
            worker=worker_id,
            lease_until=until,
            started_at=now,
        )
        .returning(RUNS.c.number, RUNS.c.id, RUNS.c.token, RUNS.c.checkpoint)
    )
    return connection.execute(claim).one_or_none()


def lost(now: float) -> ColumnElement[bool]:
    """Say of which runs the worker is lost: their lease is over."""
    return and_(RUNS.c.status == RunStatus.RUNNING, RUNS.c.lease_until < now)


def sweep_lost(connection: Connection, now: float, max_attempts: int) -> None:
    """End or pause the runs of lost workers that should, or that no attempt got any further with."""
    for asked, status in ((RUNS.c.cancel_requested, RunStatus.CANCELLED), (RUNS.c.pause_requested, RunStatus.PAUSED)):
        connection.execute(update(RUNS).where(lost(now), asked).values(ending(status, now, status.value)))
    reason = RunError(
        message=f"{max_attempts} workers in a row were lost while they trained this run, and none got further than "
        "the one before: it may need more memory than they have, or crash its process"
    )
    hopeless = and_(lost(now), RUNS.c.stalled >= max_attempts, RUNS.c.updates <= RUNS.c.furthest)
    failed = ending(RunStatus.FAILED, now, "attempts") | {"error": reason.model_dump_json()}
    connection.execute(update(RUNS).where(hopeless).values(failed))


def ending(status: RunStatus, now: float, ended_by: str) -> dict[str, Any]:
    """Return what a run's row takes when it ends, is laid down, or goes back in line."""
    values: dict[str, Any] = {"status": status, "ended_by": ended_by, "lease_until": None, "pause_requested": False}
    return values | {"finished_at": now if status.final else None}


def change(connection: Connection, number: int, **values: Any) -> None:
    """Write these values into a run's row."""
    connection.execute(update(RUNS).where(RUNS.c.number == number).values(values))
