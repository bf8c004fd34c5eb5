"""The worker's loop: claim a run, start it, watch it, note its end; no run's failure ends the loop."""

import logging
import threading
from dataclasses import replace

from backend.client import Client
from backend.errors import BackendUnavailable, BlockHFError, LeaseLost, NotFound
from backend.schemas.api import Claim, Registration
from backend.schemas.base import MAX_TRACEBACK
from backend.schemas.catalog import Catalog, WorkerInfo
from backend.schemas.runs import RunError, RunStatus
from backend.settings import Settings
from worker.agent.executor import ABANDONED, CHECKPOINTS, LEASE_LOST, SPOOL, TOLD, Engine, Execution, Exit, Task
from worker.agent.watchdog import Ending, Progress
from worker.checkpoints.files import Checkpoints
from worker.checkpoints.quota import remove_drafts
from worker.delivery.outbox import deliver_all
from worker.delivery.reporter import persist

log = logging.getLogger(__name__)

IDLE_SECONDS = 0.5
WATCH_SECONDS = 0.1
INTERRUPT_SECONDS = 2.0
KILL_SECONDS = 8.0
ABANDON_SECONDS = 3.0
PAUSE_SECONDS = 60.0
"""How long a pause waits for the end of an update, which would have to be done again."""


class Worker:
    """Claims runs from one backend and has an engine execute them, one at a time.

    Args:
        client: the backend.
        engine: where runs execute.
        info: who this worker is.
        catalog: what it can train.
        settings: the backend's address, where data sets and checkpoints lie, and how often to write those.
        stopped: ends the loop, and the current run, which is left to its lease.
    """

    def __init__(
        self,
        client: Client,
        engine: Engine,
        *,
        info: WorkerInfo,
        catalog: Catalog,
        settings: Settings,
        stopped: threading.Event,
    ) -> None:
        self._client = client
        self._engine = engine
        self._info = info
        self._catalog = catalog
        self._settings = settings
        self._home = settings.home.absolute()
        self._stopped = stopped
        self._registration: Registration | None = None

    def loop(self) -> None:
        """Iterate until stopped; wait a moment when there was nothing to do, or the backend is away."""
        remove_drafts(self._home / CHECKPOINTS)
        while not self._stopped.is_set():
            try:
                busy = self.iterate()
            except BackendUnavailable:  # logged where it was tried again; also raised when stopped
                busy = False
            except NotFound:
                log.warning("the backend does not know this worker any more; registering again")
                self._registration, busy = None, True
            except BlockHFError as error:
                log.error("the backend refuses: %s", error)
                busy = False
            except Exception:  # the lease gives the run to another worker, or to this one again
                log.exception("an error that nobody foresaw; the worker goes on")
                busy = False
            if not busy:
                self._stopped.wait(IDLE_SECONDS)

    def iterate(self) -> bool:
        """Register if need be, claim one run and see it through; return whether there was one.

        Raises:
            BackendUnavailable: the backend is away.
            NotFound: the backend does not know this worker.
        """
        registration = self._registered()
        persist(self._deliver, self._stopped)
        claim = self._claim(registration)
        if claim is None:
            return False
        log.info("run %s: claimed (%s, seed %d)", claim.run.id, claim.run.config.optimizer.kind, claim.run.config.seed)
        self._see_through(claim, registration)
        return True

    def _registered(self) -> Registration:
        if self._registration is None:
            self._registration = persist(lambda: self._client.register(self._info, self._catalog), self._stopped)
            log.info("registered as worker %s at %s", self._registration.worker_id, self._settings.api)
        return self._registration

    def _claim(self, registration: Registration) -> Claim | None:
        return persist(lambda: self._client.claim(registration.worker_id), self._stopped)

    def _see_through(self, claim: Claim, registration: Registration) -> None:
        """Start a run and watch it; when it ends without a word, note that on the run."""
        run_id = claim.run.id
        try:
            execution = self._engine.start(self._task(claim))
        except OSError as error:
            self._finish(claim, RunStatus.FAILED, error=RunError(message=f"the training process cannot start: {error}"))
            return
        with Pulse(self._client, claim, registration) as pulse:
            end = self._watch(execution, pulse, Progress(execution, self._settings.stall_timeout_seconds))
        gone = "ended, or is another worker's now" if pulse.lost.is_set() else end.reason
        log.info("run %s: %s", run_id, "ended" if end.code == TOLD else gone)
        if end.code in {TOLD, LEASE_LOST, ABANDONED} or pulse.lost.is_set() or self._stopped.is_set():
            return
        persist(self._deliver, self._stopped)
        if pulse.cancelled.is_set():
            self._finish(claim, RunStatus.CANCELLED, ended_by="cancelled; the training process had to be killed")
        elif pulse.paused.is_set():
            self._finish(claim, RunStatus.PAUSED, ended_by="paused; the training process had to be killed")
        else:
            self._finish(
                claim, RunStatus.FAILED, error=RunError(message=end.reason, traceback=end.output[-MAX_TRACEBACK:])
            )

    def _deliver(self) -> None:
        """Hand over what dead processes left, and clean up after those whose runs have finished."""

        def finished(run_id: str, token: int) -> None:
            Checkpoints(self._home / CHECKPOINTS, run_id, token, limit=0).finished()

        deliver_all(self._home / SPOOL, self._client, finished=finished)

    def _task(self, claim: Claim) -> Task:
        return Task(
            claim=claim,
            api=self._settings.api,
            home=self._home,
            checkpoint_seconds=self._settings.checkpoint_seconds,
            checkpoint_quota_bytes=self._settings.checkpoint_quota_bytes,
        )

    def _watch(self, execution: Execution, pulse: "Pulse", progress: Progress) -> Exit:
        """Wait for the end of a run; when it must end, ask more and more firmly; when it hangs, end it."""
        ending: Ending | None = None
        while (end := execution.wait(WATCH_SECONDS)) is None:
            if self._stopped.is_set() or pulse.lost.is_set():
                return _abandoned(execution)
            if pulse.cancelled.is_set() and (ending is None or ending.patience > INTERRUPT_SECONDS):
                execution.cancel()
                ending = Ending(INTERRUPT_SECONDS, KILL_SECONDS)
            elif pulse.paused.is_set() and ending is None:
                execution.pause()
                ending = Ending(PAUSE_SECONDS, PAUSE_SECONDS + KILL_SECONDS)
            if ending is not None:
                ending.insist(execution)
            elif reason := progress.hangs(WATCH_SECONDS):
                execution.kill()
                return replace(_abandoned(execution), reason=reason)
        return end

    def _finish(self, claim: Claim, status: RunStatus, *, ended_by: str = "", error: RunError | None = None) -> None:
        def send() -> None:
            self._client.finish(claim.run.id, claim.claim_number, status, ended_by=ended_by, error=error)

        try:
            persist(send, self._stopped)
        except LeaseLost:
            log.info("run %s: ended already", claim.run.id)


