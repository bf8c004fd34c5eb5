"""Reports of a worker about the run it has claimed; every request repeats the claim number."""

from fastapi import APIRouter

from backend.api.examples import APPEND, FINISH, HEARTBEAT, START
from backend.api.openapi import body_example, errors, example
from backend.api.routes.parameters import RunId
from backend.api.services import ServicesOfRequest
from backend.schemas.api import Append, Appended, Finish, Heartbeat, HeartbeatAnswer, Start

router = APIRouter(prefix="/runs/{run_id}", tags=["updates"])


@router.post(
    "/heartbeat",
    responses=errors(404, 409, 422) | example({"cancel": False, "pause": False}),
    openapi_extra=body_example(HEARTBEAT),
)
def heartbeat(services: ServicesOfRequest, run_id: RunId, body: Heartbeat) -> HeartbeatAnswer:
    """Renew the lease; return whether the user wants the run cancelled or paused."""
    return services.queue.heartbeat(run_id, body.claim_number)


@router.post("/start", status_code=204, responses=errors(404, 409, 422), openapi_extra=body_example(START))
def start(services: ServicesOfRequest, run_id: RunId, body: Start) -> None:
    """Report environment, blocks and parameters before the first update; rows after `resumed_from` are deleted."""
    services.queue.start(run_id, body)


@router.post(
    "/updates", responses=errors(404, 409, 422) | example({"last_update": 1}), openapi_extra=body_example(APPEND)
)
def append(services: ServicesOfRequest, run_id: RunId, body: Append) -> Appended:
    """Store the next updates and record a checkpoint. Updates that are already stored are skipped."""
    return Appended(last_update=services.metrics.append(run_id, body))


@router.post("/finish", status_code=204, responses=errors(404, 409, 422), openapi_extra=body_example(FINISH))
def finish(services: ServicesOfRequest, run_id: RunId, body: Finish) -> None:
    """Finish or pause the run. Idempotent."""
    services.queue.finish(run_id, body)
