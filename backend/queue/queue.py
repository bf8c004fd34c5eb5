"""The queue, which is the runs table: claim, lease, fencing token, heartbeat, finish; and what users ask of a run.

queued ──claim──► running ──finish──► finished | failed | cancelled | paused
 ▲ │ ▲              │ ▲ └─ lease over: claim again (token + 1), or cancelled, or paused, or failed
 │ │ └─retry── failed, cancelled
 │ ├─cancel─► cancelled
 │ └─pause──► paused ──cancel─► cancelled
 └──resume─────┘

A run that is claimed again goes on from its checkpoint where the worker has it: the start says from which update on.
"""

import time
from collections.abc import Callable, Sequence
from typing import Any

import orjson
from sqlalchemy import Connection, and_, func, null, or_, select, update

from backend.catalog.validation import resolve_blocks
from backend.errors import Conflict, FieldError, InvalidInput, LeaseLost, QueueFull
from backend.queue.leases import change, claim_first, ending, hold, lost, sweep_lost
from backend.queue.rollback import begin_again, rewind, with_note
from backend.queue.workers import see_worker
from backend.schemas.api import Claim, Finish, HeartbeatAnswer, Start
from backend.schemas.catalog import Catalog
from backend.schemas.runs import Checkpoint, Run, RunStatus
from backend.settings import Settings
from backend.storage.database import Database
from backend.storage.run_rows import get_run, run_number
from backend.storage.tables import EXPERIMENTS, RUNS

Clock = Callable[[], float]


