"""The limit on the total size of the runs' files. A file from which a run can continue is never removed."""

import logging
import os
import re
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from backend.schemas.runs import RunStatus

log = logging.getLogger(__name__)

SUFFIX = ".safetensors"
WEIGHTS = f"weights{SUFFIX}"
DRAFT_SECONDS = 600.0
"""Drafts younger than this are never removed [s]."""
_RUN_ID = re.compile(r"[a-z0-9]{8,32}")
_DRAFT = re.compile(rf"\..+{re.escape(SUFFIX)}\.(\d+)")

RunStateLookup = Callable[[Sequence[str]], Mapping[str, RunStatus] | None]
"""Returns states by run id, without runs that no longer exist; None if the states are unknown at present."""
_PROTECTED = 9


@dataclass(frozen=True)
class StoredFile:
    """A file in a run's folder, with its size [bytes] and the time of its last change, when it was listed."""

    path: Path
    size: int
    changed: float

    @property
    def run_id(self) -> str:
        """The run that the file belongs to."""
        return self.path.parent.name

    def remove(self) -> bool:
        """Remove the file; return whether that succeeded."""
        try:
            self.path.unlink(missing_ok=True)
        except OSError as error:
            log.warning("cannot remove %s: %s", self.path, error)
            return False
        return True


class CheckpointQuota:
    """Limits the total size of all runs' checkpoints and final weights.

    Files are removed in this order, the oldest of each rank first:

    0. drafts (temporary files) of dead processes, at least ten minutes old;
    1. files of runs that no longer exist, and checkpoints of finished runs;
    2. final weights of finished runs;
    3. files of failed and cancelled runs, which the user can retry.

    Files of queued, running and paused runs are never removed. If the states are unknown, only drafts of dead processes
    and final weights are removed, because no run continues from them.

    Args:
        root: folder of all runs' files.
        limit: maximum total size [bytes].
        run_states: returns the states of runs.
    """

    def __init__(self, root: Path, limit: int, run_states: RunStateLookup) -> None:
        self._root = root
        self._limit = limit
        self._run_states = run_states

    def evict_until_fits(self, size: int, run_id: str) -> None:
        """Remove files of other runs until a new file of the run `run_id` fits.

        Args:
            size: of the new file [bytes].
            run_id: run of the new file; its other files are not removed.

        Raises:
            OSError: it does not fit, and no file is left that can be removed.
        """
        found = list(_files(self._root))
        excess = sum(file.size for file in found) + size - self._limit
        if excess <= 0:
            return
        candidates = [file for file in found if file.run_id != run_id or _is_stale_draft(file)]
        for file in self._removable(candidates):
            if excess <= 0:
                return
            if file.remove():
                log.info("removed %s to stay within BLOCKHF_CHECKPOINT_QUOTA_BYTES", file.path)
                excess -= file.size
        if excess > 0:
            raise OSError(
                f"the checkpoint quota is full: a file of {size} bytes exceeds BLOCKHF_CHECKPOINT_QUOTA_BYTES "
                f"({self._limit}) by {excess} bytes, and queued, running or paused runs need the other files; raise "
                "the quota, or delete such runs"
            )

    def _removable(self, files: list[StoredFile]) -> list[StoredFile]:
        """List the files that can be removed, in the order of the class docstring."""
        run_ids = sorted({file.run_id for file in files if _RUN_ID.fullmatch(file.run_id)})
        states = self._run_states(run_ids) if run_ids else {}
        ranked = [(_rank(file, states), file.changed, file) for file in files]
        return [file for rank, _, file in sorted(ranked, key=lambda item: item[:2]) if rank < _PROTECTED]


def _rank(file: StoredFile, states: Mapping[str, RunStatus] | None) -> int:
    """Return a file's rank in the order of removal."""
    if _DRAFT.fullmatch(file.path.name):
        return 0 if _is_stale_draft(file) else _PROTECTED
    weights = file.path.name == WEIGHTS
    if states is None or not _RUN_ID.fullmatch(file.run_id):
        return 2 if weights else _PROTECTED
    match states.get(file.run_id):
        case None:
            return 1
        case RunStatus.FINISHED:
            return 2 if weights else 1
        case RunStatus.FAILED | RunStatus.CANCELLED:
            return 3
        case _:
            return _PROTECTED


def remove_stale_drafts(root: Path) -> None:
    """Remove the unfinished files of processes that were killed while writing."""
    for file in list(_files(root)):
        if _is_stale_draft(file) and file.remove():
            log.info("removed the unfinished file of a dead process: %s", file.path)


def _files(root: Path) -> Iterator[StoredFile]:
    """List checkpoints, final weights and drafts; skip files that another process removes meanwhile."""
    for path in [*root.glob(f"*/*{SUFFIX}"), *root.glob(f"*/.*{SUFFIX}.*")]:
        try:
            stat = path.stat()
        except OSError:
            continue
        yield StoredFile(path, stat.st_size, stat.st_mtime)


def _is_stale_draft(file: StoredFile) -> bool:
    """Return whether a dead process left a draft. A young one may be of a process of another container or machine."""
    draft = _DRAFT.fullmatch(file.path.name)
    return draft is not None and time.time() - file.changed > DRAFT_SECONDS and not _alive(int(draft[1]))


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except PermissionError:  # a process of another user
        return True
    return True
