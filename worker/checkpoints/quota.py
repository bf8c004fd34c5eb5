"""How much the runs' files may take together, and which go first; none goes that a run goes on from."""

import logging
import os
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from backend.schemas.runs import RunStatus

log = logging.getLogger(__name__)

SUFFIX = ".safetensors"
WEIGHTS = f"weights{SUFFIX}"
_RUN = re.compile(r"[a-z0-9]{8,32}")
_DRAFT = re.compile(rf"\..+{re.escape(SUFFIX)}\.(\d+)")

Standings = Callable[[Sequence[str]], Mapping[str, RunStatus] | None]
"""How runs stand, by id, without those that nobody can come back to; None: that cannot be told now."""
_STAYS = 9


@dataclass(frozen=True)
class Kept:
    """A file in the folder of a run, as it was seen."""

    path: Path
    size: int
    changed: float

    @property
    def run_id(self) -> str:
        """Whose it is."""
        return self.path.parent.name

    def remove(self) -> bool:
        """Remove it; tell whether that went."""
        try:
            self.path.unlink(missing_ok=True)
        except OSError as error:
            log.warning("%s cannot be removed: %s", self.path, error)
            return False
        return True


class Room:
    """The folder of all runs' checkpoints and final weights, which has a limit.

    Drafts of dead processes go first; then files of runs that nobody can come back to, and the checkpoints of finished
    ones; then final weights of finished runs; then what failed and cancelled runs left, which can be tried again; the
    oldest of each first. The files of a run that waits, trains or rests stay, whatever the limit. Where it cannot be
    told how runs stand, final weights alone go, for nobody goes on from those.

    Args:
        root: the folder.
        limit: how large the files may be together [bytes].
        standings: tells how runs stand.
    """

    def __init__(self, root: Path, limit: int, standings: Standings) -> None:
        self._root = root
        self._limit = limit
        self._standings = standings

    def make(self, size: int, own: str) -> None:
        """Make room for a file of the run `own`, whose other files stay.

        Raises:
            OSError: there is none without a file that a run goes on from.
        """
        found = list(_files(self._root))
        excess = sum(kept.size for kept in found) + size - self._limit
        if excess <= 0:
            return
        others = [kept for kept in found if kept.run_id != own or _is_dead_draft(kept.path)]
        for kept in self._in_order(others):
            if excess <= 0:
                return
            if kept.remove():
                log.info("made room under BLOCKHF_CHECKPOINT_QUOTA_BYTES: removed %s", kept.path)
                excess -= kept.size
        if excess > 0:
            raise OSError(
                f"{size} bytes more would be {excess} over BLOCKHF_CHECKPOINT_QUOTA_BYTES, which is {self._limit}, and "
                "no file is left that may go: runs that wait, train or rest go on from the others"
            )

    def _in_order(self, found: list[Kept]) -> list[Kept]:
        runs = sorted({kept.run_id for kept in found if _RUN.fullmatch(kept.run_id)})
        known = self._standings(runs) if runs else {}
        ranked = [(_rank(kept, known), kept.changed, kept) for kept in found]
        return [kept for rank, _, kept in sorted(ranked, key=lambda item: item[:2]) if rank < _STAYS]


def _rank(kept: Kept, known: Mapping[str, RunStatus] | None) -> int:
    """Say how soon a file may go."""
    if _DRAFT.fullmatch(kept.path.name):
        return 0 if _is_dead_draft(kept.path) else _STAYS
    weights = kept.path.name == WEIGHTS
    if known is None or not _RUN.fullmatch(kept.run_id):
        return 2 if weights else _STAYS
    match known.get(kept.run_id):
        case None:
            return 1
        case RunStatus.FINISHED:
            return 2 if weights else 1
        case RunStatus.FAILED | RunStatus.CANCELLED:
            return 3
        case _:
            return _STAYS


def remove_drafts(root: Path) -> None:
    """Remove what processes left that were killed while they wrote."""
    for kept in list(_files(root)):
        if _is_dead_draft(kept.path) and kept.remove():
            log.info("removed a draft that a dead process left: %s", kept.path)


def _files(root: Path) -> Iterator[Kept]:
    """Find checkpoints, final weights and drafts; what goes meanwhile is not there."""
    for path in [*root.glob(f"*/*{SUFFIX}"), *root.glob(f"*/.*{SUFFIX}.*")]:
        try:
            stat = path.stat()
        except OSError:
            continue
        yield Kept(path, stat.st_size, stat.st_mtime)


def _is_dead_draft(path: Path) -> bool:
    draft = _DRAFT.fullmatch(path.name)
    return draft is not None and not _alive(int(draft[1]))


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except PermissionError:  # somebody else's
        return True
    return True
