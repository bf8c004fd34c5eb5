"""Executors run a claimed run outside the worker's process, so that a crash of the run does not end the worker."""

from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from backend.schemas.api import Claim
from backend.schemas.base import Contract
from worker.agent.gate import Turn
from worker.delivery.outbox import outbox_path

EXIT_REPORTED = 0
EXIT_LEASE_LOST = 3
EXIT_GAVE_UP = 4
OUTBOXES = "spool"  # the folder's name of version 0.1: outboxes that it left are still delivered
CHECKPOINTS = "checkpoints"


class ExecutionSpec(Contract):
    """Everything that an execution needs to know.

    Attributes:
        claim: the run and its claim number.
        api: address of the backend.
        home: folder of data sets, checkpoints and outboxes.
        checkpoint_seconds: shortest time between two checkpoints [s].
        checkpoint_quota_bytes: maximum total size of all runs' checkpoints and final weights [bytes].
        device: where to train instead of the run's `device`, which may leave the choice to the worker; empty: there.
    """

    claim: Claim
    api: str
    home: Path
    checkpoint_seconds: float = 60
    checkpoint_quota_bytes: int = 20 * 10**9
    device: str = ""

    @property
    def data(self) -> Path:
        """Folder of the data sets."""
        return self.home / "data"

    @property
    def checkpoints(self) -> Path:
        """Folder of all runs' checkpoints and final weights."""
        return self.home / CHECKPOINTS

    @property
    def outbox(self) -> Path:
        """File of the rows that the backend does not have yet; its time of change shows the last update."""
        return outbox_path(self.home / OUTBOXES, self.claim.run.id, self.claim.claim_number)


@dataclass(frozen=True)
class Exit:
    """How an execution ended.

    Attributes:
        code: EXIT_REPORTED: it reported the run's end to the backend. EXIT_LEASE_LOST: another worker has the run.
            EXIT_GAVE_UP: it stopped without a report, and the run is requeued when its lease expires. Any other code is
            a crash.
        reason: description of the exit code.
        output: the last lines that it printed.
    """

    code: int
    reason: str
    output: str


class Execution(Protocol):
    """A run that is being executed. It reports its updates and its end to the backend."""

    def wait(self, seconds: float) -> Exit | None:
        """Wait at most this many seconds for the end; None if it still runs."""
        ...

    def cancel(self) -> None:
        """Request that it ends as cancelled after the current update."""
        ...

    def pause(self) -> None:
        """Request that it saves its state after the current update and ends as paused."""
        ...

    def progress(self) -> float | None:
        """Return a value that changes with each update; None before the first."""
        ...

    def interrupt(self) -> None:
        """Request, after `cancel` or `pause`, that it ends within the current update."""
        ...

    def abandon(self) -> None:
        """Make it end soon without a report to the backend."""
        ...

    def kill(self) -> None:
        """End it at once."""
        ...


class Executor(Protocol):
    """Starts executions."""

    def start(self, spec: ExecutionSpec, turn: Turn) -> Execution:
        """Start an execution.

        Args:
            spec: what to execute.
            turn: the run at the worker's gate: the execution asks it for each time slice.

        Raises:
            OSError: it cannot be started.
        """
        ...
