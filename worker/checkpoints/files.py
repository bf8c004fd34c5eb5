"""Checkpoint files: each is complete or absent, and is identified by its SHA-256."""

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
from worker.checkpoints.quota import SUFFIX, WEIGHTS, CheckpointQuota, RunStateLookup

log = logging.getLogger(__name__)

_DOCUMENT = "blockhf"


@dataclass(frozen=True)
class Snapshot:
    """Tensors by name, and a JSON document: a run's training state, or its final weights."""

    tensors: dict[str, Tensor]
    document: dict[str, Any]

    def to_bytes(self) -> bytes:
        """Encode in the safetensors format; equal snapshots give equal bytes."""
        tensors = {name: tensor.detach().to("cpu", copy=True).contiguous() for name, tensor in self.tensors.items()}
        return save(tensors, {_DOCUMENT: json.dumps(self.document, sort_keys=True)})

    @classmethod
    def from_bytes(cls, data: bytes) -> "Snapshot":
        """Decode a snapshot.

        Raises:
            ValueError: the bytes are not a snapshot.
        """
        try:
            size = int.from_bytes(data[:8], "little")
            document = json.loads(json.loads(data[8 : 8 + size])["__metadata__"][_DOCUMENT])
            # safetensors returns views into the file, at any offset. A copy is aligned as torch aligns it, and
            # torch's kernels can round differently on memory that is not aligned.
            tensors = {name: tensor.clone() for name, tensor in load(data).items()}
        except (SafetensorError, KeyError, ValueError) as error:
            raise ValueError(f"not a checkpoint: {error}") from error
        return cls(tensors, document)


class Checkpoints:
    """The files of one run, as one claim of it writes them.

    Three checkpoints at most remain on disk: the two newest, and the one that the backend has recorded. The newest may
    be named nowhere yet, if this process dies now; the one before is named on the disk. Files of later claims are never
    touched: they belong to the worker that has the run now.

    Args:
        root: folder of all runs' checkpoints.
        run_id: the run.
        claim_number: number of the claim.
        limit: maximum total size of the files under `root` [bytes].
        run_states: returns the states of other runs, to decide which of their files can be removed.
    """

    def __init__(
        self, root: Path, run_id: str, claim_number: int, *, limit: int, run_states: RunStateLookup = lambda _: None
    ) -> None:
        self._quota = CheckpointQuota(root, limit, run_states)
        self._run_id = run_id
        self._folder = root / run_id
        self._claim_number = claim_number
        self._recorded: str | None = None

    def load(self, checkpoint: Checkpoint) -> Snapshot | None:
        """Read a checkpoint; None if it is not on this machine, or damaged.

        Raises:
            OSError: the file cannot be read.
            ValueError: the file is not a checkpoint.
        """
        for path in self._folder.glob(f"{checkpoint.update}-*{SUFFIX}"):
            data = path.read_bytes()
            if hashlib.sha256(data).hexdigest() == checkpoint.sha256:
                self._recorded = path.name
                return Snapshot.from_bytes(data)
        return None

    def save(self, snapshot: Snapshot, update: int) -> Checkpoint:
        """Write a checkpoint that survives a power failure once this returns.

        Raises:
            OSError: the disk or the quota is full.
        """
        data = snapshot.to_bytes()
        self._quota.evict_until_fits(len(data), self._run_id)
        path = self._folder / f"{update}-{self._claim_number}{SUFFIX}"
        write_durably(path, data)
        self._remove_old()
        return Checkpoint(update=update, sha256=hashlib.sha256(data).hexdigest())

    def mark_recorded(self, checkpoint: Checkpoint) -> None:
        """Note that the backend has recorded a checkpoint, and remove old ones."""
        self._recorded = f"{checkpoint.update}-{self._claim_number}{SUFFIX}"
        self._remove_old()

    def newest(self, last_update: int) -> Checkpoint | None:
        """Return the newest checkpoint of this claim that can be read and is not after `last_update`, if any."""
        orders = [_order(path.name) for path in self._files()]
        own = [update for update, claim in orders if claim == self._claim_number and update <= last_update]
        if not own:
            return None
        try:
            data = (self._folder / f"{max(own)}-{self._claim_number}{SUFFIX}").read_bytes()
        except OSError as error:
            log.warning("cannot read the checkpoint of update %d: %s", max(own), error)
            return None
        return Checkpoint(update=max(own), sha256=hashlib.sha256(data).hexdigest())

    def save_weights(self, weights: Snapshot) -> str:
        """Write the final weights; return the file's SHA-256.

        Raises:
            OSError: the disk or the quota is full.
        """
        data = weights.to_bytes()
        self._quota.evict_until_fits(len(data), self._run_id)
        write_durably(self._folder / WEIGHTS, data)
        return hashlib.sha256(data).hexdigest()

    def remove_all(self) -> None:
        """Remove the checkpoints of a finished run; its final weights remain."""
        self._remove_except(set())

    def _files(self) -> list[Path]:
        return [path for path in self._folder.glob(f"*-*{SUFFIX}") if _order(path.name)[1] <= self._claim_number]

    def _remove_old(self) -> None:
        # By claim first: a run that began again has older checkpoints of later updates.
        newest = sorted((path.name for path in self._files()), key=lambda name: _order(name)[::-1])[-2:]
        self._remove_except({*newest, self._recorded})

    def _remove_except(self, names: Iterable[str | None]) -> None:
        for path in self._files():
            if path.name not in names:
                try:
                    path.unlink(missing_ok=True)
                except OSError as error:
                    log.warning("cannot remove %s: %s", path, error)


def _order(name: str) -> tuple[int, int]:
    """Return the update and the claim number of a file name."""
    update, _, claim_number = name.removesuffix(SUFFIX).partition("-")
    return int(update), int(claim_number)
