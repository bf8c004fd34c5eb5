"""A model of the queue: what it should be, in memory."""

from dataclasses import dataclass, field

from backend.schemas.runs import RunStatus
from tests.backend.samples import Clock

LEASE = 30.0
MAX_CLAIMS = 3
MAX_QUEUED = 4


@dataclass
class Expected:
    """A run as it should be."""

    id: str
    experiment: str
    status: RunStatus = RunStatus.QUEUED
    cancel: bool = False
    pause: bool = False
    priority: int = 0
    kept: int = 0
    started_claim: int = 0
    row_generation: int = 0
    claim_number: int = 0
    worker: str | None = None
    weights: str | None = None
    ended_by: str = ""
    lease_until: float = 0
    rows: int = 0
    best_update: int = 0
    claims_without_progress: int = 0

    def held(self, claim_number: int) -> bool:
        """Tell whether this claim may write."""
        return self.status is RunStatus.RUNNING and self.claim_number == claim_number

    def end(self, status: RunStatus, ended_by: str | None = None) -> None:
        """Take the run from its worker."""
        self.status, self.pause = status, False
        self.ended_by = status.value if ended_by is None else ended_by

    def roll_back(self, to: int) -> None:
        """Drop the rows above."""
        self.rows, self.row_generation = to, self.row_generation + 1


@dataclass
class Model:
    """The queue as it should be."""

    clock: Clock
    runs: list[Expected] = field(default_factory=list)
    deleted: set[str] = field(default_factory=set)

    def lease_expired(self, run: Expected) -> bool:
        """Tell whether the lease has run out."""
        return run.status is RunStatus.RUNNING and run.lease_until < self.clock.now

    def full(self, count: int = 1) -> bool:
        """Return whether this many more runs would exceed the limit."""
        return sum(run.status is RunStatus.QUEUED for run in self.runs) + count > MAX_QUEUED

    def sweep(self) -> None:
        """End the runs that no worker may claim."""
        for run in filter(self.lease_expired, self.runs):
            if run.cancel:
                run.end(RunStatus.CANCELLED)
            elif run.pause:
                run.end(RunStatus.PAUSED)
            elif run.claims_without_progress >= MAX_CLAIMS and run.rows <= run.best_update:
                run.end(RunStatus.FAILED, "attempts")

    def claim(self, worker: str) -> Expected | None:
        """Claim the first run that is queued or lost."""
        self.sweep()
        waiting = [run for run in self.runs if run.status is RunStatus.QUEUED or self.lease_expired(run)]
        run = max(waiting, key=lambda run: run.priority, default=None)
        if run is not None:
            run.claims_without_progress = 1 if run.rows > run.best_update else run.claims_without_progress + 1
            run.best_update = max(run.best_update, run.rows)
            run.status, run.claim_number, run.worker = RunStatus.RUNNING, run.claim_number + 1, worker
            if not run.kept:
                run.roll_back(0)
            run.lease_until = self.clock.now + LEASE
        return run
