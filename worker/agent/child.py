"""A training process: trains the run that the worker sends, and reports it."""

import logging
import os
import signal
import sys
import threading
import traceback
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from types import FrameType
from typing import TextIO

from backend.client import WorkerClient
from backend.errors import BlockHFError, InvalidInput, LeaseLost, RunFailed
from backend.schemas.base import MAX_TRACEBACK
from backend.schemas.runs import RunError, RunStatus
from backend.settings import Settings
from worker.agent.executor import EXIT_GAVE_UP, EXIT_LEASE_LOST, EXIT_REPORTED, ExecutionSpec
from worker.agent.slices import GRANT, Slices
from worker.checkpoints.files import Checkpoints
from worker.checkpoints.policy import DiskCheckpointPolicy
from worker.delivery.outbox import Outbox
from worker.delivery.reporter import Reporter
from worker.problems.registry import discover
from worker.training import device
from worker.training.trainer import train

log = logging.getLogger(__name__)

MESSAGE_CHARACTERS = 2000


class Interrupted(BaseException):
    """The current update must end at once. Not an Exception, so that no handler of errors in a network catches it."""


@dataclass
class Signals:
    """What the user asks of the run, as the worker passes it on; and whether the worker stops."""

    cancelled: threading.Event = field(default_factory=threading.Event)
    paused: threading.Event = field(default_factory=threading.Event)
    stopped: threading.Event = field(default_factory=threading.Event)
    _answered: threading.Event = field(default_factory=threading.Event)

    def receive(self, line: str) -> None:
        """Set the event that a line from the worker names; ignore any other line."""
        if line == "cancel":
            self.cancelled.set()
        elif line == "pause":
            self.paused.set()
        elif line == "stop":
            self.stopped.set()
        elif line != GRANT:
            return
        self._answered.set()

    def await_answer(self, ask: Callable[[], None]) -> bool:
        """Ask for a time slice; wait until it is granted, or the run must end; return whether it may train."""
        self._answered.clear()
        ask()
        if not self.stop_requested():
            self._answered.wait()
        return not self.stop_requested()

    def stop_requested(self) -> bool:
        """Return whether the run must end."""
        return self.cancelled.is_set() or self.saving_requested()

    def saving_requested(self) -> bool:
        """Return whether the run must save its state and end."""
        return self.paused.is_set() or self.stopped.is_set()


def run(commands: Connection, output: Connection, asks: Connection, environment: Mapping[str, str]) -> None:
    """Train the run that is sent, as a process of its own.

    Args:
        commands: sends the specification, then signals and grants of time slices; closes when the worker dies.
        output: receives what the process prints.
        asks: receives requests for time slices.
        environment: the worker's environment variables.
    """
    os.setsid()  # Ctrl-C in a terminal must reach the worker only
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    os.dup2(output.fileno(), 1)
    os.dup2(output.fileno(), 2)
    output.close()
    os.environ.update(environment)
    sys.exit(main(os.fdopen(os.dup(commands.fileno())), os.fdopen(os.dup(asks.fileno()), "w")))


