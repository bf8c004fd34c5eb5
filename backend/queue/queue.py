"""The queue is the table of runs. Workers claim runs and report them; users cancel, pause, resume, retry, prioritize.

State of the run   queued     running             paused     finished   failed     cancelled
-----------------  ---------  ------------------  ---------  ---------  ---------  ---------
claim              running    running (1)         -          -          -          -
heartbeat          LeaseLost  renews the lease    LeaseLost  LeaseLost  LeaseLost  LeaseLost
finish, status S   LeaseLost  S (2)               (3)        (3)        (3)        (3)
lease expiry       -          (4)                 -          -          -          -
cancel             cancelled  on request (5)      cancelled  Conflict   Conflict   no change
pause              paused     on request (5)      no change  Conflict   Conflict   Conflict
resume             no change  withdraws a pause   queued     Conflict   Conflict   Conflict
retry (6)          no change  Conflict            Conflict   Conflict   queued     queued
prioritize         moves it   no effect yet       moves it   Conflict   Conflict   Conflict

1. Once the lease has expired. The claim number grows by 1, so the calls of the worker before get LeaseLost.
2. S is finished, failed, cancelled, paused or queued. `paused` becomes cancelled if the user wants that by now, and
   queued if the user has withdrawn the pause. `queued` hands the run back, because the worker stops; it becomes
   cancelled or paused if the user wants that by now.
3. No change if the same claim has reported the same status already, otherwise LeaseLost.
4. Cancelled or paused if the user wants that; failed after too many claims without progress; otherwise the run stays
   running until the next claim.
5. The worker learns it from its next heartbeat, and finishes the run. Once the lease has expired the change is
   immediate.
6. Conflict in every state if the run's experiment is deleted.

A run that is claimed again continues from its checkpoint if the worker has that file, otherwise from its beginning.
"""

import time
from collections.abc import Callable, Sequence
from typing import Any

import orjson
from sqlalchemy import Connection, and_, func, null, select, update

from backend.catalog.validation import resolve_blocks
from backend.errors import Conflict, FieldError, InvalidInput, LeaseLost, QueueFull
from backend.queue.leases import change, claim_first, ending, lock_claim, sweep_lost
from backend.queue.placement import Placement
from backend.queue.rollback import restart_from_zero, roll_back, with_note
from backend.queue.workers import announced_by, see_worker
from backend.schemas.api import Claim, Finish, HeartbeatAnswer, Start
from backend.schemas.catalog import Catalog
from backend.schemas.runs import Checkpoint, Run, RunStatus
from backend.settings import Settings
from backend.storage.database import Database
from backend.storage.run_rows import get_run, run_number
from backend.storage.tables import EXPERIMENTS, RUNS

Clock = Callable[[], float]


class _DeviceTaken(Exception):
    """A claim meanwhile placed the comparison on another kind of device; this one is rolled back."""


