"""The final weights of a run, where the worker shares the backend's home."""

import hashlib
from pathlib import Path

from fastapi import APIRouter, Response

from backend.errors import NotFound
from backend.openapi import errors, example
from backend.routes.parameters import RunId
from backend.store import StoreOfRequest

router = APIRouter(prefix="/runs/{run_id}", tags=["runs"])

_SAFETENSORS = "application/octet-stream"


@router.get(
    "/weights.safetensors",
    response_class=Response,
    responses=errors(404) | example("...", media_type=_SAFETENSORS, schema={"type": "string", "format": "binary"}),
)
def weights(store: StoreOfRequest, run_id: RunId) -> Response:
    """The final weights of a finished run by name, as safetensors; where a mean was taken, that too as average.NAME."""
    sha256 = store.runs.get(run_id).weights
    if sha256 is None:
        raise NotFound(f"run {run_id} has no final weights: it has not finished, or they could not be written")
    content = _read(store.settings.home / "checkpoints" / run_id / "weights.safetensors")
    if hashlib.sha256(content).hexdigest() != sha256:
        raise NotFound(f"the final weights of run {run_id} are not on this machine; its worker has them")
    headers = {"Content-Disposition": f'attachment; filename="{run_id}.safetensors"'}
    return Response(content, media_type=_SAFETENSORS, headers=headers)


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError:
        return b""
