"""What travels between backend and clients beside the records: requests of a worker, and answers made of records."""

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
    int, Field(ge=1, le=2**31 - 1, description="number of the claim; writes with an older one are refused")
]


class ExportKind(StrEnum):
    """How an export writes a run's rows."""

    CSV = "csv"
    JSON = "json"
    PARQUET = "parquet"


class Health(Contract):
    """The process answers."""

    status: Literal["ok"] = "ok"


class Worker(Contract):
    """A worker as the backend knows it."""

    id: Id
    info: WorkerInfo
    registered_at: datetime
    seen_at: datetime
    alive: bool = Field(description="heard of within the lease")
    silent: bool = Field(description="not heard of for a third of the lease, two heartbeats at least")
    run_id: Id | None = Field(None, description="the first of the runs it holds")
    run_ids: list[Id] = Field([], description="the runs it holds")


class CatalogAnswer(Contract):
    """What can be launched, and who could run it; no catalog before the first worker registers."""

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
    """Refuse what a setting cannot be, once: a union would say so for each of its members."""
    if isinstance(value, float) and not isfinite(value):
        raise ValueError("must be finite")
    if not isinstance(value, bool | int | float | str) or (isinstance(value, str) and len(value) > MAX_WORD):
        raise ValueError(f"must be a number, true, false, or a word of at most {MAX_WORD} characters")
    return value


MAX_WORD = 64
SweepValue = Annotated[bool | int | float | Annotated[str, Field(max_length=MAX_WORD)], BeforeValidator(_plain)]
SettingPath = Annotated[str, StringConstraints(pattern=r"^[a-z]+(\.[a-z_0-9]+){1,2}$", max_length=64)]


class Sweep(Contract):
    """A comparison whose optimizers take every combination of a grid, at every point of a list."""

    base: ExperimentSpec
    grid: dict[SettingPath, Annotated[list[SweepValue], Field(min_length=1, max_length=100)]] = Field(
        {}, max_length=8, description="values by setting, such as bhf.damping"
    )
    points: list[Annotated[dict[SettingPath, SweepValue], Field(min_length=1, max_length=16)]] = Field(
        [], max_length=MAX_RUNS_PER_EXPERIMENT, description="settings that belong together, each a setting's value"
    )


class Import(Contract):
    """A history that was made elsewhere, with what it was made by: one optimizer, one seed."""

    spec: ExperimentSpec
    csv: str = Field(description="a header and one line per update, as an export writes it")


class Plan(Contract):
    """What a launch would queue."""

    runs: list[RunPlan]
    total: int = Field(description="trainable parameters of the network")


class ExperimentList(Contract):
    """Experiments, newest first."""

    experiments: list[Experiment]


class ExperimentChange(Contract):
    """What to change of an experiment; what is left out, or null, stays as it is."""

    name: Title | None = None
    note: Note | None = None
    tags: list[Slug] | None = Field(None, max_length=MAX_TAGS, description="all of them, in place of those before")
    archived: bool | None = None

    @field_validator("tags")
    @classmethod
    def _tags_differ(cls, value: list[str] | None) -> list[str] | None:
        if value is not None and len(set(value)) < len(value):
            raise ValueError("each tag may stand there once")
        return value


class TagList(Contract):
    """Every tag in use, in alphabetical order."""

    tags: list[Slug]


class PresetBody(Contract):
    """Settings to save under a name."""

    title: Title
    spec: ExperimentSpec


class PresetList(Contract):
    """The saved presets, in the order of their titles."""

    presets: list[Preset]


class RunList(Contract):
    """Runs, newest first."""

    runs: list[Run]


class Announcement(Contract):
    """A worker registers: who it is and what it can do."""

    info: WorkerInfo
    catalog: Catalog


class Registration(Contract):
    """A worker's id and how often it must be heard of."""

    worker_id: Id
    lease_seconds: float = Field(description="a worker not heard of for this long loses its run [s]")
    heartbeat_seconds: float = Field(description="how often to send a heartbeat [s]")


class _OfClaim(Contract):
    """What names a claim; a finish that an earlier version wrote to an outbox calls its number `token`."""

    claim_number: ClaimNumber

    @model_validator(mode="before")
    @classmethod
    def _accept_old_name(cls, data: Any) -> Any:
        if isinstance(data, dict) and "token" in data and "claim_number" not in data:
            return {"claim_number" if name == "token" else name: value for name, value in data.items()}
        return data


class Claim(_OfClaim):
    """A run that is now the worker's; every write about it must repeat the claim number."""

    run: Run
    schedule: Schedule = Field("race", description="of its comparison")
    race_by: RaceBy = Field("updates", description="of its comparison")


class KeptRuns(Contract):
    """The runs of which a worker has files."""

    runs: list[Id] = Field(max_length=MAX_HELD)


class RunStates(Contract):
    """The states of those runs. Runs that no longer exist, or are deleted and ended, are omitted."""

    runs: dict[Id, RunStatus]


class Heartbeat(_OfClaim):
    """The worker still trains the run."""


class HeartbeatAnswer(Contract):
    """What the user wants of the run; a cancel goes before a pause."""

    cancel: bool
    pause: bool = False


class Start(_OfClaim):
    """What the worker found out when it built the run."""

    environment: dict[Annotated[str, Field(max_length=100)], Annotated[str, Field(max_length=1000)]] = Field(
        max_length=100, description="device, threads and versions"
    )
    blocks: list[list[LayerName]] = Field(max_length=MAX_BLOCKS, description="the layers of each block; none for Adam")
    parameters: int = Field(ge=0, le=2**53, description="trainable parameters")
    resumed_from: int = Field(
        0, ge=0, le=MAX_UPDATES, description="the update it goes on after; rows above are dropped"
    )
    note: str = Field("", max_length=500, description="why it began again, or may differ from an uninterrupted run")


class Append(_OfClaim):
    """The next updates of a run, in order and without gaps; those that are stored already are skipped."""

    rows: list[Update] = Field(max_length=STEPS_PER_BATCH)
    checkpoint: Checkpoint | None = Field(
        None, description="a checkpoint that is safe on disk, of a row stored with it"
    )


class Appended(Contract):
    """How far the run is stored."""

    last_update: int


class Finish(_OfClaim):
    """A run's end, or its rest."""

    status: Literal[RunStatus.FINISHED, RunStatus.FAILED, RunStatus.CANCELLED, RunStatus.PAUSED]
    ended_by: Plain = Field("", max_length=200, description="which limit of the budget ended it, or what cancelled it")
    error: RunError | None = None
    weights: Sha256 | None = Field(None, description="of the file with the final weights")

    @model_validator(mode="after")
    def _failure_has_a_reason(self) -> Self:
        if (self.status is RunStatus.FAILED) != (self.error is not None):
            raise ValueError("a failed run needs an error, and only a failed run has one")
        return self


class Priority(Contract):
    """Where a run stands in line."""

    priority: int = Field(ge=-100, le=100, description="higher goes first; 0 is usual")


class ProblemField(Contract):
    """One thing wrong with the input."""

    field: str
    value: Any
    limit: str


class ProblemDetails(Contract):
    """An error as RFC 9457 has it; `errors` where fields of the input are at fault."""

    type: str = Field(description="urn:blockhf: and the error's code")
    title: str
    status: int
    errors: list[ProblemField] = Field([], description="the fields at fault")
