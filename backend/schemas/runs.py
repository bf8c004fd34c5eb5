"""What a run reports, and a run as the queue knows it."""

from datetime import datetime
from enum import StrEnum
from typing import Annotated, Any

from pydantic import Field, StringConstraints, computed_field, model_validator

from backend.schemas.base import MAX_TAGS, MAX_TRACEBACK, MAX_UPDATES, Contract, Id, Note, Slug, Title
from backend.schemas.experiments import ExperimentSpec, RunConfig


class RunStatus(StrEnum):
    """Where a run stands; the last three are final."""

    QUEUED = "queued"
    RUNNING = "running"
    PAUSED = "paused"
    FINISHED = "finished"
    FAILED = "failed"
    CANCELLED = "cancelled"

    @property
    def final(self) -> bool:
        """Whether nothing can change any more."""
        return self in {RunStatus.FINISHED, RunStatus.FAILED, RunStatus.CANCELLED}


class RunAction(StrEnum):
    """What a user can do with a run."""

    PAUSE = "pause"
    RESUME = "resume"
    RETRY = "retry"
    CANCEL = "cancel"


class RunError(Contract):
    """Why a run failed."""

    message: str = Field(max_length=2000)
    traceback: str = Field("", max_length=MAX_TRACEBACK, description="its last lines")


Sha256 = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]


class Checkpoint(Contract):
    """The state after an update, kept where the run was trained: from there it can go on."""

    update: int = Field(ge=1, le=MAX_UPDATES, description="the last update it holds")
    sha256: Sha256 = Field(description="of the file")


class Summary(Contract):
    """What a table shows of a run's rows; null: not measured yet."""

    updates: int = 0
    epoch: float = 0
    seconds: float = 0
    cost: float = 0
    last_train_loss: float | None = None
    best_train_loss: float | None = None
    last_test_loss: float | None = None
    best_test_loss: float | None = None
    last_test_accuracy: float | None = None
    best_test_accuracy: float | None = None


class Run(Contract):
    """A run as the queue knows it."""

    id: Id
    experiment_id: Id
    experiment_name: str
    config: RunConfig
    status: RunStatus
    cancel_requested: bool = False
    pause_requested: bool = False
    priority: int = Field(0, description="of two runs that wait, the one with the higher number goes first")
    claims: int = Field(0, description="number of times a worker has claimed it")
    created_at: datetime
    started_at: datetime | None = None
    finished_at: datetime | None = None
    ended_by: str = Field("", description="which limit of the budget ended it, or what cancelled it")
    error: RunError | None = None
    worker_id: Id | None = None
    environment: dict[str, str] = Field({}, description="device, threads and versions it runs with")
    blocks: list[list[str]] = Field([], description="the layers of each block; empty for Adam")
    parameters: int | None = Field(None, description="trainable parameters")
    checkpoint: Checkpoint | None = Field(None, description="where the next worker can go on, if it has the file")
    notes: list[str] = Field([], description="what to know of its history: where it began again, or on another device")
    weights: Sha256 | None = Field(None, description="SHA-256 of the file with the final weights")
    summary: Summary = Summary()

    @model_validator(mode="before")
    @classmethod
    def _drop_derived(cls, data: Any) -> Any:
        """Accept a run as the API writes it: derived fields are computed again; `claims` was once called `attempts`."""
        if not isinstance(data, dict):
            return data
        if "attempts" in data and "claims" not in data:
            data = {"claims" if name == "attempts" else name: value for name, value in data.items()}
        return {name: value for name, value in data.items() if name not in cls.model_computed_fields}

    # mypy does not know a decorated property (python/mypy#14461); pydantic's documentation ignores the error, too.
    @computed_field(description="whether the run has ended")  # type: ignore[prop-decorator]
    @property
    def final(self) -> bool:
        """Whether the run has ended."""
        return self.status.final

    @computed_field(description="what can be done with the run now")  # type: ignore[prop-decorator]
    @property
    def actions(self) -> list[RunAction]:
        """What can be done with the run now. A requested pause can be withdrawn, a requested cancel cannot."""
        if self.status in {RunStatus.FAILED, RunStatus.CANCELLED}:
            return [RunAction.RETRY]
        if self.final or self.cancel_requested:
            return []
        pausing = self.status is RunStatus.RUNNING and self.pause_requested
        if self.status is RunStatus.PAUSED or pausing:
            return [RunAction.RESUME, RunAction.CANCEL]
        return [RunAction.PAUSE, RunAction.CANCEL]

    @computed_field(description="used fraction of the budget, by the limit that is nearest, from 0 to 1")  # type: ignore[prop-decorator]
    @property
    def progress(self) -> float:
        """Used fraction of the budget, by the limit that is nearest."""
        if self.status is RunStatus.FINISHED:
            return 1.0
        budget, summary = self.config.budget, self.summary
        limits = (
            (summary.updates, budget.updates),
            (summary.epoch, budget.epochs),
            (summary.seconds, budget.seconds),
        )
        return min(1.0, max((used / limit for used, limit in limits if limit is not None), default=0.0))


class Experiment(Contract):
    """A named group of runs over the same problem."""

    id: Id
    name: str
    created_at: datetime
    spec: ExperimentSpec = Field(description="as it was launched; its name stays what it was then")
    runs: list[Run]
    note: Note = Field("", description="what its owner wrote about it, plain text")
    tags: list[Slug] = Field([], max_length=MAX_TAGS)
    archived: bool = Field(False, description="lists leave it out unless asked")
    deleted_at: datetime | None = Field(None, description="lists leave it out unless asked; it can be restored")


class Preset(Contract):
    """Settings that a user saved to start from again."""

    slug: Slug
    title: Title
    spec: ExperimentSpec
    saved_at: datetime
