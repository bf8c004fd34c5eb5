"""`python -m worker.child`: trains one run, which its worker names on the standard input, and reports it."""

import logging
import os
import signal
import sys
import threading
import traceback
from types import FrameType

from backend.client import Client
from backend.errors import LeaseLost, RunFailed
from backend.schemas import RunError, RunStatus
from backend.settings import Settings
from worker.engines.engine import ABANDONED, LEASE_LOST, TOLD, Task
from worker.problems.registry import discover
from worker.reporting import Reporter
from worker.training import train

MESSAGE_CHARACTERS = 2000
TRACEBACK_CHARACTERS = 20_000


class Interrupted(BaseException):
    """The worker does not want to wait for the end of the current update."""


def main() -> int:
    """Train the run named on the standard input; return the exit code."""
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    logging.getLogger("httpx").setLevel(logging.WARNING)
    task = Task.model_validate_json(sys.stdin.readline())
    cancelled = threading.Event()
    threading.Thread(target=_listen, args=(cancelled,), daemon=True).start()
    _interrupt_on_sigterm(cancelled)
    with Client(task.api, headers=Settings().authorization) as client:
        reporter = Reporter(client, task.claim.run.id, task.claim.token)
        try:
            execute(task, reporter, cancelled)
        except LeaseLost as error:
            logging.getLogger(__name__).warning("stopped: %s", error)
            return LEASE_LOST
    return TOLD


def execute(task: Task, reporter: Reporter, cancelled: threading.Event) -> None:
    """Train and tell the backend how it ended.

    Raises:
        LeaseLost: the run is not this worker's any more.
    """
    try:
        outcome = train(
            task.claim.run.config, reporter, cancelled.is_set, registry=discover(folder=task.folder), folder=task.folder
        )
    except LeaseLost:
        raise
    except Interrupted:
        reporter.finish(RunStatus.CANCELLED, ended_by=f"cancelled before update {reporter.updates + 1} was done")
    except RunFailed as error:
        reporter.finish(RunStatus.FAILED, error=RunError(message=str(error)[:MESSAGE_CHARACTERS]))
    except Exception as error:
        message = f"{type(error).__name__}: {error}"[:MESSAGE_CHARACTERS]
        trace = traceback.format_exc()[-TRACEBACK_CHARACTERS:]
        reporter.finish(RunStatus.FAILED, error=RunError(message=message, traceback=trace))
    else:
        reporter.finish(outcome.status, ended_by=outcome.ended_by)


def _listen(cancelled: threading.Event) -> None:
    """Note the worker's request to cancel; end at once when the worker is gone, for nobody renews the lease."""
    for line in sys.stdin:
        if line.strip() == "cancel":
            cancelled.set()
    os._exit(ABANDONED)


def _interrupt_on_sigterm(cancelled: threading.Event) -> None:
    """Let SIGTERM interrupt a cancelled run; otherwise, when all is shut down, leave the run to its lease."""

    def interrupt(number: int, frame: FrameType | None) -> None:  # noqa: ARG001 - a signal handler's arguments
        if not cancelled.is_set():
            os._exit(ABANDONED)
        raise Interrupted

    signal.signal(signal.SIGTERM, interrupt)


if __name__ == "__main__":
    sys.exit(main())
