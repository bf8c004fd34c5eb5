"""Imports: histories of runs that were trained elsewhere."""

from fastapi import APIRouter

from backend.api.examples import IMPORT, RUN
from backend.api.openapi import body_example, errors, example
from backend.api.services import ServicesOfRequest
from backend.schemas.api import Import
from backend.schemas.runs import Run

router = APIRouter(prefix="/imports", tags=["runs"])


@router.post("", status_code=201, responses=errors(422) | example(RUN, status=201), openapi_extra=body_example(IMPORT))
def import_run(services: ServicesOfRequest, body: Import) -> Run:
    """Store a history in the format of /runs/{run_id}/export.csv as a finished run that is marked as imported.

    The columns `update` (1, 2, 3 ...) and at least one measure are required; an empty cell means not measured. All rows
    are stored, or none. BLOCKHF_MAX_IMPORT_BYTES limits the size of the body.
    """
    return services.imports.add(body)