class Queue:
    """Hands runs to workers; a run belongs to the token of its last claim, for as long as its lease is renewed."""

    def __init__(self, database: Database, settings: Settings, *, clock: Clock = time.time) -> None:
        self._database = database
        self._settings = settings
        self._clock = clock

    def claim(self, worker_id: str) -> Claim | None:
        """Give the first run in line that waits, or whose worker is lost, to a worker that can train it."""
        now = self._clock()
        with self._database.write() as connection:
            catalog = see_worker(connection, worker_id, now, every=self._settings.heartbeat_seconds)
            sweep_lost(connection, now, self._settings.max_attempts)
            claimed = claim_first(connection, worker_id, catalog, now, now + self._settings.lease_seconds)
            if claimed is None:
                return None
            if claimed.checkpoint is None:
                begin_again(connection, claimed.number)
            run = get_run(connection, claimed.id)
            return Claim(run=run if run.blocks else _with_blocks(run, catalog), token=claimed.token)

    def sweep(self) -> None:
        """End or pause the runs of lost workers that should, or that no attempt got any further with."""
        with self._database.write() as connection:
            sweep_lost(connection, self._clock(), self._settings.max_attempts)

    def forgive(self) -> None:
        """Renew every lease: while the backend was away nobody could. One of a clock that was ahead gets shorter."""
        until = self._clock() + self._settings.lease_seconds
        with self._database.write() as connection:
            connection.execute(update(RUNS).where(RUNS.c.status == RunStatus.RUNNING).values(lease_until=until))

    def heartbeat(self, run_id: str, token: int) -> HeartbeatAnswer:
        """Renew the lease; return what the user wants of the run."""
        now = self._clock()
        with self._database.write() as connection:
            lease = hold(connection, run_id, token)
            see_worker(connection, lease.worker, now, every=self._settings.heartbeat_seconds)
            change(connection, lease.number, lease_until=now + self._settings.lease_seconds)
            return HeartbeatAnswer(cancel=lease.cancel_requested, pause=lease.pause_requested)

    def run_states(self, run_ids: Sequence[str]) -> dict[str, RunStatus]:
        """Return the states of runs; unknown runs, and ended runs of deleted experiments, are omitted."""
        query = (
            select(RUNS.c.id, RUNS.c.status, EXPERIMENTS.c.deleted_at)
            .join(EXPERIMENTS, EXPERIMENTS.c.number == RUNS.c.experiment)
            .where(RUNS.c.id.in_(run_ids))
        )
        with self._database.read() as connection:
            found = [(row.id, RunStatus(row.status), row.deleted_at) for row in connection.execute(query)]
        return {run_id: status for run_id, status, deleted in found if deleted is None or not status.final}

    def start(self, run_id: str, body: Start) -> None:
        """Keep what the worker found out when it built the run, and drop the rows above the update it goes on after.

        A token's first start counts; a later one is a replay. Raises InvalidInput where that update is neither 0 nor
        the checkpoint's.
        """
        with self._database.write() as connection:
            lease = hold(connection, run_id, body.token)
            if lease.begun < body.token:
                _begin(connection, lease, body)
            change(
                connection,
                lease.number,
                lease_until=self._clock() + self._settings.lease_seconds,
                environment=orjson.dumps(body.environment).decode(),
                blocks=orjson.dumps(body.blocks).decode(),
                parameters=body.parameters,
            )

    def finish(self, run_id: str, body: Finish) -> None:
        """End a run, or lay it down; saying the same again is fine."""
        with self._database.write() as connection:
            try:
                lease = hold(connection, run_id, body.token)
            except LeaseLost:
                ended = and_(RUNS.c.id == run_id, RUNS.c.token == body.token, RUNS.c.status == body.status)
                if connection.scalar(select(RUNS.c.number).where(ended)) is None:
                    raise
                return
            status: RunStatus = body.status
            changed = lease.cancel_requested or not lease.pause_requested
            if status is RunStatus.PAUSED and changed:  # the user's mind, since the worker was told
                status = RunStatus.CANCELLED if lease.cancel_requested else RunStatus.QUEUED
            change(
                connection,
                lease.number,
                **ending(status, self._clock(), body.ended_by),
                error=body.error.model_dump_json() if body.error else None,
                weights=body.weights,
                **({"checkpoint": None} if status is RunStatus.FINISHED else {}),
            )

    def cancel(self, run_id: str) -> Run:
        """Cancel a run: at once where no worker holds it, else by its next heartbeat."""
        return self._stop(run_id, RunStatus.CANCELLED, {"cancel_requested": True})

    def pause(self, run_id: str) -> Run:
        """Pause a run: at once where no worker holds it, else by its next heartbeat."""
        return self._stop(run_id, RunStatus.PAUSED, {"pause_requested": True})

    def resume(self, run_id: str) -> Run:
        """Let a paused run wait for a worker again, or take a pause back that was not obeyed yet."""
        with self._database.write(alone=True) as connection:
            number, status, _ = _state(connection, run_id)
            if status.final:
                raise Conflict(f"run {run_id} has {status} already; only a paused run can be resumed")
            if status is RunStatus.PAUSED:
                check_room(connection, 1, self._settings.max_queued)
            again = {"status": RunStatus.QUEUED, "stalled": 0, "ended_by": ""} if status is RunStatus.PAUSED else {}
            change(connection, number, pause_requested=False, **again)
            return get_run(connection, run_id)

    def retry(self, run_id: str) -> Run:
        """Let a run that failed or was cancelled wait for a worker again; it goes on from its checkpoint."""
        with self._database.write(alone=True) as connection:
            number, status, _ = _state(connection, run_id)
            if _is_deleted(connection, number):
                raise Conflict(f"run {run_id} is of a comparison that was deleted; restore that first")
            if status in {RunStatus.FAILED, RunStatus.CANCELLED}:
                check_room(connection, 1, self._settings.max_queued)
                asked = {"cancel_requested": False, "pause_requested": False}
                ended = {"ended_by": "", "error": null(), "finished_at": null()}
                change(connection, number, status=RunStatus.QUEUED, stalled=0, furthest=0, **asked, **ended)
            elif status is not RunStatus.QUEUED:
                raise Conflict(f"run {run_id} is {status}; only a failed or a cancelled run can be tried again")
            return get_run(connection, run_id)

    def prioritize(self, run_id: str, priority: int) -> Run:
        """Move a run in line: higher goes first, and of equals the older."""
        with self._database.write() as connection:
            number, status, _ = _state(connection, run_id)
            if status.final:
                raise Conflict(f"run {run_id} has {status} already; it waits for nothing")
            change(connection, number, priority=priority)
            return get_run(connection, run_id)

    def _stop(self, run_id: str, to: RunStatus, asked: dict[str, bool]) -> Run:
        now = self._clock()
        with self._database.write() as connection:
            number, status, lease_until = _state(connection, run_id)
            if status in {RunStatus.FINISHED, RunStatus.FAILED} or (status.final and status is not to):
                raise Conflict(f"run {run_id} has {status} already; it cannot be {to}")
            if status is RunStatus.RUNNING and lease_until >= now:
                change(connection, number, **asked)
            elif status is not to:
                change(connection, number, **asked | ending(to, now, to.value))
            return get_run(connection, run_id)


