"""Tests of fetching final weights."""

import hashlib

import pytest

from backend.client import Client
from backend.errors import NotFound
from backend.schemas import Claim, RunStatus
from backend.settings import Settings


def test_final_weights_are_fetched(client: Client, claim: Claim, settings: Settings) -> None:
    """They are there once the run has finished and the file is the one that the worker wrote; else 404 says why."""
    with pytest.raises(NotFound, match="has not finished"):
        client.weights(claim.run.id)
    sha256 = hashlib.sha256(b"weights").hexdigest()
    client.finish(claim.run.id, claim.token, RunStatus.FINISHED, ended_by="updates = 5 reached", weights=sha256)
    with pytest.raises(NotFound, match="not on this machine; its worker has them"):
        client.weights(claim.run.id)
    path = settings.home / "checkpoints" / claim.run.id / "weights.safetensors"
    path.parent.mkdir(parents=True)
    path.write_bytes(b"other weights")
    with pytest.raises(NotFound, match="not on this machine"):
        client.weights(claim.run.id)
    path.write_bytes(b"weights")
    assert client.weights(claim.run.id) == b"weights"