def main(commands: TextIO, asks: TextIO) -> int:
    """Train the run that is sent; return the exit code."""
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    logging.getLogger("httpx").setLevel(logging.WARNING)
    device.prepare()
    line = commands.readline()
    if not line:  # the worker has ended, or needs no more process
        return EXIT_GAVE_UP
    spec = ExecutionSpec.model_validate_json(line)
    signals = Signals()
    slices = Slices(asks, signals.await_answer)
    threading.Thread(target=_listen, args=(commands, signals), daemon=True).start()
    _interrupt_on_sigterm(signals)
    claim = spec.claim
    with WorkerClient(spec.api, headers=Settings().authorization) as client:
        checkpoints = Checkpoints(
            spec.checkpoints,
            claim.run.id,
            claim.claim_number,
            limit=spec.checkpoint_quota_bytes,
            run_states=lambda run_ids: run_states(client, run_ids),
        )
        reporter = Reporter(
            client,
            claim.run.id,
            claim.claim_number,
            outbox=Outbox(spec.outbox),
            on_recorded=checkpoints.mark_recorded,
            on_finished=checkpoints.remove_all,
        )
        policy = DiskCheckpointPolicy(
            checkpoints,
            claim.run.checkpoint,
            interval=spec.checkpoint_seconds,
            pause_requested=signals.saving_requested,
            on_saved=reporter.checkpoint,
            sync=reporter.sync,
        )
        try:
            execute(spec, reporter, signals, policy, slices)
        except LeaseLost as error:
            log.warning("stopped: %s", error)
            return EXIT_LEASE_LOST
        except InvalidInput:
            raise
        except BlockHFError as error:
            log.warning("backend refused; the run is requeued when its lease expires: %s", error)
            return EXIT_GAVE_UP
    return EXIT_REPORTED


def run_states(client: WorkerClient, run_ids: Sequence[str]) -> Mapping[str, RunStatus] | None:
    """Ask the backend for the states of runs; None if it does not answer."""
    try:
        return client.run_states(run_ids)
    except BlockHFError as error:
        log.warning("the states of runs are unknown, so their checkpoints are not removed: %s", error)
        return None


def execute(
    spec: ExecutionSpec, reporter: Reporter, signals: Signals, policy: DiskCheckpointPolicy, slices: Slices
) -> RunStatus:
    """Train a run and report how it ended.

    Returns:
        The status that was reported.

    Raises:
        LeaseLost: another worker has the run, or it has ended.
        BlockHFError: the backend refused a request, which is no fault of the run. (InvalidInput is: it is reported.)
    """
    status, ended_by, failure = RunStatus.FAILED, "", None
    config = spec.claim.run.config
    try:
        outcome = train(
            config.model_copy(update={"device": spec.device or config.device}), reporter, signals.cancelled.is_set,
            blocks=spec.claim.run.blocks, registry=discover(folder=spec.data), folder=spec.data, policy=policy,
            await_slice=slices.wait,
        )  # fmt: skip
        status, ended_by = outcome.status, outcome.ended_by
    except Interrupted:
        status = RunStatus.CANCELLED if signals.cancelled.is_set() else RunStatus.PAUSED
        ended_by = f"{status} during update {reporter.updates + 1}"
    except RunFailed as error:
        failure = RunError(message=str(error)[:MESSAGE_CHARACTERS])
    except Exception as error:
        if isinstance(error, BlockHFError) and not isinstance(error, InvalidInput):
            raise
        message = f"{type(error).__name__}: {error}"[:MESSAGE_CHARACTERS]
        failure = RunError(message=message, traceback=traceback.format_exc()[-MAX_TRACEBACK:])
    slices.leave()
    if status is RunStatus.PAUSED and not signals.paused.is_set():  # the worker stops, and the user asked for nothing
        status, ended_by = RunStatus.QUEUED, ""
    reporter.finish(status, ended_by=ended_by, error=failure, weights=policy.weights, note=policy.note)
    return status


def _listen(commands: TextIO, signals: Signals) -> None:
    """Receive the worker's signals. Exit when the worker is gone, because no process renews the lease then."""
    for line in commands:
        signals.receive(line.strip())
    os._exit(EXIT_GAVE_UP)


def _interrupt_on_sigterm(signals: Signals) -> None:
    """Let SIGTERM interrupt a run that must end. The first one, of a service manager that ends all, is a request."""

    def interrupt(number: int, frame: FrameType | None) -> None:  # noqa: ARG001 - a signal handler's arguments
        if signals.stop_requested():
            raise Interrupted
        # In a thread of its own: this one may have been interrupted while it holds the event's lock.
        threading.Thread(target=signals.receive, args=("stop",), daemon=True).start()

    signal.signal(signal.SIGTERM, interrupt)
