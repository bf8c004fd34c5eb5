"""Sweeps: a comparison over a grid of settings, or a list of them."""

from fastapi import APIRouter

from backend.examples import EXPERIMENT, SWEEP
from backend.openapi import body_example, errors, example
from backend.routes.experiments import Key
from backend.schemas import Experiment, Sweep
from backend.store import StoreOfRequest
from backend.sweeps import expand

router = APIRouter(prefix="/sweeps", tags=["experiments"])


@router.post(
    "",
    status_code=202,
    responses=errors(409, 422, 429, 503) | example(EXPERIMENT, status=202),
    openapi_extra=body_example(SWEEP),
)
def sweep(store: StoreOfRequest, body: Sweep, idempotency_key: Key = None) -> Experiment:
    """Queue a comparison whose optimizers take each combination of the grid, or each point of the list."""
    return store.experiments.launch(expand(body), idempotency_key=idempotency_key)
