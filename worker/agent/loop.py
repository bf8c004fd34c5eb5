"""The worker's loop: claim a run, execute it, watch it, report its end. No failure of a run ends the loop."""

import logging
import threading
from collections.abc import Callable
from dataclasses import replace
from typing import TypeVar

from backend.client import WorkerClient
from backend.errors import BackendUnavailable, BlockHFError, LeaseLost, NotFound
from backend.schemas.api import Claim, Registration
from backend.schemas.base import MAX_TRACEBACK
from backend.schemas.catalog import Catalog, WorkerInfo
from backend.schemas.runs import RunError, RunStatus
from backend.settings import Settings
from worker.agent.executor import (
    CHECKPOINTS,
    EXIT_GAVE_UP,
    EXIT_LEASE_LOST,
    EXIT_REPORTED,
    OUTBOXES,
    Execution,
    ExecutionSpec,
    Executor,
    Exit,
)
from worker.agent.heartbeat import Heartbeat
from worker.agent.watchdog import Shutdown, StallDetector
from worker.checkpoints.files import Checkpoints
from worker.checkpoints.quota import remove_stale_drafts
from worker.delivery.outbox import deliver_all
from worker.delivery.reporter import retry_until_reachable

log = logging.getLogger(__name__)

T = TypeVar("T")

IDLE_SECONDS = 0.5
WATCH_SECONDS = 0.1
INTERRUPT_SECONDS = 2.0
KILL_SECONDS = 8.0
ABANDON_SECONDS = 3.0
PAUSE_SECONDS = 60.0
"""How long a pause waits for the end of the current update [s]: an interrupted update must be computed again."""


