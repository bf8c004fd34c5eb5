"""Comparisons: check, launch, read, change, delete, restore."""

from typing import Annotated

from fastapi import APIRouter, Header, Query

from backend.examples import CHANGE, DELETED, EXPERIMENT, PLAN, SPEC
from backend.openapi import body_example, errors, example
from backend.routes.parameters import ExperimentId, Limit
from backend.schemas import Experiment, ExperimentChange, ExperimentList, ExperimentSpec, Id, Plan, Slug, TagList
from backend.store import StoreOfRequest

router = APIRouter(prefix="/experiments", tags=["experiments"])

Key = Annotated[
    str | None,
    Header(alias="Idempotency-Key", min_length=1, max_length=200, description="repeats of a launch queue it once"),
]


@router.post(
    "",
    status_code=202,
    responses=errors(409, 422, 429, 503) | example(EXPERIMENT, status=202),
    openapi_extra=body_example(SPEC),
)
def launch(store: StoreOfRequest, spec: ExperimentSpec, idempotency_key: Key = None) -> Experiment:
    """Queue every run of a comparison: each optimizer with each seed."""
    return store.experiments.launch(spec, idempotency_key=idempotency_key)


@router.post("/check", responses=errors(422, 503) | example(PLAN), openapi_extra=body_example(SPEC))
def check(store: StoreOfRequest, spec: ExperimentSpec) -> Plan:
    """Say what a launch would queue; nothing is queued."""
    return store.experiments.check(spec)


@router.get("", responses=errors(404) | example({"experiments": [EXPERIMENT]}))
def list_experiments(
    store: StoreOfRequest,
    limit: Limit = 50,
    before: Annotated[Id | None, Query(description="older than this experiment")] = None,
    tag: Annotated[Slug | None, Query(description="only those with this tag")] = None,
    archived: Annotated[bool, Query(description="archived ones too")] = False,
    deleted: Annotated[bool, Query(description="deleted ones too")] = False,
) -> ExperimentList:
    """Experiments with their runs, newest first."""
    found = store.experiments.list(limit=limit, before=before, tag=tag, archived=archived, deleted=deleted)
    return ExperimentList(experiments=list(found))


@router.get("/tags", responses=errors() | example({"tags": ["damped", "paper"]}))
def tags(store: StoreOfRequest) -> TagList:
    """Every tag of the experiments that are not deleted."""
    return TagList(tags=list(store.experiments.tags()))


@router.get("/{experiment_id}", responses=errors(404) | example(EXPERIMENT))
def experiment(store: StoreOfRequest, experiment_id: ExperimentId) -> Experiment:
    """One experiment with its runs."""
    return store.experiments.get(experiment_id)


@router.patch("/{experiment_id}", responses=errors(404, 409) | example(EXPERIMENT), openapi_extra=body_example(CHANGE))
def change(store: StoreOfRequest, experiment_id: ExperimentId, body: ExperimentChange) -> Experiment:
    """Change name, note, tags or archive; what is left out stays."""
    return store.experiments.change(experiment_id, body)


@router.delete("/{experiment_id}", responses=errors(404) | example(DELETED))
def delete(store: StoreOfRequest, experiment_id: ExperimentId) -> Experiment:
    """Mark as deleted, and cancel the runs that have not ended; nothing is removed, and it can be restored."""
    return store.experiments.delete(experiment_id)


@router.post("/{experiment_id}/restore", responses=errors(404) | example(EXPERIMENT))
def restore(store: StoreOfRequest, experiment_id: ExperimentId) -> Experiment:
    """Take a deletion back; runs that it cancelled can be tried again, and go on from their checkpoints."""
    return store.experiments.restore(experiment_id)
