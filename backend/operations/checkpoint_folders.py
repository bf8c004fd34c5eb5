"""The doctor's check of the folders with checkpoints and final weights that workers on this machine wrote.

`BLOCKHF_HOME/checkpoints/RUN` contains UPDATE-CLAIM.safetensors, weights.safetensors once the run has finished, and
.NAME.PID while the process PID writes a file.
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

from backend.operations.findings import DoctorFinding
from backend.schemas.runs import Checkpoint, RunStatus
from backend.storage.database import Database
from backend.storage.ids import is_id
from backend.storage.tables import RUNS

RECENT_SECONDS = 600
"""Newer files may belong to a process in another container, which this machine cannot look up."""

_DRAFT = re.compile(r"\..+\.safetensors\.([0-9]+)")
_UNFINISHED = (RunStatus.QUEUED, RunStatus.RUNNING, RunStatus.PAUSED)
_SHOWN = 10


def root(home: Path) -> Path:
    """Return the folder of all runs' folders."""
    return home / "checkpoints"


def remove(paths: Iterable[Path]) -> None:
    """Remove files and whole folders; missing ones are ignored."""
    for path in paths:
        with suppress(FileNotFoundError):
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path)
            else:
                path.unlink()


def examine_folders(database: Database, home: Path) -> Iterator[DoctorFinding]:
    """Compare the folders with the runs. Workers may write meanwhile."""
    found = [path for path in sorted(root(home).glob("*")) if path.is_dir() and not path.is_symlink()]
    with database.read() as connection:  # read after the folders: a run is stored before its folder exists
        known = {row.id: RunStatus(row.status) for row in connection.execute(select(RUNS.c.id, RUNS.c.status))}
    unknown = [path for path in found if is_id(path.name) and path.name not in known and _unused(path)]
    yield from _finished_runs([path for path in found if known.get(path.name) is RunStatus.FINISHED])
    yield from _unknown_folders(unknown, root(home))
    yield from _unfinished_files([path for path in found if path not in unknown], root(home))
    yield from _missing_checkpoints(database, root(home))


def _finished_runs(found: list[Path]) -> Iterator[DoctorFinding]:
    """Find checkpoints of finished runs, which nothing needs; their final weights stay."""
    for folder in found:
        if kept := tuple(sorted(folder.glob("*-*.safetensors"))):
            yield DoctorFinding(
                f"run {folder.name} has finished, but {_size(kept)} of its checkpoints are left", remove=kept
            )


def _unknown_folders(found: list[Path], where: Path) -> Iterator[DoctorFinding]:
    """Find folders of runs that are not in the database; they stay, as another database may have those runs."""
    if found:
        size = _size(path for folder in found for path in folder.rglob("*"))
        yield DoctorFinding(
            f"{len(found)} folders in {where} ({_names(found)}, {size}) belong to runs that are not in this database: "
            "they are of another database, newer than a restored backup, or left by a purge on another machine. Remove "
            "them by hand if they are not needed",
            note=True,
        )


def _unfinished_files(found: list[Path], where: Path) -> Iterator[DoctorFinding]:
    """Find files that a process has not finished before it died."""
    left = [path for folder in found for path in sorted(folder.glob(".*")) if _DRAFT.fullmatch(path.name)]
    left = [path for path in left if _unused(path)]
    if left:
        what = f"{len(left)} files in {where} ({_names(left)}) were never finished ({_size(left)})"
        yield DoctorFinding(what, remove=tuple(left))


def _missing_checkpoints(database: Database, where: Path) -> Iterator[DoctorFinding]:
    """Find missing or damaged checkpoints of unfinished runs."""
    faults = {key: fault for key in _named(database) if (fault := _fault(where / key[0], key[1]))}
    still = set(_named(database))  # a worker removes a checkpoint after it has reported a later one
    faults = {key: fault for key, fault in faults.items() if key in still}
    away = [key for key in faults if not (where / key[0]).exists()]
    for (run_id, named), fault in [item for item in faults.items() if item[0] not in away][:_SHOWN]:
        yield DoctorFinding(
            f"the checkpoint of run {run_id} at update {named.update} in {where / run_id} {fault}: the run will "
            "restart from the beginning unless a worker on another machine has the file"
        )
    if away:
        names = _names(where / run_id for run_id, _ in away)
        yield DoctorFinding(
            f"the checkpoints of {len(away)} unfinished runs ({names}) are not on this machine: the runs will "
            "restart from the beginning unless workers on other machines have the files",
            note=True,
        )


def _named(database: Database) -> list[tuple[str, Checkpoint]]:
    """Return the checkpoints of unfinished runs, with the ids of the runs."""
    columns = (RUNS.c.id, RUNS.c.checkpoint)
    query = select(*columns).where(RUNS.c.status.in_(_UNFINISHED), RUNS.c.checkpoint.is_not(None))
    with database.read() as connection:
        rows = connection.execute(query.order_by(RUNS.c.number)).all()
    return [(row.id, Checkpoint.model_validate_json(row.checkpoint)) for row in rows]


def _fault(folder: Path, named: Checkpoint) -> str:
    """Return what is wrong with a checkpoint; empty if a file of this update has its SHA-256."""
    fault = "is missing"
    for path in folder.glob(f"{named.update}-*.safetensors"):
        with suppress(FileNotFoundError), path.open("rb") as file:
            if file_digest(file, "sha256").hexdigest() == named.sha256:
                return ""
            fault = f"has another SHA-256 than {named.sha256[:12]}…"
    return fault


def _unused(path: Path) -> bool:
    """Return whether no process writes here: nothing is new, and no live process has an unfinished file."""
    inside = [path, *path.rglob("*")]
    writers = [int(match[1]) for file in inside if (match := _DRAFT.fullmatch(file.name))]
    newest = max((stat.st_mtime for stat in _stats(inside)), default=0.0)
    return time.time() - newest > RECENT_SECONDS and not any(map(_lives, writers))


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
    """Yield the status of each file that still exists."""
    for path in paths:
        with suppress(FileNotFoundError):
            yield path.lstat()


def _names(paths: Iterable[Path]) -> str:
    names = [path.name for path in paths]
    return ", ".join(names[:3]) + (", …" if len(names) > 3 else "")
