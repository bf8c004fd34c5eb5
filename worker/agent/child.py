"""`python -m worker.child`: trains one run, which its worker names on the standard input, and reports it."""

import logging
import os
import signal
import sys
import threading
import traceback
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from types import FrameType

from backend.client import Client
from backend.errors import BlockHFError, InvalidInput, LeaseLost, RunFailed
from backend.schemas.base import MAX_TRACEBACK
from backend.schemas.runs import RunError, RunStatus
from backend.settings import Settings
from worker.agent.executor import ABANDONED, LEASE_LOST, TOLD, Task
from worker.checkpoints.files import Checkpoints
from worker.checkpoints.policy import DiskKeeper
from worker.delivery.outbox import Spool
from worker.delivery.reporter import Reporter
from worker.problems.registry import discover
from worker.training.trainer import train

MESSAGE_CHARACTERS = 2000


class Interrupted(BaseException):
    """The worker does not want to wait for the end of the current update."""


@dataclass
class Orders:
    """What the user wants of the run, as the worker passes it on."""

    cancelled: threading.Event = field(default_factory=threading.Event)
    paused: threading.Event = field(default_factory=threading.Event)

    def take(self, line: str) -> None:
        """Note an order."""
        if line == "cancel":
            self.cancelled.set()
        elif line == "pause":
            self.paused.set()

    def any(self) -> bool:
        """Tell whether the run is to end."""
        return self.cancelled.is_set() or self.paused.is_set()


def main() -> int:
    """Train the run named on the standard input; return the exit code."""
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    logging.getLogger("httpx").setLevel(logging.WARNING)
    task = Task.model_validate_json(sys.stdin.readline())
    orders = Orders()
    threading.Thread(target=_listen, args=(orders,), daemon=True).start()
    _interrupt_on_sigterm(orders)
    claim = task.claim
    with Client(task.api, headers=Settings().authorization) as client:
        checkpoints = Checkpoints(
            task.checkpoints,
            claim.run.id,
            claim.claim_number,
            limit=task.checkpoint_quota_bytes,
            standings=lambda run_ids: standings(client, run_ids),
        )
        reporter = Reporter(
            client,
            claim.run.id,
            claim.claim_number,
            spool=Spool(task.spool),
            named=checkpoints.named,
            finished=checkpoints.finished,
        )
        keeper = DiskKeeper(
            checkpoints,
            claim.run.checkpoint,
            every=task.checkpoint_seconds,
            paused=orders.paused.is_set,
            tell=reporter.checkpoint,
            sync=reporter.sync,
        )
        try:
            execute(task, reporter, orders, keeper)
        except LeaseLost as error:
            logging.getLogger(__name__).warning("stopped: %s", error)
            return LEASE_LOST
        except InvalidInput:
            raise
        except BlockHFError as error:
            logging.getLogger(__name__).warning("the backend refuses, the run is left to its lease: %s", error)
            return ABANDONED
    return TOLD


def standings(client: Client, run_ids: Sequence[str]) -> Mapping[str, RunStatus] | None:
    """Ask the backend how runs stand; None where it does not say."""
    try:
        return client.run_states(run_ids)
    except BlockHFError as error:
        logging.getLogger(__name__).warning("the backend does not say which checkpoints may go: %s", error)
        return None


def execute(task: Task, reporter: Reporter, orders: Orders, keeper: DiskKeeper) -> RunStatus:
    """Train, tell the backend how it ended, and return that.

    Raises:
        LeaseLost: the run is not this worker's any more.
        BlockHFError: the backend refuses, which is not the run's fault: InvalidInput alone is.
    """
    status, ended_by, failure = RunStatus.FAILED, "", None
    try:
        outcome = train(
            task.claim.run.config, reporter, orders.cancelled.is_set, registry=discover(folder=task.data),
            folder=task.data, keeper=keeper,
        )  # fmt: skip
        status, ended_by = outcome.status, outcome.ended_by
    except Interrupted:
        status = RunStatus.CANCELLED if orders.cancelled.is_set() else RunStatus.PAUSED
        ended_by = f"{status} before update {reporter.updates + 1} was done"
    except RunFailed as error:
        failure = RunError(message=str(error)[:MESSAGE_CHARACTERS])
    except Exception as error:
        if isinstance(error, BlockHFError) and not isinstance(error, InvalidInput):
            raise
        message = f"{type(error).__name__}: {error}"[:MESSAGE_CHARACTERS]
        failure = RunError(message=message, traceback=traceback.format_exc()[-MAX_TRACEBACK:])
    reporter.finish(status, ended_by=ended_by, error=failure, weights=keeper.weights)
    return status


def _listen(orders: Orders) -> None:
    """Note the worker's orders; end at once when the worker is gone, for nobody renews the lease."""
    for line in sys.stdin:
        orders.take(line.strip())
    os._exit(ABANDONED)


def _interrupt_on_sigterm(orders: Orders) -> None:
    """Let SIGTERM interrupt a run that is to end; otherwise, when all is shut down, leave the run to its lease."""

    def interrupt(number: int, frame: FrameType | None) -> None:  # noqa: ARG001 - a signal handler's arguments
        if not orders.any():
            os._exit(ABANDONED)
        raise Interrupted

    signal.signal(signal.SIGTERM, interrupt)


if __name__ == "__main__":
    sys.exit(main())
