"""The paper's figures and the verdicts on its claims, from runs."""

from typing import Annotated

from fastapi import APIRouter, Path, Query

from backend.api.examples import PAPER_VIEW, REPRODUCTIONS, STUDY
from backend.api.openapi import errors, example
from backend.api.routes.parameters import ExperimentId
from backend.api.services import Services, ServicesOfRequest
from backend.errors import NotFound
from backend.paper import results_catalog
from backend.paper.curves import collect
from backend.paper.figures import Mode
from backend.paper.specifications import PaperProblem, Question, mark_of
from backend.paper.study import answer, empty
from backend.schemas.paper import Answer, Axis, OwnRun, PaperView, Reproductions, Study

router = APIRouter(tags=["paper"])

AxisOfRequest = Annotated[Axis, Query(description="horizontal axis")]
ModeOfRequest = Annotated[Mode, Query(description="colours for a light or dark page")]


@router.get("/paper", responses=errors() | example(REPRODUCTIONS))
def reproductions(services: ServicesOfRequest) -> Reproductions:
    """Experiments that reproduce the paper's figures, by scale, and the sweeps of the study: launch their `spec`."""
    return Reproductions(reproductions=results_catalog.catalog(services.database))


@router.get("/paper/{problem}", responses=errors(404) | example(PAPER_VIEW))
def recorded_paper(
    problem: Annotated[PaperProblem, Path(description="problem of the figure")],
    axis: AxisOfRequest = "update",
    mode: ModeOfRequest = "light",
) -> PaperView:
    """Figure and verdicts of the recorded runs that are included in BlockHF, at the scale `laptop`."""
    results = results_catalog.recorded(problem)
    if results is None:
        raise NotFound(f"this version includes no results of {problem.value}; launch its reproduction")
    return results_catalog.view(results, is_recorded=True, axis=axis, mode=mode)


@router.get("/experiments/{experiment_id}/paper", responses=errors(404) | example(PAPER_VIEW))
def paper(
    services: ServicesOfRequest,
    experiment_id: ExperimentId,
    axis: AxisOfRequest = "update",
    mode: ModeOfRequest = "light",
) -> PaperView:
    """Figure and verdicts of the runs of an experiment so far."""
    results = collect(services.experiments.get(experiment_id), services.metrics.series)
    return results_catalog.view(results, axis=axis, mode=mode)


@router.get("/study", responses=errors() | example(STUDY))
def study(services: ServicesOfRequest, mode: ModeOfRequest = "light") -> Study:
    """The study of settings: for each question the newest sweep of this backend, or else the recorded one."""
    newest = results_catalog.own_runs(services.database)
    return Study(answers=[_answer(services, question, newest.get(mark_of(question)), mode) for question in Question])


def _answer(services: Services, question: Question, own: OwnRun | None, mode: Mode) -> Answer:
    if own is not None:
        results = collect(services.experiments.get(own.experiment), services.metrics.series)
        return answer(question, results, recorded=False, experiment=own.experiment, mode=mode)
    shipped = results_catalog.recorded(question)
    return empty(question) if shipped is None else answer(question, shipped, recorded=True, mode=mode)
