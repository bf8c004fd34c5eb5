"""Comparisons: check, launch, read."""

from typing import Annotated

from fastapi import APIRouter, Header, Query

from backend.examples import EXPERIMENT, PLAN, SPEC
from backend.openapi import body_example, errors, example
from backend.routes.parameters import ExperimentId, Limit
from backend.schemas import Experiment, ExperimentList, ExperimentSpec, Id, Plan
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
) -> ExperimentList:
    """Experiments with their runs, newest first."""
    return ExperimentList(experiments=list(store.experiments.list(limit=limit, before=before)))


@router.get("/{experiment_id}", responses=errors(404) | example(EXPERIMENT))
def experiment(store: StoreOfRequest, experiment_id: ExperimentId) -> Experiment:
    """One experiment with its runs."""
    return store.experiments.get(experiment_id)
