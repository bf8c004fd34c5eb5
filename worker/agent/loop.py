"""The worker's loop: claim runs while a slot is free; execute, watch and end each in a thread of its own.

No failure of a run ends the loop, or another run.
"""

import logging
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import TypeVar

from backend.client import WorkerClient
from backend.errors import BackendUnavailable, BlockHFError, LeaseLost, NotFound
from backend.schemas.api import Claim, Registration
from backend.schemas.base import MAX_TRACEBACK
from backend.schemas.catalog import Catalog, WorkerInfo
from backend.schemas.runs import Checkpoint, RunError, RunStatus
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
from worker.agent.gate import Gate, Turn
from worker.agent.heartbeat import Heartbeat
from worker.agent.watchdog import Shutdown, StallDetector
from worker.checkpoints.files import Checkpoints
from worker.checkpoints.quota import remove_stale_drafts
from worker.delivery.outbox import deliver_all
from worker.delivery.reporter import retry_until_reachable
from worker.training import device

log = logging.getLogger(__name__)

T = TypeVar("T")

IDLE_SECONDS = 0.5
WATCH_SECONDS = 0.1
INTERRUPT_SECONDS = 2.0
KILL_SECONDS = 8.0
ABANDON_SECONDS = 3.0
STOP_SECONDS = 6.0
STOP_KILL_SECONDS = 9.0
"""How long a stop of the worker waits for an update's end, and for the run's return to the queue [s]. `blockhf up` and
container engines kill the worker after 15 s and 10 s."""
PAUSE_SECONDS = 60.0
"""How long a pause waits for the end of the current update [s]: an interrupted update must be computed again."""


