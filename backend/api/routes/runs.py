"""Runs: read, cancel, pause, resume, retry, prioritize, export."""

from collections.abc import Iterable
from typing import Annotated

from fastapi import APIRouter, Query, Response

from backend.api.examples import CSV, EXPORT, RUN
from backend.api.exports import to_csv, to_json, to_parquet
from backend.api.file_responses import respond
from backend.api.openapi import body_example, errors, example
from backend.api.routes.parameters import Limit, RunId
from backend.api.services import Services, ServicesOfRequest
from backend.schemas.api import Priority, RunList
from backend.schemas.base import Id
from backend.schemas.runs import Run, RunStatus

router = APIRouter(prefix="/runs", tags=["runs"])

_PARQUET = "application/vnd.apache.parquet"


@router.get("", responses=errors(404) | example({"runs": [RUN]}))
def list_runs(
    services: ServicesOfRequest,
    experiment: Annotated[Id | None, Query(description="only runs of this experiment")] = None,
    status: Annotated[RunStatus | None, Query(description="only runs with this status")] = None,
    limit: Limit = 100,
    before: Annotated[Id | None, Query(description="only runs older than this one")] = None,
) -> RunList:
    """Runs, newest first."""
    return RunList(runs=list(services.runs.list(experiment=experiment, status=status, limit=limit, before=before)))


@router.get("/{run_id}", responses=errors(404) | example(RUN))
def run(services: ServicesOfRequest, run_id: RunId) -> Run:
    """One run."""
    return services.runs.get(run_id)


@router.post("/{run_id}/cancel", status_code=202, responses=errors(404, 409) | example(RUN, status=202))
def cancel(services: ServicesOfRequest, run_id: RunId) -> Run:
    """Cancel a run: immediately if it is queued, within seconds if it is running."""
    return services.queue.cancel(run_id)


@router.post("/{run_id}/pause", status_code=202, responses=errors(404, 409) | example(RUN, status=202))
def pause(services: ServicesOfRequest, run_id: RunId) -> Run:
    """Pause a run: immediately if it is queued, after its current update and with a checkpoint if it is running."""
    return services.queue.pause(run_id)


@router.post("/{run_id}/resume", status_code=202, responses=errors(404, 409) | example(RUN, status=202))
def resume(services: ServicesOfRequest, run_id: RunId) -> Run:
    """Continue a paused run; the results are bit for bit equal if device, threads and versions are the same."""
    return services.queue.resume(run_id)


@router.post("/{run_id}/retry", status_code=202, responses=errors(404, 409) | example(RUN, status=202))
def retry(services: ServicesOfRequest, run_id: RunId) -> Run:
    """Queue a failed or cancelled run again; it continues from its last checkpoint."""
    return services.queue.retry(run_id)


@router.post(
    "/{run_id}/priority",
    status_code=202,
    responses=errors(404, 409, 422) | example(RUN, status=202),
    openapi_extra=body_example({"priority": 10}),
)
def prioritize(services: ServicesOfRequest, run_id: RunId, body: Priority) -> Run:
    """Set the priority: among queued runs the highest goes first, and of equal ones the oldest."""
    return services.queue.prioritize(run_id, body.priority)


@router.get(
    "/{run_id}/export.csv",
    response_class=Response,
    responses=errors(404) | example(CSV, media_type="text/csv", schema={"type": "string"}),
)
async def export(services: ServicesOfRequest, run_id: RunId) -> Response:
    """All rows of a run as CSV, one line per update; columns of a block begin with block0_, block1_ ..."""
    return await services.in_thread(_csv, run_id)


def _csv(services: Services, run_id: str) -> Response:
    with services.metrics.whole(run_id) as reading:
        return _file(services, f"{run_id}.csv", to_csv(reading), "text/csv; charset=utf-8")


@router.get(
    "/{run_id}/export.json",
    response_class=Response,
    responses=errors(404) | example(EXPORT, schema={"type": "object"}),
)
async def export_json(services: ServicesOfRequest, run_id: RunId) -> Response:
    """The run and its rows, as columns, in one JSON document."""
    return await services.in_thread(_json, run_id)


def _json(services: Services, run_id: str) -> Response:
    run = services.runs.get(run_id)
    with services.metrics.whole(run_id) as reading:
        return _file(services, f"{run_id}.json", to_json(run, reading), "application/json")


@router.get(
    "/{run_id}/export.parquet",
    response_class=Response,
    responses=errors(404) | example("PAR1", media_type=_PARQUET, schema={"type": "string", "format": "binary"}),
)
async def export_parquet(services: ServicesOfRequest, run_id: RunId) -> Response:
    """All rows as typed Parquet; the metadata `blockhf.run` is the run as JSON."""
    return await services.in_thread(_parquet, run_id)


def _parquet(services: Services, run_id: str) -> Response:
    run = services.runs.get(run_id)
    with services.metrics.whole(run_id) as reading:
        return _file(services, f"{run_id}.parquet", to_parquet(run, reading), _PARQUET)


def _file(services: Services, name: str, parts: Iterable[bytes], media_type: str) -> Response:
    headers = {"Content-Disposition": f'attachment; filename="{name}"'}
    return respond(parts, services.file_threads, media_type=media_type, headers=headers)
