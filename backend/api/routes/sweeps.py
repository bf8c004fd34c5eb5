"""Sweeps: a comparison over a grid or a list of settings."""

from fastapi import APIRouter

from backend.api.examples import EXPERIMENT, SWEEP
from backend.api.openapi import body_example, errors, example
from backend.api.routes.experiments import Key
from backend.api.services import ServicesOfRequest
from backend.experiments.sweeps import expand
from backend.schemas.api import Sweep
from backend.schemas.runs import Experiment

router = APIRouter(prefix="/sweeps", tags=["experiments"])


@router.post(
    "",
    status_code=202,
    responses=errors(409, 422, 429, 503) | example(EXPERIMENT, status=202),
    openapi_extra=body_example(SWEEP),
)
def sweep(services: ServicesOfRequest, body: Sweep, idempotency_key: Key = None) -> Experiment:
    """Queue a comparison with one optimizer per combination of the grid and point of the list."""
    return services.experiments.launch(expand(body), idempotency_key=idempotency_key)
