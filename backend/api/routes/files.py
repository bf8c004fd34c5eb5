"""Final weights and checkpoint of a run, if its worker uses the backend's folder BLOCKHF_HOME."""

from contextlib import ExitStack, suppress
from hashlib import file_digest
from os import SEEK_END
from pathlib import Path
from typing import BinaryIO

from fastapi import APIRouter, Response

from backend.api.file_responses import OpenFileResponse
from backend.api.openapi import errors, example
from backend.api.routes.parameters import RunId
from backend.api.services import Services, ServicesOfRequest
from backend.errors import NotFound

router = APIRouter(prefix="/runs/{run_id}", tags=["runs"])

_SAFETENSORS = "application/octet-stream"
_FILE = errors(404) | example("...", media_type=_SAFETENSORS, schema={"type": "string", "format": "binary"})


@router.get("/weights.safetensors", response_class=Response, responses=_FILE)
async def weights(services: ServicesOfRequest, run_id: RunId) -> Response:
    """The final weights of a finished run, as safetensors; averaged weights, if any, are called average.NAME."""
    return await services.in_thread(_weights, run_id)


def _weights(services: Services, run_id: str) -> Response:
    sha256 = services.runs.get(run_id).weights
    if sha256 is None:
        raise NotFound(f"run {run_id} has no final weights: it has not finished, or writing them failed")
    file = _find(services.settings.home / "checkpoints" / run_id, "weights.safetensors", sha256)
    if file is None:
        raise NotFound(f"the final weights of run {run_id} are not on this machine, but with its worker")
    return _answer(file, run_id)


@router.get("/checkpoint.safetensors", response_class=Response, responses=_FILE)
async def checkpoint(services: ServicesOfRequest, run_id: RunId) -> Response:
    """The last checkpoint of an unfinished run, as safetensors: weights, optimizer state and a JSON document."""
    return await services.in_thread(_checkpoint, run_id)


def _checkpoint(services: Services, run_id: str) -> Response:
    named = services.runs.get(run_id).checkpoint
    if named is None:
        raise NotFound(f"run {run_id} has no checkpoint: none has been written yet, or the run has finished")
    file = _find(services.settings.home / "checkpoints" / run_id, f"{named.update}-*.safetensors", named.sha256)
    if file is None:
        raise NotFound(f"the checkpoint of run {run_id} is not on this machine, but with its worker")
    return _answer(file, f"{run_id}-{named.update}")


def _find(folder: Path, pattern: str, sha256: str) -> BinaryIO | None:
    """Open the file that matches the pattern and has this SHA-256; None if there is none."""
    for path in folder.glob(pattern):
        with suppress(OSError), ExitStack() as opened:
            file = opened.enter_context(path.open("rb"))
            if file_digest(file, "sha256").hexdigest() == sha256:
                opened.pop_all()
                return file
    return None


def _answer(file: BinaryIO, name: str) -> Response:
    headers = {"Content-Disposition": f'attachment; filename="{name}.safetensors"'}
    length = file.seek(0, SEEK_END)
    file.seek(0)
    return OpenFileResponse(file, length, media_type=_SAFETENSORS, headers=headers)