class Worker:
    """Claims runs from one backend and executes them, one at a time.

    Args:
        client: the backend.
        executor: starts the runs.
        info: description of this worker.
        catalog: the problems and data sets that it can train.
        settings: the backend's address, the home folder, checkpoints and timeouts.
        stopped: ends the loop and the current run, which is requeued when its lease expires.
    """

    def __init__(
        self,
        client: WorkerClient,
        executor: Executor,
        *,
        info: WorkerInfo,
        catalog: Catalog,
        settings: Settings,
        stopped: threading.Event,
    ) -> None:
        self._client = client
        self._executor = executor
        self._info = info
        self._catalog = catalog
        self._settings = settings
        self._home = settings.home.absolute()
        self._stopped = stopped
        self._registration: Registration | None = None

    def loop(self) -> None:
        """Iterate until stopped; wait briefly when the queue is empty or the backend refused or is unreachable."""
        remove_stale_drafts(self._home / CHECKPOINTS)
        while not self._stopped.is_set():
            try:
                busy = self.iterate()
            except BackendUnavailable:  # already logged by each retry; also raised when stopped
                busy = False
            except NotFound:
                log.warning("the backend does not know this worker; registering again")
                self._registration, busy = None, True
            except BlockHFError as error:
                log.error("backend refused: %s", error)
                busy = False
            except Exception:  # the run is requeued when its lease expires
                log.exception("unexpected error; worker continues")
                busy = False
            if not busy:
                self._stopped.wait(IDLE_SECONDS)

    def iterate(self) -> bool:
        """Register if necessary, deliver what dead processes left, then claim and execute one run.

        Returns:
            Whether there was a run.

        Raises:
            BackendUnavailable: the worker was stopped while the backend was unreachable.
            NotFound: the backend does not know this worker.
        """
        registration = self._registered()
        self._retry(self._deliver)
        claim = self._claim(registration)
        if claim is None:
            return False
        log.info("run %s: claimed (%s, seed %d)", claim.run.id, claim.run.config.optimizer.kind, claim.run.config.seed)
        self._execute(claim, registration)
        return True

    def _registered(self) -> Registration:
        if self._registration is None:
            self._registration = self._retry(lambda: self._client.register(self._info, self._catalog))
            log.info("registered as worker %s at %s", self._registration.worker_id, self._settings.api)
        return self._registration

    def _retry(self, send: Callable[[], T]) -> T:
        return retry_until_reachable(send, self._stopped)

    def _claim(self, registration: Registration) -> Claim | None:
        return self._retry(lambda: self._client.claim(registration.worker_id))

    def _execute(self, claim: Claim, registration: Registration) -> None:
        """Execute a run; if it crashes, or has to be killed, report its end in its place."""
        run_id = claim.run.id
        try:
            execution = self._executor.start(self._spec(claim))
        except OSError as error:
            self._finish(claim, RunStatus.FAILED, error=RunError(message=f"the training process cannot start: {error}"))
            return
        with Heartbeat(self._client, claim, registration) as heartbeat:
            end = self._watch(execution, heartbeat, StallDetector(execution, self._settings.stall_timeout_seconds))
        lost = heartbeat.lost.is_set()
        reason = "it ended, or another worker has it" if lost else end.reason
        log.info("run %s: %s", run_id, "ended" if end.code == EXIT_REPORTED else reason)
        if lost or self._stopped.is_set() or end.code in {EXIT_REPORTED, EXIT_LEASE_LOST, EXIT_GAVE_UP}:
            return
        # It crashed. Deliver its last rows first: the backend accepts none after the end.
        self._retry(self._deliver)
        if heartbeat.cancelled.is_set():
            self._finish(claim, RunStatus.CANCELLED, ended_by="cancelled; the training process had to be killed")
        elif heartbeat.paused.is_set():
            self._finish(claim, RunStatus.PAUSED, ended_by="paused; the training process had to be killed")
        else:
            self._finish(
                claim, RunStatus.FAILED, error=RunError(message=end.reason, traceback=end.output[-MAX_TRACEBACK:])
            )

    def _deliver(self) -> None:
        """Deliver the outboxes of dead processes; remove the checkpoints of runs that have finished."""

        def remove_checkpoints(run_id: str, claim_number: int) -> None:
            Checkpoints(self._home / CHECKPOINTS, run_id, claim_number, limit=0).remove_all()

        deliver_all(self._home / OUTBOXES, self._client, on_finished=remove_checkpoints)

    def _spec(self, claim: Claim) -> ExecutionSpec:
        return ExecutionSpec(
            claim=claim,
            api=self._settings.api,
            home=self._home,
            checkpoint_seconds=self._settings.checkpoint_seconds,
            checkpoint_quota_bytes=self._settings.checkpoint_quota_bytes,
        )

    def _watch(self, execution: Execution, heartbeat: Heartbeat, stalls: StallDetector) -> Exit:
        """Wait for the end of a run; escalate its shutdown once it must end; kill it if it stalls."""
        shutdown: Shutdown | None = None
        while (end := execution.wait(WATCH_SECONDS)) is None:
            if self._stopped.is_set() or heartbeat.lost.is_set():
                return _abandoned(execution)
            if heartbeat.cancelled.is_set() and (shutdown is None or shutdown.patience > INTERRUPT_SECONDS):
                # A cancel also replaces a pause under way, which waits longer because its update counts.
                execution.cancel()
                shutdown = Shutdown(INTERRUPT_SECONDS, KILL_SECONDS)
            elif heartbeat.paused.is_set() and shutdown is None:
                execution.pause()
                shutdown = Shutdown(PAUSE_SECONDS, PAUSE_SECONDS + KILL_SECONDS)
            if shutdown is not None:
                shutdown.escalate(execution)
            elif reason := stalls.check(WATCH_SECONDS):
                execution.kill()
                return replace(_abandoned(execution), reason=reason)
        return end

    def _finish(self, claim: Claim, status: RunStatus, *, ended_by: str = "", error: RunError | None = None) -> None:
        def send() -> None:
            self._client.finish(claim.run.id, claim.claim_number, status, ended_by=ended_by, error=error)

        try:
            self._retry(send)
        except LeaseLost:
            log.info("run %s: already ended", claim.run.id)


def _abandoned(execution: Execution) -> Exit:
    """Make an execution end without a report to the backend; kill it if it does not react."""
    execution.abandon()
    end = execution.wait(ABANDON_SECONDS)
    while end is None:
        execution.kill()
        end = execution.wait(ABANDON_SECONDS)
    return end
