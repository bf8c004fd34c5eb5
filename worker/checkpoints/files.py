"""A run's state on disk: a file is there whole or not at all, and is found again by its SHA-256."""

import hashlib
import json
import logging
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor

from backend.durable_files import write_durably
from backend.schemas.runs import Checkpoint
from worker.checkpoints.quota import SUFFIX, WEIGHTS, Room, Standings

log = logging.getLogger(__name__)

_DOCUMENT = "blockhf"


@dataclass(frozen=True)
class State:
    """All that a run's next update depends on beside its configuration: tensors by name, and a JSON document."""

    tensors: dict[str, Tensor]
    document: dict[str, Any]

    def to_bytes(self) -> bytes:
        """Write it down in the form safetensors; the same state gives the same bytes."""
        tensors = {name: tensor.detach().to("cpu", copy=True).contiguous() for name, tensor in self.tensors.items()}
        return save(tensors, {_DOCUMENT: json.dumps(self.document, sort_keys=True)})

    @classmethod
    def from_bytes(cls, data: bytes) -> "State":
        """Read it back; every tensor has memory of its own, aligned as torch does it.

        Raises:
            ValueError: these are not the bytes of a state.
        """
        try:
            size = int.from_bytes(data[:8], "little")
            document = json.loads(json.loads(data[8 : 8 + size])["__metadata__"][_DOCUMENT])
            tensors = {name: tensor.clone() for name, tensor in load(data).items()}
        except (SafetensorError, KeyError, ValueError) as error:
            raise ValueError(f"this is no checkpoint: {error}") from error
        return cls(tensors, document)


class Checkpoints:
    """The checkpoints of one run, written under one claim's token.

    Two are kept: the newest, and the one that the backend names, until it names the newest. Files of a later token
    belong to whoever has the run now, and are left alone.

    Args:
        root: the folder of all runs' checkpoints.
        run_id: the run.
        token: the claim's.
        limit: how large the files under `root` may be together [bytes].
        standings: tells how other runs stand, whose files may have to make room.
    """

    def __init__(
        self, root: Path, run_id: str, token: int, *, limit: int, standings: Standings = lambda _: None
    ) -> None:
        self._room = Room(root, limit, standings)
        self._run_id = run_id
        self._folder = root / run_id
        self._token = token
        self._named: str | None = None

    def load(self, named: Checkpoint) -> State | None:
        """Find a checkpoint; None where it is not on this machine, or not what was written."""
        for path in self._folder.glob(f"{named.update}-*{SUFFIX}"):
            data = path.read_bytes()
            if hashlib.sha256(data).hexdigest() == named.sha256:
                self._named = path.name
                return State.from_bytes(data)
        return None

    def save(self, state: State, update: int) -> Checkpoint:
        """Write a checkpoint; when this returns it survives a power failure.

        Raises:
            OSError: there is no room, on the disk or under the limit.
        """
        data = state.to_bytes()
        self._room.make(len(data), self._run_id)
        path = self._folder / f"{update}-{self._token}{SUFFIX}"
        write_durably(path, data)
        self._thin({path.name, self._named})
        return Checkpoint(update=update, sha256=hashlib.sha256(data).hexdigest())

    def named(self, checkpoint: Checkpoint) -> None:
        """Note that the backend names this checkpoint, so that earlier ones may go."""
        self._named = f"{checkpoint.update}-{self._token}{SUFFIX}"
        self._thin({max((path.name for path in self._files()), key=_order, default=None), self._named})

    def save_weights(self, weights: State) -> str:
        """Write the final weights and return their SHA-256."""
        data = weights.to_bytes()
        self._room.make(len(data), self._run_id)
        write_durably(self._folder / WEIGHTS, data)
        return hashlib.sha256(data).hexdigest()

    def finished(self) -> None:
        """Drop what only a run that goes on needs; the final weights stay."""
        self._thin(set())

    def _files(self) -> list[Path]:
        return [path for path in self._folder.glob(f"*-*{SUFFIX}") if _order(path.name)[1] <= self._token]

    def _thin(self, kept: Iterable[str | None]) -> None:
        for path in self._files():
            if path.name not in kept:
                try:
                    path.unlink(missing_ok=True)
                except OSError as error:
                    log.warning("%s cannot be removed: %s", path, error)


def _order(name: str) -> tuple[int, int]:
    """Return a file's update and token."""
    update, _, token = name.removesuffix(SUFFIX).partition("-")
    return int(update), int(token)
