"""Results on the paper's claims: verdicts, the numbers they follow from, and figures."""

from datetime import datetime
from enum import StrEnum
from typing import Any, Literal

from pydantic import Field

from backend.schemas.base import Contract, Id, Title
from backend.schemas.experiments import ExperimentSpec, StoredSpec

Axis = Literal["update", "epoch", "seconds", "cost"]
"""Horizontal axes of the paper's figures."""


class Verdict(StrEnum):
    """Whether the runs confirm a claim."""

    REPRODUCED = "reproduced"
    PARTLY = "partly"
    NOT = "not reproduced"
    PENDING = "not enough data yet"


class Evidence(Contract):
    """A number over seeds: median, smallest and largest value, and the number of runs (or pairs of runs)."""

    what: str
    middle: float | None = Field(description="median; null here and below: infinite, because runs diverged")
    low: float | None = None
    high: float | None = None
    n: int = Field(ge=0, description="seeds")
    unit: str = ""


class ClaimResult(Contract):
    """A claim of the paper, the rule by which it is judged, and the verdict."""

    number: int = Field(ge=1)
    claim: str
    rule: str
    verdict: Verdict
    text: str = Field(description="reason of the verdict, with its numbers")
    evidence: list[Evidence] = Field([])


class PlotlyFigure(Contract):
    """A chart in plotly's JSON format."""

    data: list[dict[str, Any]]
    layout: dict[str, Any]


class PaperView(Contract):
    """A figure of the paper, drawn from runs, with a verdict for each claim."""

    title: str
    spec: StoredSpec
    total: int = Field(ge=0, description="runs")
    ended: int = Field(ge=0, description="runs that have ended")
    recorded: bool = Field(description="whether the runs ship with BlockHF; otherwise they are in this database")
    made_with: dict[str, str] = Field({}, description="machine and versions of the runs")
    notes: list[str] = Field([], description="remarks, such as settings that differ from the paper's")
    findings: list[ClaimResult]
    figure: PlotlyFigure


class Answer(Contract):
    """One question of the study: the figure of its sweep, and the conclusion."""

    question: str
    title: str
    text: str
    advice: str
    recorded: bool
    experiment: Id | None = Field(None, description="the sweep in this database; null if it has not been run")
    ended: int = Field(ge=0)
    total: int = Field(ge=0)
    figure: PlotlyFigure


class Study(Contract):
    """The study: every question with its answer."""

    answers: list[Answer]


class OwnRun(Contract):
    """The user's newest launch of a reproduction that is not deleted."""

    experiment: Id
    name: Title = Field(description="current name")
    created_at: datetime
    total: int = Field(ge=0, description="runs")
    ended: int = Field(ge=0, description="runs that have ended")


class Reproduction(Contract):
    """An experiment that can be launched: a figure of the paper at a scale, or a sweep of the study."""

    kind: str = Field(description="paper or study")
    subject: str = Field(description="the problem, or the question")
    scale: str = Field(description="quick, laptop or full; empty for the study")
    title: str
    spec: ExperimentSpec
    recorded: bool = Field(description="whether results ship with BlockHF")
    own: OwnRun | None = Field(None, description="its newest launch in this database; null if there is none")


class Reproductions(Contract):
    """Every experiment that can be reproduced."""

    reproductions: list[Reproduction]
