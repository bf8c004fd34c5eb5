"""Leases: a running run belongs to its last claim until the lease ends; then another worker can claim it.

Claim number and lease are columns of the run's row. Every function here runs within a transaction of the queue.
"""

from typing import Any

from sqlalchemy import ColumnElement, Connection, and_, bindparam, case, or_, select, update

from backend.errors import LeaseLost
from backend.schemas.runs import RunError, RunStatus, Summary
from backend.storage.run_rows import run_number
from backend.storage.tables import RUNS

_COLUMNS = ("number", "worker", "cancel_requested", "pause_requested", "started_claim", "checkpoint", "notes")
_CLAIMED = and_(
    RUNS.c.id == bindparam("run_id"),
    RUNS.c.claim_number == bindparam("given_claim"),
    RUNS.c.status == RunStatus.RUNNING,
)
_LOCK = select(*(RUNS.c[name] for name in (*_COLUMNS, *Summary.model_fields))).where(_CLAIMED).with_for_update()


def lock_claim(connection: Connection, run_id: str, claim_number: int) -> Any:
    """Lock the row of a run and return it: requests of the user, checkpoint, notes and summary.

    Raises:
        NotFound: there is no such run.
        LeaseLost: the run has ended, or this is not its last claim.
    """
    row = connection.execute(_LOCK, {"run_id": run_id, "given_claim": claim_number}).one_or_none()
    if row is None:
        run_number(connection, run_id)
        raise LeaseLost(
            f"run {run_id} no longer belongs to claim {claim_number}: it has ended, or another worker has claimed it; "
            "stop writing to it"
        )
    return row


def claim_first(connection: Connection, worker_id: str, allowed: ColumnElement[bool], now: float, until: float) -> Any:
    """Claim the first run in line that a worker may have.

    Args:
        connection: the transaction.
        worker_id: the worker.
        allowed: the condition on the run, see `Placement`.
        now: seconds since 1970.
        until: end of the lease, likewise.

    Returns:
        The claimed run's number, id, experiment, claim number and checkpoint; None if there is no such run.
    """
    free = or_(RUNS.c.status == RunStatus.QUEUED, lease_expired(now))
    # One statement finds and claims the run, so two workers cannot claim the same one. SQLite has one writer at a time;
    # on PostgreSQL skip_locked passes over a run that another claim has locked and not yet committed.
    order = (RUNS.c.priority.desc(), RUNS.c.number)
    first = select(RUNS.c.number).where(free, allowed).order_by(*order).limit(1).with_for_update(skip_locked=True)
    progress = RUNS.c.updates > RUNS.c.best_update
    claim = (
        update(RUNS)
        .where(RUNS.c.number == first.scalar_subquery())
        .values(
            status=RunStatus.RUNNING,
            claim_number=RUNS.c.claim_number + 1,
            claims=RUNS.c.claims + 1,
            claims_without_progress=case((progress, 1), else_=RUNS.c.claims_without_progress + 1),
            best_update=case((progress, RUNS.c.updates), else_=RUNS.c.best_update),
            worker=worker_id,
            lease_until=until,
            started_at=now,
        )
        .returning(RUNS.c.number, RUNS.c.id, RUNS.c.experiment, RUNS.c.claim_number, RUNS.c.checkpoint)
    )
    return connection.execute(claim).one_or_none()


def lease_expired(now: float) -> ColumnElement[bool]:
    """Return the condition that a run is running and its lease has expired."""
    return and_(RUNS.c.status == RunStatus.RUNNING, RUNS.c.lease_until < now)


def sweep_lost(connection: Connection, now: float, max_claims: int) -> None:
    """End or pause the runs with an expired lease that no worker should claim again.

    These are runs that the user wanted cancelled or paused, and runs with too many claims without progress.
    """
    # A cancel goes before a pause, and both before the limit on claims: the user's wish decides.
    for asked, status in ((RUNS.c.cancel_requested, RunStatus.CANCELLED), (RUNS.c.pause_requested, RunStatus.PAUSED)):
        connection.execute(update(RUNS).where(lease_expired(now), asked).values(ending(status, now, status.value)))
    reason = RunError(
        message=f"{max_claims} workers in a row were lost while they trained this run, and none got further than "
        "the one before: it may need more memory than they have, or crash its process"
    )
    stuck = and_(RUNS.c.claims_without_progress >= max_claims, RUNS.c.updates <= RUNS.c.best_update)
    failed = ending(RunStatus.FAILED, now, "attempts") | {"error": reason.model_dump_json()}
    connection.execute(update(RUNS).where(lease_expired(now), stuck).values(failed))


def ending(status: RunStatus, now: float, ended_by: str) -> dict[str, Any]:
    """Return the column values of a run that ends, pauses or is queued again."""
    values: dict[str, Any] = {"status": status, "ended_by": ended_by, "lease_until": None, "pause_requested": False}
    return values | {"finished_at": now if status.final else None}


def change(connection: Connection, number: int, **values: Any) -> None:
    """Write these values into a run's row."""
    connection.execute(update(RUNS).where(RUNS.c.number == number).values(values))


def cancel_experiment(connection: Connection, experiment: int, now: float) -> None:
    """Cancel an experiment's runs: immediately if no worker has them, otherwise with the worker's next heartbeat."""
    of_experiment = RUNS.c.experiment == experiment
    # On PostgreSQL neither update would see a claim that has not been committed; locking the rows waits for it.
    connection.execute(select(RUNS.c.number).where(of_experiment).order_by(RUNS.c.number).with_for_update())
    held = and_(RUNS.c.status == RunStatus.RUNNING, RUNS.c.lease_until >= now)
    free = or_(RUNS.c.status.in_([RunStatus.QUEUED, RunStatus.PAUSED]), lease_expired(now))
    asked = {"cancel_requested": True, "pause_requested": False}
    connection.execute(update(RUNS).where(of_experiment, held).values(asked))
    ended = asked | ending(RunStatus.CANCELLED, now, "deleted")
    connection.execute(update(RUNS).where(of_experiment, free).values(ended))