class Queue:
    """Hands runs to workers. A run belongs to its last claim for as long as the lease is renewed."""

    def __init__(self, database: Database, settings: Settings, *, clock: Clock = time.time) -> None:
        self._database = database
        self._settings = settings
        self._clock = clock

    def claim(self, worker_id: str) -> Claim | None:
        """Claim the first run in line that the worker may have: a queued one, or one with an expired lease.

        Runs of one comparison follow each other in the queue, so a worker with free slots gets them all, and races
        them. See `Placement` for what a worker may have.

        Raises:
            NotFound: the worker is not registered.
        """
        while True:
            try:
                return self._claim(worker_id)
            except _DeviceTaken:
                continue

    def _claim(self, worker_id: str) -> Claim | None:
        now, lease = self._clock(), self._settings.lease_seconds
        with self._database.write() as connection:
            worker = see_worker(connection, worker_id, now, every=self._settings.heartbeat_seconds)
            announced = announced_by(worker)
            sweep_lost(connection, now, self._settings.max_claims_without_progress)
            placement = Placement(connection, worker_id, announced, now, now - lease)
            claimed = claim_first(connection, worker_id, placement.allowed(), now, now + lease)
            if claimed is None:
                return None
            experiment = connection.execute(select(EXPERIMENTS).where(EXPERIMENTS.c.number == claimed.experiment)).one()
            if not placement.settle_device(experiment):
                raise _DeviceTaken
            if claimed.checkpoint is None:
                restart_from_zero(connection, claimed.number)
            run = get_run(connection, claimed.id)
            return Claim(
                run=run if run.blocks else _with_blocks(run, announced.catalog),
                claim_number=claimed.claim_number,
                schedule=experiment.schedule,
                race_by=orjson.loads(experiment.spec).get("race_by", "updates"),
            )

    def sweep(self) -> None:
        """End or pause the runs with an expired lease that no worker should claim again."""
        with self._database.write() as connection:
            sweep_lost(connection, self._clock(), self._settings.max_claims_without_progress)

    def renew_all_leases(self) -> None:
        """Renew every lease after a restart: no worker could do so meanwhile. One that is too long gets shorter."""
        until = self._clock() + self._settings.lease_seconds
        with self._database.write() as connection:
            connection.execute(update(RUNS).where(RUNS.c.status == RunStatus.RUNNING).values(lease_until=until))

    def heartbeat(self, run_id: str, claim_number: int) -> HeartbeatAnswer:
        """Renew the lease; return whether the user wants the run cancelled or paused.

        Raises:
            LeaseLost: the run has ended, or another worker has claimed it.
        """
        now = self._clock()
        with self._database.write() as connection:
            lease = lock_claim(connection, run_id, claim_number)
            see_worker(connection, lease.worker, now, every=self._settings.heartbeat_seconds)
            change(connection, lease.number, lease_until=now + self._settings.lease_seconds)
            return HeartbeatAnswer(cancel=lease.cancel_requested, pause=lease.pause_requested)

    def run_states(self, run_ids: Sequence[str]) -> dict[str, RunStatus]:
        """Return the status of each run; omit unknown runs, and ended runs of deleted experiments."""
        query = (
            select(RUNS.c.id, RUNS.c.status, EXPERIMENTS.c.deleted_at)
            .join(EXPERIMENTS, EXPERIMENTS.c.number == RUNS.c.experiment)
            .where(RUNS.c.id.in_(run_ids))
        )
        with self._database.read() as connection:
            found = [(row.id, RunStatus(row.status), row.deleted_at) for row in connection.execute(query)]
        return {run_id: status for run_id, status, deleted in found if deleted is None or not status.final}

    def start(self, run_id: str, body: Start) -> None:
        """Store what the worker reports of the run it has built, and drop the rows after `resumed_from`.

        Rows are dropped at the first start of a claim only: a second one is a repeated request.

        Raises:
            InvalidInput: `resumed_from` is neither 0 nor the checkpoint's update.
            LeaseLost: the run has ended, or another worker has claimed it.
        """
        with self._database.write() as connection:
            lease = lock_claim(connection, run_id, body.claim_number)
            if lease.started_claim < body.claim_number:
                _start(connection, lease, body)
            change(
                connection,
                lease.number,
                lease_until=self._clock() + self._settings.lease_seconds,
                environment=orjson.dumps(body.environment).decode(),
                blocks=orjson.dumps(body.blocks).decode(),
                parameters=body.parameters,
            )

    def finish(self, run_id: str, body: Finish) -> None:
        """Finish or pause a run, or hand it back to the queue. Idempotent.

        Raises:
            LeaseLost: the run has ended otherwise, or another worker has claimed it.
        """
        with self._database.write() as connection:
            try:
                lease = lock_claim(connection, run_id, body.claim_number)
            except LeaseLost:
                ended = and_(
                    RUNS.c.id == run_id, RUNS.c.claim_number == body.claim_number, RUNS.c.status == body.status
                )
                if connection.scalar(select(RUNS.c.number).where(ended)) is None:
                    raise
                return
            status: RunStatus = body.status
            changed = lease.cancel_requested or not lease.pause_requested
            if status is RunStatus.PAUSED and changed:  # the user changed it after the last heartbeat
                status = RunStatus.CANCELLED if lease.cancel_requested else RunStatus.QUEUED
            values: dict[str, Any] = {}
            if body.status is RunStatus.QUEUED:
                values["claims_without_progress"] = 0  # the worker was not lost
                if lease.cancel_requested or lease.pause_requested:
                    status = RunStatus.CANCELLED if lease.cancel_requested else RunStatus.PAUSED
            if status is RunStatus.FINISHED and body.weights:
                values["checkpoint"] = None  # without weights the last checkpoint is all that is left of the training
            if body.note:
                values["notes"] = with_note(lease.notes, body.note)
            change(
                connection,
                lease.number,
                **ending(status, self._clock(), body.ended_by),
                error=body.error.model_dump_json() if body.error else None,
                weights=body.weights,
                **values,
            )

    def cancel(self, run_id: str) -> Run:
        """Cancel a run: immediately if no worker has it, otherwise with the worker's next heartbeat.

        Raises:
            Conflict: it has ended otherwise.
        """
        return self._stop(run_id, RunStatus.CANCELLED, {"cancel_requested": True})

    def pause(self, run_id: str) -> Run:
        """Pause a run: immediately if no worker has it, otherwise with the worker's next heartbeat.

        Raises:
            Conflict: it has ended otherwise.
        """
        return self._stop(run_id, RunStatus.PAUSED, {"pause_requested": True})

    def resume(self, run_id: str) -> Run:
        """Queue a paused run again, or withdraw a pause that the worker has not carried out yet.

        Raises:
            Conflict: it has ended.
            QueueFull: too many runs are queued.
        """
        with self._database.write(exclusive=True) as connection:
            number, status, _ = _state(connection, run_id)
            if status.final:
                raise Conflict(f"run {run_id} is {status}; only a paused run can be resumed")
            if status is RunStatus.PAUSED:
                check_queue_limit(connection, 1, self._settings.max_queued)
            again = (
                {"status": RunStatus.QUEUED, "claims_without_progress": 0, "ended_by": ""}
                if status is RunStatus.PAUSED
                else {}
            )
            change(connection, number, pause_requested=False, **again)
            return get_run(connection, run_id)

    def retry(self, run_id: str) -> Run:
        """Queue a failed or cancelled run again; it continues from its checkpoint.

        Raises:
            Conflict: it neither failed nor was cancelled, or its experiment is deleted.
            QueueFull: too many runs are queued.
        """
        with self._database.write(exclusive=True) as connection:
            number, status, _ = _state(connection, run_id)
            if _is_deleted(connection, number):
                raise Conflict(f"run {run_id} belongs to a deleted comparison; restore that first")
            if status in {RunStatus.FAILED, RunStatus.CANCELLED}:
                check_queue_limit(connection, 1, self._settings.max_queued)
                asked = {"cancel_requested": False, "pause_requested": False}
                ended = {"ended_by": "", "error": null(), "finished_at": null()}
                change(
                    connection,
                    number,
                    status=RunStatus.QUEUED,
                    claims_without_progress=0,
                    best_update=0,
                    **asked,
                    **ended,
                )
            elif status is not RunStatus.QUEUED:
                raise Conflict(f"run {run_id} is {status}; only a failed or cancelled run can be retried")
            return get_run(connection, run_id)

    def prioritize(self, run_id: str, priority: int) -> Run:
        """Set a run's priority: higher goes first, and of equal ones the older run.

        Raises:
            Conflict: it has ended.
        """
        with self._database.write() as connection:
            number, status, _ = _state(connection, run_id)
            if status.final:
                raise Conflict(f"run {run_id} is {status}; its priority cannot be changed")
            change(connection, number, priority=priority)
            return get_run(connection, run_id)

    def _stop(self, run_id: str, to: RunStatus, asked: dict[str, bool]) -> Run:
        now = self._clock()
        with self._database.write() as connection:
            number, status, lease_until = _state(connection, run_id)
            if status in {RunStatus.FINISHED, RunStatus.FAILED} or (status.final and status is not to):
                raise Conflict(f"run {run_id} is {status}; it cannot be {to}")
            if status is RunStatus.RUNNING and lease_until >= now:
                change(connection, number, **asked)
            elif status is not to:
                change(connection, number, **asked | ending(to, now, to.value))
            return get_run(connection, run_id)


