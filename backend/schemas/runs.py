"""Records of the queue: run, experiment and preset."""

from datetime import datetime
from enum import StrEnum
from typing import Annotated, Any

from pydantic import Field, StringConstraints, computed_field, model_validator

from backend.schemas.base import MAX_TAGS, MAX_TRACEBACK, MAX_UPDATES, Contract, Id, Note, Slug, Title
from backend.schemas.experiments import AnySpec, RunConfig


class RunStatus(StrEnum):
    """Status of a run; the last three are final."""

    QUEUED = "queued"
    RUNNING = "running"
    PAUSED = "paused"
    FINISHED = "finished"
    FAILED = "failed"
    CANCELLED = "cancelled"

    @property
    def final(self) -> bool:
        """Whether the run has ended."""
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
    traceback: str = Field("", max_length=MAX_TRACEBACK, description="its end")


Sha256 = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]


class Checkpoint(Contract):
    """A checkpoint: the state after an update, stored where the run was trained. Training can continue from it."""

    update: int = Field(ge=1, le=MAX_UPDATES, description="the last update it holds")
    sha256: Sha256 = Field(description="SHA-256 of the file")


class Summary(Contract):
    """Summary of a run's rows, for tables; null: not measured yet."""

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
    """A run with its status."""

    id: Id
    experiment_id: Id
    experiment_name: str
    config: RunConfig
    status: RunStatus
    cancel_requested: bool = False
    pause_requested: bool = False
    priority: int = Field(0, description="queued runs with a higher number start first")
    claims: int = Field(0, description="number of times a worker has claimed it")
    created_at: datetime
    started_at: datetime | None = None
    finished_at: datetime | None = None
    ended_by: str = Field("", description="the limit that ended it, or why it was cancelled")
    error: RunError | None = None
    worker_id: Id | None = None
    environment: dict[str, str] = Field({}, description="device, threads and versions of the run")
    blocks: list[list[str]] = Field([], description="the layers of each block; empty if the optimizer has no blocks")
    parameters: int | None = Field(None, description="trainable parameters")
    checkpoint: Checkpoint | None = Field(None, description="where the next worker continues, if it has the file")
    notes: list[str] = Field([], description="remarks on its history, such as restarts or a change of device")
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
    """A named group of runs on the same problem."""

    id: Id
    name: str
    created_at: datetime
    spec: AnySpec = Field(description="specification at the launch, with the name of that time")
    runs: list[Run]
    note: Note = Field("", description="the user's note, plain text")
    tags: list[Slug] = Field([], max_length=MAX_TAGS)
    archived: bool = Field(False, description="whether lists omit it by default")
    deleted_at: datetime | None = Field(
        None, description="when it was deleted; lists omit it by default, and it can be restored"
    )


class Preset(Contract):
    """Settings that a user saved under a name."""

    slug: Slug
    title: Title
    spec: AnySpec
    saved_at: datetime
