"""Comparisons: check, launch, read, change, delete, restore."""

from collections.abc import Iterable, Iterator
from typing import Annotated

from fastapi import APIRouter, Header, Query, Response
from fastapi.concurrency import run_in_threadpool

from backend.api.examples import CHANGE, DELETED, EXPERIMENT, PLAN, SPEC
from backend.api.openapi import body_example, errors, example
from backend.api.routes.parameters import ExperimentId, Limit
from backend.api.services import Services, ServicesOfRequest
from backend.experiments.experiments import ListFilter
from backend.schemas.api import ExperimentChange, ExperimentList, Plan, TagList
from backend.schemas.base import Id, Slug
from backend.schemas.experiments import ExperimentSpec
from backend.schemas.runs import Experiment

router = APIRouter(prefix="/experiments", tags=["experiments"])

_MANY = 100
"""Longer lists are generated in the threads for files, a few at a time."""

Key = Annotated[
    str | None,
    Header(
        alias="Idempotency-Key",
        min_length=1,
        max_length=200,
        description="repeated launches with the same key are queued once",
    ),
]


@router.post(
    "",
    status_code=202,
    responses=errors(409, 422, 429, 503) | example(EXPERIMENT, status=202),
    openapi_extra=body_example(SPEC),
)
def launch(services: ServicesOfRequest, spec: ExperimentSpec, idempotency_key: Key = None) -> Experiment:
    """Queue every run of a comparison: each optimizer with each seed."""
    return services.experiments.launch(spec, idempotency_key=idempotency_key)


@router.post("/check", responses=errors(422, 503) | example(PLAN), openapi_extra=body_example(SPEC))
def check(services: ServicesOfRequest, spec: ExperimentSpec) -> Plan:
    """Validate a launch and return what it would queue, without queueing it."""
    return services.experiments.check(spec)


@router.get("", response_model=ExperimentList, responses=errors(404) | example({"experiments": [EXPERIMENT]}))
async def list_experiments(
    services: ServicesOfRequest,
    limit: Limit = 50,
    before: Annotated[Id | None, Query(description="only experiments older than this one")] = None,
    tag: Annotated[Slug | None, Query(description="only experiments with this tag")] = None,
    archived: Annotated[bool, Query(description="include archived experiments")] = False,
    deleted: Annotated[bool, Query(description="include deleted experiments")] = False,
) -> Response:
    """Experiments with their runs, newest first."""
    filters = ListFilter(limit=limit, before=before, tag=tag, archived=archived, deleted=deleted)
    if limit > _MANY:
        return await services.in_thread(_listed, filters)
    return await run_in_threadpool(_listed, services, filters)


def _listed(services: Services, filters: ListFilter) -> Response:
    with services.experiments.each(**filters) as found:
        return Response(b"".join(_parts(found)), media_type="application/json")


def _parts(found: Iterable[Experiment]) -> Iterator[bytes]:
    """Yield a list as JSON, one experiment at a time."""
    yield b'{"experiments":['
    for n, one in enumerate(found):
        yield (b"," if n else b"") + one.model_dump_json().encode()
    yield b"]}"


@router.get("/tags", responses=errors() | example({"tags": ["damped", "paper"]}))
def tags(services: ServicesOfRequest) -> TagList:
    """All tags of experiments that are not deleted."""
    return TagList(tags=list(services.experiments.tags()))


@router.get("/{experiment_id}", responses=errors(404) | example(EXPERIMENT))
def experiment(services: ServicesOfRequest, experiment_id: ExperimentId) -> Experiment:
    """One experiment with its runs."""
    return services.experiments.get(experiment_id)


@router.patch("/{experiment_id}", responses=errors(404, 409) | example(EXPERIMENT), openapi_extra=body_example(CHANGE))
def change(services: ServicesOfRequest, experiment_id: ExperimentId, body: ExperimentChange) -> Experiment:
    """Change name, note, tags or archived state; omitted fields are unchanged."""
    return services.experiments.change(experiment_id, body)


@router.delete("/{experiment_id}", responses=errors(404) | example(DELETED))
def delete(services: ServicesOfRequest, experiment_id: ExperimentId) -> Experiment:
    """Delete an experiment and cancel its unfinished runs. It can be restored until a purge removes it."""
    return services.experiments.delete(experiment_id)


@router.post("/{experiment_id}/restore", responses=errors(404) | example(EXPERIMENT))
def restore(services: ServicesOfRequest, experiment_id: ExperimentId) -> Experiment:
    """Restore a deleted experiment; its cancelled runs can be retried and continue from their checkpoints."""
    return services.experiments.restore(experiment_id)
