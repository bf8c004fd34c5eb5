"""Tests of fetching final weights and checkpoints."""

import hashlib

import pytest

from backend.errors import NotFound
from backend.schemas.api import Claim
from backend.schemas.runs import Checkpoint, RunStatus
from backend.settings import Settings
from tests.backend.samples import updates
from tests.clients import BothClient


def test_final_weights_are_fetched(client: BothClient, claim: Claim, settings: Settings) -> None:
    """Weights exist once the run has finished and the file matches; otherwise 404 gives the reason."""
    with pytest.raises(NotFound, match="has not finished"):
        client.weights(claim.run.id)
    sha256 = hashlib.sha256(b"weights").hexdigest()
    client.finish(claim.run.id, claim.claim_number, RunStatus.FINISHED, ended_by="updates = 5 reached", weights=sha256)
    with pytest.raises(NotFound, match="not on this machine"):
        client.weights(claim.run.id)
    path = settings.home / "checkpoints" / claim.run.id / "weights.safetensors"
    path.parent.mkdir(parents=True)
    path.write_bytes(b"other weights")
    with pytest.raises(NotFound, match="not on this machine"):
        client.weights(claim.run.id)
    path.write_bytes(b"weights")
    assert client.weights(claim.run.id) == b"weights"


def test_the_checkpoint_is_fetched(client: BothClient, claim: Claim, settings: Settings) -> None:
    """A checkpoint exists while the run can continue from it, and only if the file matches."""
    run, token = claim.run.id, claim.claim_number
    with pytest.raises(NotFound, match="none has been written yet"):
        client.checkpoint(run)
    named = Checkpoint(update=5, sha256=hashlib.sha256(b"state").hexdigest())
    client.append(run, token, updates(1, 5), checkpoint=named)
    with pytest.raises(NotFound, match="not on this machine"):
        client.checkpoint(run)
    folder = settings.home / "checkpoints" / run
    folder.mkdir(parents=True)
    (folder / "5-1.safetensors").write_bytes(b"another's state")
    (folder / "5-2.safetensors").write_bytes(b"state")
    assert client.checkpoint(run) == b"state"
    client.finish(run, token, RunStatus.FINISHED, ended_by="updates = 5 reached", weights=named.sha256)
    with pytest.raises(NotFound, match="the run has finished"):
        client.checkpoint(run)
