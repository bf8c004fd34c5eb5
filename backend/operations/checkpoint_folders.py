"""The runs' folders of checkpoints and final weights, as far as workers of this machine wrote them, and their faults.

`BLOCKHF_HOME/checkpoints/RUN` has UPDATE-TOKEN.safetensors, at the end weights.safetensors, and, while process PID
writes one of them, .NAME.PID.
"""

import os
import re
import shutil
import time
from collections.abc import Iterable, Iterator
from contextlib import suppress
from hashlib import file_digest
from pathlib import Path
from stat import S_ISREG

from sqlalchemy import select

from backend.operations.findings import Finding
from backend.schemas.runs import Checkpoint, RunStatus
from backend.storage.database import Database
from backend.storage.ids import is_id
from backend.storage.tables import RUNS

SETTLED_SECONDS = 600
"""What was written to within this time may be a process's of another container, whose number means nothing here."""

_DRAFT = re.compile(r"\..+\.safetensors\.([0-9]+)")
_UNFINISHED = (RunStatus.QUEUED, RunStatus.RUNNING, RunStatus.PAUSED)
_SHOWN = 10


def root(home: Path) -> Path:
    """Return the folder of all runs' folders."""
    return home / "checkpoints"


def remove(paths: Iterable[Path]) -> None:
    """Remove files and whole folders; what is gone already is fine."""
    for path in paths:
        with suppress(FileNotFoundError):
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path)
            else:
                path.unlink()


def examine_folders(database: Database, home: Path) -> Iterator[Finding]:
    """Compare the folders with the runs; workers may go on writing meanwhile."""
    found = [path for path in sorted(root(home).glob("*")) if path.is_dir() and not path.is_symlink()]
    with database.read() as connection:  # after the folders: a run is stored before it has one
        known = {row.id: RunStatus(row.status) for row in connection.execute(select(RUNS.c.id, RUNS.c.status))}
    strange = [path for path in found if is_id(path.name) and path.name not in known and _settled(path)]
    yield from _finished([path for path in found if known.get(path.name) is RunStatus.FINISHED])
    yield from _strange(strange, root(home))
    yield from _drafts([path for path in found if path not in strange], root(home))
    yield from _lost(database, root(home))


def _finished(found: list[Path]) -> Iterator[Finding]:
    """Find checkpoints that nobody goes on from: of runs that have finished. Their weights are no checkpoints."""
    for folder in found:
        if kept := tuple(sorted(folder.glob("*-*.safetensors"))):
            yield Finding(f"run {folder.name} has finished and keeps {_size(kept)} of checkpoints", drop=kept)


def _strange(found: list[Path], where: Path) -> Iterator[Finding]:
    """Find folders of runs that are not in the database; they stay, for another database may know them."""
    if found:
        size = _size(path for folder in found for path in folder.rglob("*"))
        what = f"{len(found)} folders in {where} ({_names(found)}) hold {size} of runs that this database does not know"
        whose = "another database's, or from after the backup that was restored, or left by a purge elsewhere"
        yield Finding(f"{what}: {whose}. Remove them by hand where nobody needs them", remark=True)


def _drafts(found: list[Path], where: Path) -> Iterator[Finding]:
    """Find files that a process began to write and did not live to finish."""
    left = [path for folder in found for path in sorted(folder.glob(".*")) if _DRAFT.fullmatch(path.name)]
    left = [path for path in left if _settled(path)]
    if left:
        what = f"{len(left)} files in {where} ({_names(left)}) were never finished and hold {_size(left)}"
        yield Finding(what, drop=tuple(left))


def _lost(database: Database, where: Path) -> Iterator[Finding]:
    """Find checkpoints that unfinished runs are to go on from, and cannot."""
    faults = {key: fault for key in _named(database) if (fault := _fault(where / key[0], key[1]))}
    still = set(_named(database))  # a run's worker drops a checkpoint once a later one is named
    faults = {key: fault for key, fault in faults.items() if key in still}
    away = [key for key in faults if not (where / key[0]).exists()]
    for (run_id, named), fault in [item for item in faults.items() if item[0] not in away][:_SHOWN]:
        yield Finding(
            f"run {run_id} is to go on from update {named.update}, but its checkpoint in {where / run_id} {fault}: "
            "unless another machine's worker has it, the run will begin again"
        )
    if away:
        names = _names(where / run_id for run_id, _ in away)
        what = (
            f"the checkpoints of {len(away)} unfinished runs ({names}) are not on this machine: their workers have them"
        )
        yield Finding(f"{what}, or the runs will begin again", remark=True)


def _named(database: Database) -> list[tuple[str, Checkpoint]]:
    """Return the unfinished runs' checkpoints, by the runs' ids."""
    columns = (RUNS.c.id, RUNS.c.checkpoint)
    query = select(*columns).where(RUNS.c.status.in_(_UNFINISHED), RUNS.c.checkpoint.is_not(None))
    with database.read() as connection:
        rows = connection.execute(query.order_by(RUNS.c.number)).all()
    return [(row.id, Checkpoint.model_validate_json(row.checkpoint)) for row in rows]


def _fault(folder: Path, named: Checkpoint) -> str:
    """Say what is wrong with a checkpoint; nothing where one of its update's files is what was written."""
    fault = "is missing"
    for path in folder.glob(f"{named.update}-*.safetensors"):
        with suppress(FileNotFoundError), path.open("rb") as file:
            if file_digest(file, "sha256").hexdigest() == named.sha256:
                return ""
            fault = f"has another SHA-256 than {named.sha256[:12]}…"
    return fault


def _settled(path: Path) -> bool:
    """Tell whether nobody writes here: neither of late, nor a process that lives."""
    inside = [path, *path.rglob("*")]
    writers = [int(match[1]) for file in inside if (match := _DRAFT.fullmatch(file.name))]
    newest = max((stat.st_mtime for stat in _stats(inside)), default=0.0)
    return time.time() - newest > SETTLED_SECONDS and not any(map(_lives, writers))


def _lives(process: int) -> bool:
    try:
        os.kill(process, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except PermissionError:
        return True
    return True


def _size(paths: Iterable[Path]) -> str:
    return f"{sum(stat.st_size for stat in _stats(paths) if S_ISREG(stat.st_mode)) / 1e6:.1f} MB"


def _stats(paths: Iterable[Path]) -> Iterator[os.stat_result]:
    """Look at what is still there."""
    for path in paths:
        with suppress(FileNotFoundError):
            yield path.lstat()


def _names(paths: Iterable[Path]) -> str:
    names = [path.name for path in paths]
    return ", ".join(names[:3]) + (", …" if len(names) > 3 else "")