class Worker:
    """Claims runs from one backend and executes up to `settings.slots` of them at once.

    The runs train in turns, see `Gate`.

    Args:
        client: the backend.
        executor: starts the runs.
        info: description of this worker.
        catalog: the problems and data sets that it can train.
        settings: the backend's address, the home folder, checkpoints and timeouts.
        stopped: ends the loop; the current runs save their states and return to the queue.
        gate: grants the time slices; None: one for the cores of this machine.
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
        gate: Gate | None = None,
    ) -> None:
        self._client = client
        self._executor = executor
        self._info = info
        self._catalog = catalog
        self._settings = settings
        self._home = settings.home.absolute()
        self._stopped = stopped
        self._gate = gate or Gate(device.cores())
        self._placed: list[str] = []
        self._placing = threading.Lock()
        self._delivering = threading.Lock()
        self._freed = threading.Event()
        self._registration: Registration | None = None

    def loop(self) -> None:
        """Claim until stopped; wait briefly when no slot is free, no run is queued, or the backend is unreachable."""
        remove_stale_drafts(self._home / CHECKPOINTS)
        threads: list[threading.Thread] = []
        while not self._stopped.is_set():
            self._freed.clear()
            threads = [thread for thread in threads if thread.is_alive()]
            if len(threads) < self._settings.slots and (claim := self._next_claim()) is not None:
                thread = threading.Thread(target=self._execute_safely, args=claim, name=f"run {claim[0].run.id}")
                thread.start()
                threads.append(thread)
            else:
                self._freed.wait(IDLE_SECONDS)
        for thread in threads:
            thread.join()

    def iterate(self) -> bool:
        """Do what the loop does for one run, in this thread: claim it and execute it to its end.

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
        self._execute(claim, registration)
        return True

    def _next_claim(self) -> tuple[Claim, Registration] | None:
        """Register if necessary, deliver what dead processes left, then claim a run; None if that failed."""
        try:
            registration = self._registered()
            self._retry(self._deliver)
            claim = self._claim(registration)
            return None if claim is None else (claim, registration)
        except BackendUnavailable:  # already logged by each retry; also raised when stopped
            pass
        except NotFound:
            log.warning("the backend does not know this worker; registering again")
            self._registration = None
            self._freed.set()
        except BlockHFError as error:
            log.error("backend refused: %s", error)
        except Exception:
            log.exception("unexpected error; worker continues")
        return None

    def _execute_safely(self, claim: Claim, registration: Registration) -> None:
        """Execute a run; log whatever goes wrong. The run is requeued then when its lease expires."""
        try:
            self._execute(claim, registration)
        except BackendUnavailable:  # as above
            pass
        except BlockHFError as error:
            log.error("run %s: backend refused: %s", claim.run.id, error)
        except Exception:
            log.exception("run %s: unexpected error; worker continues", claim.run.id)
        finally:
            self._freed.set()

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
        config = claim.run.config
        log.info("run %s: claimed (%s, seed %d)", claim.run.id, config.optimizer.kind, config.seed)
        with self._placed_on(config.device) as chosen:
            turn = self._gate.join(
                claim.run.experiment_id, device=chosen, threads=config.threads or self._info.threads,
                priority=claim.run.priority, by=claim.race_by,
            )  # fmt: skip
            try:
                self._execute_on(chosen, turn, claim, registration)
            finally:
                turn.leave()

    @contextmanager
    def _placed_on(self, name: str) -> Iterator[str]:
        """Choose the device of a run: with `auto` or `cuda` the GPU that has the fewest runs."""
        with self._placing:
            if self._info.gpus and name in {"auto", "cuda"}:
                name = min(self._info.gpus, key=self._placed.count)
            chosen = "cpu" if name == "auto" else name
            self._placed.append(chosen)
        try:
            yield chosen
        finally:
            with self._placing:
                self._placed.remove(chosen)

    def _execute_on(self, chosen: str, turn: Turn, claim: Claim, registration: Registration) -> None:
        run_id = claim.run.id
        with Heartbeat(self._client, claim, registration) as heartbeat:  # first: the first start takes seconds
            try:
                execution = self._executor.start(self._spec(claim, chosen), turn)
            except OSError as error:
                message = f"the training process cannot start: {error}"
                self._finish(claim, RunStatus.FAILED, error=RunError(message=message))
                return
            stalls = StallDetector(execution, self._settings.stall_timeout_seconds)
            end = self._watch(execution, turn, heartbeat, stalls)
        turn.leave()  # now, because what follows waits for the backend while other runs could train
        lost = heartbeat.lost.is_set()
        reason = "it ended, or another worker has it" if lost else end.reason
        log.info("run %s: %s", run_id, "ended" if end.code == EXIT_REPORTED else reason)
        stopped = self._stopped.is_set()
        if lost or end.code in {EXIT_REPORTED, EXIT_LEASE_LOST} or (end.code == EXIT_GAVE_UP and not stopped):
            return
        # It crashed or was killed. Deliver its last rows first: the backend accepts none after the end.
        self._retry(self._deliver)
        if heartbeat.cancelled.is_set():
            self._finish(claim, RunStatus.CANCELLED, ended_by="cancelled; the training process had to be killed")
        elif heartbeat.paused.is_set():
            self._finish(claim, RunStatus.PAUSED, ended_by="paused; the training process had to be killed")
        elif stopped:
            self._finish(claim, RunStatus.QUEUED)
        else:
            self._finish(
                claim, RunStatus.FAILED, error=RunError(message=end.reason, traceback=end.output[-MAX_TRACEBACK:])
            )

    def _deliver(self) -> None:
        """Deliver the outboxes of dead processes; remove the checkpoints of runs that have finished."""

        def remove_checkpoints(run_id: str, claim_number: int) -> None:
            Checkpoints(self._home / CHECKPOINTS, run_id, claim_number, limit=0).remove_all()

        def newest_checkpoint(run_id: str, claim_number: int, last_update: int) -> Checkpoint | None:
            return Checkpoints(self._home / CHECKPOINTS, run_id, claim_number, limit=0).newest(last_update)

        with self._delivering:  # another thread that delivers an outbox must have done so before its run is ended
            deliver_all(self._home / OUTBOXES, self._client, on_finished=remove_checkpoints, newest=newest_checkpoint)

    def _spec(self, claim: Claim, chosen: str) -> ExecutionSpec:
        return ExecutionSpec(
            claim=claim,
            api=self._settings.api,
            home=self._home,
            checkpoint_seconds=self._settings.checkpoint_seconds,
            checkpoint_quota_bytes=self._settings.checkpoint_quota_bytes,
            device=chosen,
        )

    def _watch(self, execution: Execution, turn: Turn, heartbeat: Heartbeat, stalls: StallDetector) -> Exit:
        """Wait for the end of a run; escalate its shutdown once it must end; kill it if it stalls."""
        shutdown: Shutdown | None = None
        while (end := execution.wait(WATCH_SECONDS)) is None:
            self._gate.grant_slices()
            if heartbeat.lost.is_set():
                return _abandoned(execution)
            if heartbeat.cancelled.is_set() and (shutdown is None or shutdown.patience > INTERRUPT_SECONDS):
                # A cancel also replaces a pause under way, which waits longer because its update counts.
                execution.cancel()
                shutdown = Shutdown(INTERRUPT_SECONDS, KILL_SECONDS)
            elif self._stopped.is_set() and (shutdown is None or shutdown.patience > STOP_SECONDS):
                execution.stop()
                shutdown = Shutdown(STOP_SECONDS, STOP_KILL_SECONDS)
            elif heartbeat.paused.is_set() and shutdown is None:
                execution.pause()
                shutdown = Shutdown(PAUSE_SECONDS, PAUSE_SECONDS + KILL_SECONDS)
            if shutdown is not None:
                shutdown.escalate(execution)
            elif reason := stalls.check(0 if turn.waiting else WATCH_SECONDS):
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