def _state(connection: Connection, run_id: str) -> tuple[int, RunStatus, float]:
    """Lock a run's row; return its number, its status and the end of its lease."""
    number = run_number(connection, run_id)
    columns = (RUNS.c.status, RUNS.c.lease_until)
    row = connection.execute(select(*columns).where(RUNS.c.number == number).with_for_update()).one()
    return number, RunStatus(row.status), row.lease_until or 0


def _is_deleted(connection: Connection, number: int) -> bool:
    """Return whether a run's experiment is deleted."""
    of_run = and_(RUNS.c.number == number, RUNS.c.experiment == EXPERIMENTS.c.number)
    return connection.scalar(select(EXPERIMENTS.c.deleted_at).where(of_run)) is not None


def _with_blocks(run: Run, catalog: Catalog) -> Run:
    """Return a run with its blocks: version 0.1 queued runs without them."""
    try:
        blocks = resolve_blocks(run.config.optimizer, run.config.problem, catalog)
    except InvalidInput:  # the worker fails the run with the reason
        return run
    return run.model_copy(update={"blocks": blocks})


def _start(connection: Connection, lease: Any, body: Start) -> None:
    saved = Checkpoint.model_validate_json(lease.checkpoint).update if lease.checkpoint else 0
    if body.resumed_from not in {0, saved}:
        limit = f"must be 0 or the checkpoint's update, {saved}"
        raise InvalidInput([FieldError("resumed_from", body.resumed_from, limit)])
    if body.resumed_from < lease.updates:
        roll_back(connection, lease.number, body.resumed_from)
    values: dict[str, Any] = {"started_claim": body.claim_number}
    if body.resumed_from == 0:
        values["checkpoint"] = None  # it is of the history that is dropped here
    if body.note:
        values["notes"] = with_note(lease.notes, body.note)
    change(connection, lease.number, **values)


def check_queue_limit(connection: Connection, count: int, limit: int) -> None:
    """Raise QueueFull if `count` more runs would exceed the limit on queued runs."""
    waiting = connection.scalar(select(func.count()).where(RUNS.c.status == RunStatus.QUEUED)) or 0
    if waiting + count > limit:
        raise QueueFull(
            f"{waiting} runs are queued, and {count} more would exceed the limit of {limit} (BLOCKHF_MAX_QUEUED): "
            "cancel some, or try again later"
        )
