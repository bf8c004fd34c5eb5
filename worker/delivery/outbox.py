"""What a run has to tell, on disk until the backend has it: one JSON document per line, in order."""

import logging
import os
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

from filelock import FileLock, Timeout
from pydantic import ValidationError

from backend.client import Client
from backend.errors import (
    BackendUnavailable,
    BlockHFError,
    Conflict,
    Forbidden,
    InvalidInput,
    LeaseLost,
    NotFound,
    TooManyFailedLogins,
    Unauthorized,
)
from backend.schemas.api import Finish
from backend.schemas.base import Contract
from backend.schemas.measures import Update
from backend.schemas.runs import Checkpoint, RunStatus

log = logging.getLogger(__name__)

CLEAR_BYTES = 256 * 1024
WARN_SECONDS = 60.0


class Entry(Contract):
    """One line: one of the three."""

    row: Update | None = None
    checkpoint: Checkpoint | None = None
    finish: Finish | None = None


class Spool:
    """The file of one claim, beside which its process holds a lock for as long as it lives.

    Where the disk refuses, training goes on without: the file then ends at the last line that could be written, until
    the backend has everything and it begins anew.
    """

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._path = path
        self._lock = _lock_of(path)
        self._lock.acquire()  # before there is a file that others could take for a dead process's
        self._file = path.open("ab", buffering=0)
        os.utime(path, (0, 0))  # nothing has happened yet
        self._broken = False
        self._warns = 0.0

    def write(self, entry: Entry) -> None:
        """Add a line, which outlives this process at once, and the machine after `sync`."""
        if self._broken:
            self.touch()
            return
        line = entry.model_dump_json(exclude_unset=True).encode() + b"\n"
        try:
            written = self._file.write(line)
        except OSError as error:
            self._refused(error)
        else:
            if written != len(line):  # what would follow could not be read
                self._refused(f"only {written} of {len(line)} bytes fit")

    def touch(self) -> None:
        """Show the worker, which looks at the file's time, that the run goes on."""
        with suppress(OSError):
            os.utime(self._path)

    def sync(self) -> None:
        """Bring what was written to the disk itself.

        Raises:
            OSError: the disk refuses; what was written may not outlive the machine.
        """
        os.fsync(self._file.fileno())

    def clear(self) -> None:
        """Begin anew once the file has grown, or could not be written, for the backend has all that it holds."""
        try:
            if self._broken or os.fstat(self._file.fileno()).st_size > CLEAR_BYTES:
                self._file.truncate(0)
                self._broken = False
        except OSError as error:
            self._refused(error)

    def remove(self) -> None:
        """Remove the file: nobody needs it any more."""
        self._file.close()
        try:
            _remove(self._path)
        except OSError as error:
            log.warning("%s cannot be removed: %s", self._path, error)
        self._lock.release()

    def _refused(self, reason: object) -> None:
        if time.monotonic() >= self._warns:
            self._warns = time.monotonic() + WARN_SECONDS
            log.warning("rows cannot be kept on disk while the backend is away, but in memory: %s", reason)
        self._broken = True
        self.touch()


def path_of(folder: Path, run_id: str, token: int) -> Path:
    """Say where a claim's spool lies."""
    return folder / f"{run_id}-{token}.jsonl"


def deliver_all(
    folder: Path, client: Client, *, finished: Callable[[str, int], None] = lambda _run_id, _token: None
) -> None:
    """Hand over what processes left that are dead by now, each under its own token; drop what comes too late.

    What the backend refuses for another reason stays, and keeps nothing else from being handed over.

    Args:
        folder: where the spools lie.
        client: the backend.
        finished: is told run and token where a run has finished; its process may have died before it cleaned up.

    Raises:
        BackendUnavailable, TooManyFailedLogins, Unauthorized, Forbidden: the backend is unreachable, or refuses the
            token; what was not handed over is still there.
    """
    for path in sorted(folder.glob("*-*.jsonl")):
        try:
            with _lock_of(path).acquire(blocking=False):
                _deliver(path, client, finished)
        except Timeout:  # its process lives, or another worker delivers it
            continue
        except (BackendUnavailable, TooManyFailedLogins, Unauthorized, Forbidden):
            raise
        except (BlockHFError, ValueError) as error:  # of a ValueError's name the token is no number
            log.error("%s cannot be delivered, and stays: %s", path, error)


def _lock_of(path: Path) -> FileLock:
    return FileLock(f"{path}.lock", thread_local=False)


def _remove(path: Path) -> None:
    """Remove a file, then its lock: whoever gets a lock later finds nothing to deliver."""
    path.unlink(missing_ok=True)
    Path(f"{path}.lock").unlink(missing_ok=True)


def _deliver(path: Path, client: Client, finished: Callable[[str, int], None]) -> None:
    run_id, _, token = path.stem.partition("-")
    entries = list(_entries(path))
    ends = [entry.finish for entry in entries if entry.finish]
    try:
        try:
            _deliver_rows(run_id, int(token), entries, client)
        except LeaseLost:
            if not ends:  # otherwise the run may have ended by this very end
                raise
        for end in ends:
            client.finish_as(run_id, end)
        if ends and ends[-1].status is RunStatus.FINISHED:
            finished(run_id, int(token))
    except (Conflict, NotFound, InvalidInput) as error:
        log.info("run %s: dropped what a dead process left: %s", run_id, error)
    _remove(path)


def _deliver_rows(run_id: str, token: int, entries: list[Entry], client: Client) -> None:
    rows = [entry.row for entry in entries if entry.row]
    checkpoints = [entry.checkpoint for entry in entries if entry.checkpoint]
    if rows or checkpoints:
        last = client.append(run_id, token, rows, checkpoint=checkpoints[-1] if checkpoints else None)
        log.info("run %s: delivered what a dead process left, up to update %d", run_id, last)


def _entries(path: Path) -> Iterator[Entry]:
    """Read whole lines; the last may be torn, and the file may be delivered already."""
    with suppress(FileNotFoundError, ValidationError), path.open("rb") as file:
        for line in file:
            yield Entry.model_validate_json(line)