class Pulse:
    """Renews a run's lease from a thread, and learns there that the run was cancelled, paused or lost.

    Attributes:
        cancelled: a user wants the run to end.
        paused: a user wants the run to rest.
        lost: the run is not this worker's any more.
    """

    def __init__(self, client: Client, claim: Claim, registration: Registration) -> None:
        self.cancelled = threading.Event()
        self.paused = threading.Event()
        self.lost = threading.Event()
        self._client = client
        self._claim = claim
        self._seconds = registration.heartbeat_seconds
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._beat, name="pulse", daemon=True)

    def __enter__(self) -> "Pulse":
        self._thread.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self._over.set()
        self._thread.join(timeout=1)  # a heartbeat under way may wait for a backend that is away

    def _beat(self) -> None:
        while not self._over.wait(self._seconds) and not self.lost.is_set():
            try:
                wanted = self._client.heartbeat(self._claim.run.id, self._claim.claim_number)
                if wanted.cancel:
                    self.cancelled.set()
                if wanted.pause:
                    self.paused.set()
            except (LeaseLost, NotFound):
                self.lost.set()
            except Exception as error:  # the next one may go through
                log.warning("run %s: heartbeat failed: %s", self._claim.run.id, error)


def _abandoned(execution: Execution) -> Exit:
    """Make an execution end without a word to the backend, by force if it does not obey."""
    execution.abandon()
    end = execution.wait(ABANDON_SECONDS)
    while end is None:
        execution.kill()
        end = execution.wait(ABANDON_SECONDS)
    return end
