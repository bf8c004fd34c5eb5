"""Where results are found: the newest experiment of a name in the database, or files that ship with BlockHF."""

from collections.abc import Iterable
from functools import lru_cache
from importlib.resources import files
from pathlib import Path

from sqlalchemy import func, select

from backend.database import Database
from backend.paper.figures import Axis, Mode, paper_figure
from backend.paper.reproductions import (
    NOTES,
    SIZES,
    PaperProblem,
    Question,
    Scale,
    name_of,
    reproduction,
    study,
    study_name,
)
from backend.paper.results import Results, read
from backend.paper.verdicts import findings
from backend.schemas import PaperView, Reproduction
from backend.tables import EXPERIMENTS


def catalog() -> list[Reproduction]:
    """List every experiment that can be launched: the paper's figures by scale, then the study's sweeps."""
    figures = [
        Reproduction(
            kind="paper", subject=problem.value, scale=scale.value, title=name_of(problem, scale),
            spec=reproduction(problem, scale), recorded=scale is Scale.LAPTOP and recorded(problem) is not None,
        )
        for problem, scale in SIZES
    ]  # fmt: skip
    sweeps = [
        Reproduction(
            kind="study", subject=question.value, scale="", title=study_name(question), spec=study(question),
            recorded=recorded(question) is not None,
        )
        for question in Question
    ]  # fmt: skip
    return figures + sweeps


@lru_cache
def recorded(subject: PaperProblem | Question) -> Results | None:
    """Return the results at `laptop` scale, or of the study, that ship with BlockHF; None where there are none."""
    path = Path(str(files("backend.paper") / "recorded" / f"{subject.value}.parquet"))
    return read(path) if path.is_file() else None


def newest(database: Database, names: Iterable[str]) -> dict[str, str]:
    """Return the id of the newest experiment of each name that has one and is not deleted."""
    chosen = (
        select(func.max(EXPERIMENTS.c.number))
        .where(EXPERIMENTS.c.name.in_(list(names)), EXPERIMENTS.c.deleted_at.is_(None))
        .group_by(EXPERIMENTS.c.name)
    )
    with database.read() as connection:
        rows = connection.execute(select(EXPERIMENTS.c.name, EXPERIMENTS.c.id).where(EXPERIMENTS.c.number.in_(chosen)))
        return {row.name: row.id for row in rows}


def view(results: Results, *, is_recorded: bool = False, axis: Axis = "update", mode: Mode = "light") -> PaperView:
    """Draw results as the paper does, and judge its claims by them."""
    notes = NOTES.get(PaperProblem(results.spec.problem.name), []) if is_recorded else []
    return PaperView(
        title=results.spec.name,
        spec=results.spec,
        total=len(results.curves),
        ended=results.ended,
        recorded=is_recorded,
        made_with=results.environment,
        notes=list(notes),
        findings=findings(results),
        figure=paper_figure(results, axis=axis, mode=mode),
    )
