"""Request and response bodies of the REST API, except the records themselves."""

from datetime import datetime
from enum import StrEnum
from math import isfinite
from typing import Annotated, Any, Literal, Self

from pydantic import BeforeValidator, Field, StringConstraints, field_validator, model_validator

from backend.schemas.base import (
    MAX_BLOCKS,
    MAX_HELD,
    MAX_RUNS_PER_EXPERIMENT,
    MAX_TAGS,
    MAX_UPDATES,
    STEPS_PER_BATCH,
    Contract,
    Id,
    LayerName,
    Note,
    Plain,
    Slug,
    Title,
)
from backend.schemas.catalog import Catalog, WorkerInfo
from backend.schemas.experiments import ExperimentSpec, RaceBy, Schedule
from backend.schemas.measures import Update
from backend.schemas.runs import Checkpoint, Experiment, Preset, Run, RunError, RunStatus, Sha256

ClaimNumber = Annotated[
    int, Field(ge=1, le=2**31 - 1, description="claim number; writes with an older number are refused")
]


class ExportKind(StrEnum):
    """File format of an export."""

    CSV = "csv"
    JSON = "json"
    PARQUET = "parquet"


class Health(Contract):
    """The process responds."""

    status: Literal["ok"] = "ok"


class Scope(StrEnum):
    """What a token allows; no scope includes another."""

    READ = "read"
    LAUNCH = "launch"
    WORKER = "worker"


class Access(Contract):
    """What the sender of a request may do."""

    scopes: list[Scope]


class Worker(Contract):
    """A worker as the backend knows it."""

    id: Id
    info: WorkerInfo
    registered_at: datetime
    seen_at: datetime
    alive: bool = Field(description="sent a heartbeat within the lease time")
    silent: bool = Field(description="sent no heartbeat for a third of the lease time (at least two intervals)")
    run_id: Id | None = Field(None, description="the first of the runs it trains")
    run_ids: list[Id] = Field([], description="the runs it trains")


class CatalogAnswer(Contract):
    """What can be launched, and the workers. There is no catalog before the first worker registers."""

    catalog: Catalog | None
    workers: list[Worker]


class BlockPlan(Contract):
    """One block of a run that would be queued."""

    layers: list[LayerName]
    parameters: int


class RunPlan(Contract):
    """One run that would be queued; Adam has no blocks."""

    label: str
    blocks: list[BlockPlan]
    memory: int = Field(0, description="what it needs at least [bytes]")


def _plain(value: Any) -> Any:
    """Refuse an invalid value with one error: a union would report one for each of its members."""
    if isinstance(value, float) and not isfinite(value):
        raise ValueError("must be finite")
    if not isinstance(value, bool | int | float | str) or (isinstance(value, str) and len(value) > MAX_WORD):
        raise ValueError(f"must be a number, true, false or a text of at most {MAX_WORD} characters")
    return value


MAX_WORD = 64
SweepValue = Annotated[bool | int | float | Annotated[str, Field(max_length=MAX_WORD)], BeforeValidator(_plain)]
SettingPath = Annotated[str, StringConstraints(pattern=r"^[a-z]+(\.[a-z_0-9]+){1,2}$", max_length=64)]


class Sweep(Contract):
    """A comparison in which the optimizers run with every combination of a grid, at every point of a list."""

    base: ExperimentSpec
    grid: dict[SettingPath, Annotated[list[SweepValue], Field(min_length=1, max_length=100)]] = Field(
        {}, max_length=8, description="values by setting, such as bhf.damping"
    )
    points: list[Annotated[dict[SettingPath, SweepValue], Field(min_length=1, max_length=16)]] = Field(
        [], max_length=MAX_RUNS_PER_EXPERIMENT, description="settings that change together, with their values"
    )


class Import(Contract):
    """A history from another program, with its specification: one optimizer and one seed."""

    spec: ExperimentSpec
    csv: str = Field(description="a header and one line per update, in the format of an export")


class Plan(Contract):
    """What a launch would queue."""

    runs: list[RunPlan]
    total: int = Field(description="trainable parameters of the network")


class ExperimentList(Contract):
    """Experiments, newest first."""

    experiments: list[Experiment]


class ExperimentName(Contract):
    """What a list needs to offer an experiment for a choice."""

    id: Id
    name: Title
    created_at: datetime
    tags: list[Slug]


class ExperimentNames(Contract):
    """Names of experiments, newest first."""

    experiments: list[ExperimentName]


