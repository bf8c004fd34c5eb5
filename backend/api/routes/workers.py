"""Workers: register, claim runs, send heartbeats."""

from fastapi import APIRouter, Response

from backend.api.examples import ANNOUNCEMENT, CLAIM, KEPT_RUNS, REGISTRATION, RUN_STATES
from backend.api.openapi import body_example, errors, example
from backend.api.routes.parameters import WorkerId
from backend.api.services import ServicesOfRequest
from backend.schemas.api import Announcement, Claim, KeptRuns, Registration, RunStates

router = APIRouter(prefix="/workers", tags=["workers"])


@router.post(
    "",
    status_code=201,
    responses=errors(422) | example(REGISTRATION, status=201),
    openapi_extra=body_example(ANNOUNCEMENT),
)
def register(services: ServicesOfRequest, body: Announcement) -> Registration:
    """Register a worker with its problems and data sets."""
    return services.workers.register(body)


@router.post(
    "/{worker_id}/claim",
    response_model=Claim,
    responses=errors(404) | example(CLAIM) | {204: {"description": "there is no run that this worker can train"}},
)
def claim(services: ServicesOfRequest, worker_id: WorkerId) -> Claim | Response:
    """Claim the first run in line that this worker can train: a queued one, or one with an expired lease."""
    return services.queue.claim(worker_id) or Response(status_code=204)


@router.post("/runs", responses=errors() | example(RUN_STATES), openapi_extra=body_example(KEPT_RUNS))
def run_states(services: ServicesOfRequest, body: KeptRuns) -> RunStates:
    """Return the states of runs, so that a worker does not remove a file from which a run can continue."""
    return RunStates(runs=services.queue.run_states(body.runs))


@router.post("/{worker_id}/heartbeat", status_code=204, responses=errors(404))
def heartbeat(services: ServicesOfRequest, worker_id: WorkerId) -> None:
    """Report that an idle worker is alive."""
    services.workers.heartbeat(worker_id)