def _state(connection: Connection, run_id: str) -> tuple[int, RunStatus, float]:
    """Return a run's number, status and lease."""
    number = run_number(connection, run_id)
    columns = (RUNS.c.status, RUNS.c.lease_until)
    row = connection.execute(select(*columns).where(RUNS.c.number == number).with_for_update()).one()
    return number, RunStatus(row.status), row.lease_until or 0


def _is_deleted(connection: Connection, number: int) -> bool:
    """Tell whether a run's experiment is marked as deleted."""
    its = and_(RUNS.c.number == number, RUNS.c.experiment == EXPERIMENTS.c.number)
    return connection.scalar(select(EXPERIMENTS.c.deleted_at).where(its)) is not None


def _with_blocks(run: Run, catalog: Catalog) -> Run:
    """Return a run with its blocks: version 0.1 queued runs without them."""
    try:
        blocks = resolve_blocks(run.config.optimizer, run.config.problem, catalog)
    except InvalidInput:  # the worker fails the run with the reason
        return run
    return run.model_copy(update={"blocks": blocks})


def _begin(connection: Connection, lease: Any, body: Start) -> None:
    kept = Checkpoint.model_validate_json(lease.checkpoint).update if lease.checkpoint else 0
    if body.resumed_from not in {0, kept}:
        limit = f"must be 0 or the checkpoint's update, {kept}"
        raise InvalidInput([FieldError("resumed_from", body.resumed_from, limit)])
    if body.resumed_from < lease.updates:
        rewind(connection, lease.number, body.resumed_from)
    values: dict[str, Any] = {"begun": body.token}
    if body.resumed_from == 0:
        values["checkpoint"] = None  # of a course that nobody follows any more
    if body.note:
        values["notes"] = with_note(lease.notes, body.note)
    change(connection, lease.number, **values)


def check_room(connection: Connection, count: int, most: int) -> None:
    """Raise QueueFull where so many runs more would be more than may wait."""
    waiting = connection.scalar(select(func.count()).where(RUNS.c.status == RunStatus.QUEUED)) or 0
    if waiting + count > most:
        raise QueueFull(
            f"{waiting} runs wait already; with {'one more' if count == 1 else f'these {count}'} there would be more "
            f"than {most}: cancel some, or wait"
        )


def cancel_experiment(connection: Connection, experiment: int, now: float) -> None:
    """Cancel an experiment's runs: at once where no worker holds them, else by its next heartbeat."""
    its = RUNS.c.experiment == experiment
    # On PostgreSQL a claim that has not committed would be missed by both: it is waited for.
    connection.execute(select(RUNS.c.number).where(its).order_by(RUNS.c.number).with_for_update())
    held = and_(RUNS.c.status == RunStatus.RUNNING, RUNS.c.lease_until >= now)
    free = or_(RUNS.c.status.in_([RunStatus.QUEUED, RunStatus.PAUSED]), lost(now))
    asked = {"cancel_requested": True, "pause_requested": False}
    connection.execute(update(RUNS).where(its, held).values(asked))
    ended = asked | ending(RunStatus.CANCELLED, now, "deleted")
    connection.execute(update(RUNS).where(its, free).values(ended))
