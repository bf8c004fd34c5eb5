"""Imports: histories made elsewhere, to compare ours with."""

from fastapi import APIRouter

from backend.examples import IMPORT, RUN
from backend.openapi import body_example, errors, example
from backend.schemas import Import, Run
from backend.store import StoreOfRequest

router = APIRouter(prefix="/imports", tags=["runs"])


@router.post("", status_code=201, responses=errors(422) | example(RUN, status=201), openapi_extra=body_example(IMPORT))
def import_run(store: StoreOfRequest, body: Import) -> Run:
    """Store a history from CSV, as /runs/{run_id}/export.csv writes it, as a finished run that is marked as imported.

    The columns `update` (1, 2, 3 ...) and one measure are needed; a value that is missing is not known.
    """
    return store.imports.add(body)
