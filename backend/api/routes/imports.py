"""Imports: histories made elsewhere, to compare ours with."""

from fastapi import APIRouter

from backend.api.examples import IMPORT, IMPORT_PIECE, RUN
from backend.api.openapi import body_example, errors, example
from backend.api.routes.parameters import RunId
from backend.api.services import StoreOfRequest
from backend.schemas.api import Import, ImportPiece
from backend.schemas.runs import Run

router = APIRouter(prefix="/imports", tags=["runs"])


@router.post("", status_code=201, responses=errors(422) | example(RUN, status=201), openapi_extra=body_example(IMPORT))
def import_run(store: StoreOfRequest, body: Import) -> Run:
    """Store a history from CSV, as /runs/{run_id}/export.csv writes it, as a finished run that is marked as imported.

    The columns `update` (1, 2, 3 ...) and one measure are needed; a value that is missing is not known. A history that
    is longer than a request may be comes in pieces: this one says `more`, and the others go to /imports/{run_id}.
    """
    return store.imports.add(body)


@router.post("/{run_id}", responses=errors(404, 409, 422) | example(RUN), openapi_extra=body_example(IMPORT_PIECE))
def import_piece(store: StoreOfRequest, run_id: RunId, body: ImportPiece) -> Run:
    """Store the next rows of a history whose first ones said `more`; until one says that none follow, the run's

    `ended_by` is import-unfinished. Repeating rows that are stored is fine; leaving some out is not.
    """
    return store.imports.extend(run_id, body)