class ExperimentChange(Contract):
    """Changes to an experiment. Fields that are missing or null stay unchanged."""

    name: Title | None = None
    note: Note | None = None
    tags: list[Slug] | None = Field(None, max_length=MAX_TAGS, description="replaces all earlier tags")
    archived: bool | None = None

    @field_validator("tags")
    @classmethod
    def _tags_differ(cls, value: list[str] | None) -> list[str] | None:
        if value is not None and len(set(value)) < len(value):
            raise ValueError("tags must be unique")
        return value


class TagList(Contract):
    """Every tag in use, in alphabetical order."""

    tags: list[Slug]


class PresetBody(Contract):
    """Settings to save under a name."""

    title: Title
    spec: ExperimentSpec


class PresetList(Contract):
    """The saved presets, ordered by title."""

    presets: list[Preset]


class RunList(Contract):
    """Runs, newest first."""

    runs: list[Run]


class Announcement(Contract):
    """Registration of a worker: its description and its catalog."""

    info: WorkerInfo
    catalog: Catalog


class Registration(Contract):
    """A worker's ID, and how often it must send a heartbeat."""

    worker_id: Id
    lease_seconds: float = Field(description="a worker that sends no heartbeat for this long loses its run [s]")
    heartbeat_seconds: float = Field(description="interval between heartbeats [s]")


class _OfClaim(Contract):
    """A body with a claim number. Version 0.1 stored `token` in outbox files instead of `claim_number`."""

    claim_number: ClaimNumber

    @model_validator(mode="before")
    @classmethod
    def _accept_old_name(cls, data: Any) -> Any:
        if isinstance(data, dict) and "token" in data and "claim_number" not in data:
            return {"claim_number" if name == "token" else name: value for name, value in data.items()}
        return data


class Claim(_OfClaim):
    """A run that the worker has claimed. Every write to the run must repeat the claim number."""

    run: Run
    schedule: Schedule = Field("race", description="of its comparison")
    race_by: RaceBy = Field("updates", description="of its comparison")


class KeptRuns(Contract):
    """The runs for which a worker has files."""

    runs: list[Id] = Field(max_length=MAX_HELD)


class RunStates(Contract):
    """The status of each run. Runs that do not exist, or are deleted and have ended, are omitted."""

    runs: dict[Id, RunStatus]


class Heartbeat(_OfClaim):
    """The worker still trains the run."""


class HeartbeatAnswer(Contract):
    """What the user requested for the run. A cancel takes precedence over a pause."""

    cancel: bool
    pause: bool = False


class Start(_OfClaim):
    """What the worker reports when it starts a run."""

    environment: dict[Annotated[str, Field(max_length=100)], Annotated[str, Field(max_length=1000)]] = Field(
        max_length=100, description="device, threads and versions"
    )
    blocks: list[list[LayerName]] = Field(
        max_length=MAX_BLOCKS, description="the layers of each block; empty if the optimizer has no blocks"
    )
    parameters: int = Field(ge=0, le=2**53, description="trainable parameters")
    resumed_from: int = Field(
        0, ge=0, le=MAX_UPDATES, description="training continues after this update; later rows are deleted"
    )
    note: str = Field("", max_length=500, description="why it restarted, or may differ from an uninterrupted run")


class Append(_OfClaim):
    """The next updates of a run, in order and without gaps. Updates that are already stored are skipped."""

    rows: list[Update] = Field(max_length=STEPS_PER_BATCH)
    checkpoint: Checkpoint | None = Field(
        None, description="a checkpoint on disk; its update is stored already or is among the rows"
    )


class Appended(Contract):
    """The last stored update of the run."""

    last_update: int


class Finish(_OfClaim):
    """The end of a run, a pause, or its return to the queue because the worker stops."""

    status: Literal[RunStatus.FINISHED, RunStatus.FAILED, RunStatus.CANCELLED, RunStatus.PAUSED, RunStatus.QUEUED]
    ended_by: Plain = Field("", max_length=200, description="the limit that ended it, or why it was cancelled")
    error: RunError | None = None
    weights: Sha256 | None = Field(None, description="SHA-256 of the file with the final weights")
    note: Plain = Field("", max_length=1000, description="what the user should know of the end, such as a full disk")

    @model_validator(mode="after")
    def _failure_has_a_reason(self) -> Self:
        if (self.status is RunStatus.FAILED) != (self.error is not None):
            raise ValueError("a failed run needs an error, and only a failed run has one")
        return self


class Priority(Contract):
    """Position of a run in the queue."""

    priority: int = Field(ge=-100, le=100, description="higher starts first; the default is 0")


class ProblemField(Contract):
    """One invalid field."""

    field: str
    value: Any
    limit: str


class ProblemDetails(Contract):
    """Problem details as in RFC 9457; `errors` lists the invalid fields."""

    type: str = Field(description="urn:blockhf: and the error's code")
    title: str
    status: int
    errors: list[ProblemField] = Field([], description="the invalid fields")
