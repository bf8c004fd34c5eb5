"""Results of reproductions: the newest launch in the database, or files that ship with BlockHF."""

import json
from functools import cache
from importlib.resources import files
from pathlib import Path

from sqlalchemy import case, func, or_, select

from backend.paper.claims import judge_claims
from backend.paper.curves import Results, read
from backend.paper.figures import Mode, paper_figure
from backend.paper.specifications import NOTES, SIZES, PaperProblem, Question, Scale, reproduction, study
from backend.schemas.experiments import OLD_MARKS, ExperimentSpec
from backend.schemas.paper import Axis, OwnRun, PaperView, Reproduction
from backend.schemas.runs import RunStatus
from backend.storage.database import Database
from backend.storage.run_rows import moment
from backend.storage.tables import EXPERIMENTS, RUNS


def catalog(database: Database) -> list[Reproduction]:
    """List every experiment that can be launched: the paper's figures by scale, then the study's sweeps."""
    newest = own_runs(database)
    figures = [
        Reproduction(
            kind="paper", subject=problem.value, scale=scale.value, title=spec.name, spec=spec,
            recorded=scale is Scale.LAPTOP and recorded(problem) is not None, own=newest.get(spec.reproduces or ""),
        )
        for problem, scale in SIZES
        for spec in [reproduction(problem, scale)]
    ]  # fmt: skip
    sweeps = [
        Reproduction(
            kind="study", subject=question.value, scale="", title=spec.name, spec=spec,
            recorded=recorded(question) is not None, own=newest.get(spec.reproduces or ""),
        )
        for question in Question
        for spec in [study(question)]
    ]  # fmt: skip
    return figures + sweeps


def recorded(subject: PaperProblem | Question) -> Results | None:
    """Return the shipped results of a figure (`laptop` scale) or a question; None if there are none."""
    return _shipped().get(subject.value)


@cache
def _shipped() -> dict[str, Results]:
    paths = sorted(Path(str(files("backend.paper") / "recorded")).glob("*.parquet"))
    return dict(zip((path.stem for path in paths), read(paths), strict=True))


def own_runs(database: Database) -> dict[str, OwnRun]:
    """Return the newest launch of each reproduction that is not deleted, by its mark.

    Old specifications have no mark. They are identified by the name at their launch, which edits do not change.
    """
    text = EXPERIMENTS.c.spec
    named = {spec.name: spec.reproduces for spec in _specifications()}
    marked = [text.contains(f'"reproduces":"{kind}.', autoescape=True) for kind in ("paper", "study")]
    unmarked = [text.contains(f'"name":"{kind}: ', autoescape=True) for kind in ("Paper", "Study")]
    ended = func.sum(case((RUNS.c.status.in_([s.value for s in RunStatus if s.final]), 1), else_=0)).label("ended")
    query = (
        select(EXPERIMENTS, func.count().label("total"), ended)
        .join(RUNS, RUNS.c.experiment == EXPERIMENTS.c.number)
        .where(EXPERIMENTS.c.deleted_at.is_(None), or_(*marked, *unmarked))
        .group_by(EXPERIMENTS.c.number)
        .order_by(EXPERIMENTS.c.number)
    )
    found: dict[str, OwnRun] = {}
    with database.read() as connection:
        for row in connection.execute(query):
            spec = json.loads(row.spec)
            mark = spec["reproduces"] if "reproduces" in spec else named.get(spec["name"])
            if mark:
                found[OLD_MARKS.get(mark, mark)] = OwnRun(
                    experiment=row.id,
                    name=row.name,
                    created_at=moment(row.created_at),
                    total=row.total,
                    ended=row.ended,
                )
    return found


def _specifications() -> list[ExperimentSpec]:
    return [*(reproduction(*key) for key in SIZES), *(study(question) for question in Question)]


def view(results: Results, *, is_recorded: bool = False, axis: Axis = "update", mode: Mode = "light") -> PaperView:
    """Draw the paper's figure from results, and test the claims with them."""
    notes = NOTES.get(PaperProblem(results.spec.problem.name), []) if is_recorded else []
    return PaperView(
        title=results.spec.name,
        spec=results.spec,
        total=len(results.curves),
        ended=results.ended,
        recorded=is_recorded,
        made_with=results.environment,
        notes=list(notes),
        findings=judge_claims(results),
        figure=paper_figure(results, axis=axis, mode=mode),
    )
