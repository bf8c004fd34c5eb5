"""What an engine is: it executes a claimed run somewhere, so that the run's death is not the worker's."""

from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from backend.schemas.api import Claim
from backend.schemas.base import Contract
from worker.delivery.outbox import path_of

TOLD = 0
LEASE_LOST = 3
ABANDONED = 4
SPOOL = "spool"
CHECKPOINTS = "checkpoints"


class Task(Contract):
    """All that an execution needs to know."""

    claim: Claim
    api: str
    home: Path
    checkpoint_seconds: float = 60
    checkpoint_quota_bytes: int = 20 * 10**9

    @property
    def data(self) -> Path:
        """Where data sets are kept."""
        return self.home / "data"

    @property
    def checkpoints(self) -> Path:
        """Where the runs' checkpoints and final weights are kept."""
        return self.home / CHECKPOINTS

    @property
    def spool(self) -> Path:
        """Where the run's rows wait while the backend is away; its time of change tells of each update."""
        return path_of(self.home / SPOOL, self.claim.run.id, self.claim.claim_number)


@dataclass(frozen=True)
class Exit:
    """How an execution ended.

    Attributes:
        code: TOLD: the run was ended at the backend; LEASE_LOST or ABANDONED: it is not this worker's business any
            more; anything else is an accident.
        reason: the accident in words.
        output: the last lines of what it printed.
    """

    code: int
    reason: str
    output: str


class Execution(Protocol):
    """A run that executes. It reports its updates and its end to the backend by itself."""

    def wait(self, seconds: float) -> Exit | None:
        """Wait for its end, at most so long; None: it goes on."""
        ...

    def cancel(self) -> None:
        """Ask it to end after the current update, as cancelled."""
        ...

    def pause(self) -> None:
        """Ask it to keep its state after the current update, and to end as paused."""
        ...

    def progress(self) -> float | None:
        """Return something that changes with each update; None before the first."""
        ...

    def interrupt(self) -> None:
        """Ask it, after `cancel` or `pause`, to end within the current update."""
        ...

    def abandon(self) -> None:
        """Make it end soon without a word to the backend."""
        ...

    def kill(self) -> None:
        """End it at once."""
        ...


class Engine(Protocol):
    """Starts executions."""

    def start(self, task: Task) -> Execution:
        """Start one."""
        ...
