"""What is said of the paper's claims: verdicts with the numbers behind them, and figures."""

from datetime import datetime
from enum import StrEnum
from typing import Any, Literal

from pydantic import Field

from backend.schemas.base import Contract, Id, Title
from backend.schemas.experiments import ExperimentSpec

Axis = Literal["update", "epoch", "seconds", "cost"]
"""the axes that the paper's figures have"""


class Verdict(StrEnum):
    """What the runs say of a claim."""

    REPRODUCED = "reproduced"
    PARTLY = "partly"
    NOT = "not reproduced"
    PENDING = "not enough data yet"


class Evidence(Contract):
    """A number over seeds: its median, its least and largest value, and how many runs (or pairs of runs) it is of."""

    what: str
    middle: float | None = Field(description="the median; null here and below: without bound, since runs diverged")
    low: float | None = None
    high: float | None = None
    n: int = Field(ge=0, description="seeds")
    unit: str = ""


class ClaimResult(Contract):
    """A claim of the paper, the rule by which it is judged, and what came of it."""

    number: int = Field(ge=1)
    claim: str
    rule: str
    verdict: Verdict
    text: str = Field(description="the verdict's reason in a sentence or two, with its numbers")
    evidence: list[Evidence] = Field([])


class PlotlyFigure(Contract):
    """A chart as plotly reads it."""

    data: list[dict[str, Any]]
    layout: dict[str, Any]


class PaperView(Contract):
    """A figure of the paper as runs draw it, with a verdict for each claim."""

    title: str
    spec: ExperimentSpec
    total: int = Field(ge=0, description="runs")
    ended: int = Field(ge=0, description="runs that have ended")
    recorded: bool = Field(description="of runs that ship with BlockHF, not of this database")
    made_with: dict[str, str] = Field({}, description="machine and versions of the runs")
    notes: list[str] = Field([], description="what else is to be known: settings that differ from the paper's, trials")
    findings: list[ClaimResult]
    figure: PlotlyFigure


class Answer(Contract):
    """One question of the study: its sweep's figure, and what follows from it."""

    question: str
    title: str
    text: str
    advice: str
    recorded: bool
    experiment: Id | None = Field(None, description="the sweep in this database; null where it has not been run here")
    ended: int = Field(ge=0)
    total: int = Field(ge=0)
    figure: PlotlyFigure


class Study(Contract):
    """What to choose, and why: the answered questions."""

    answers: list[Answer]


class OwnRun(Contract):
    """The newest launch of a reproduction in this database that is not deleted."""

    experiment: Id
    name: Title = Field(description="what it is called now")
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
    own: OwnRun | None = Field(None, description="its newest launch here; null where there is none")


class Reproductions(Contract):
    """All that can be reproduced."""

    reproductions: list[Reproduction]
