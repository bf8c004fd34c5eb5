"""A run's reports on disk until the backend has them: one JSON document per line, in order."""

import logging
import os
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

from filelock import FileLock, Timeout
from pydantic import ValidationError

from backend.client import WorkerClient
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

TRUNCATE_BYTES = 256 * 1024
WARN_SECONDS = 60.0


NewestCheckpoint = Callable[[str, int, int], Checkpoint | None]
"""Receives run id, claim number and the last update that is delivered."""


class Entry(Contract):
    """One line of the file; exactly one field is set."""

    row: Update | None = None
    checkpoint: Checkpoint | None = None
    finish: Finish | None = None


class Outbox:
    """The file of one claim. Its process holds a lock beside it, so that other workers see whether the process lives.

    A disk error does not end the run. The file then ends at the last complete line, and further entries are skipped
    until the backend has everything and `truncate` empties the file.
    """

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._path = path
        # Lock first: a file without a lock looks like that of a dead process, and another worker would deliver it.
        self._lock = _lock_of(path)
        self._lock.acquire()
        self._file = path.open("ab", buffering=0)
        os.utime(path, (0, 0))  # the time of change reports progress (see `touch`), and there is none yet
        self._failed = False
        self._next_warning = 0.0

    def append(self, entry: Entry) -> None:
        """Add a line. It survives the death of this process at once, and that of the machine after `sync`."""
        if self._failed:
            self.touch()
            return
        # Unbuffered: each line is one write, so a killed process leaves only complete lines. A full disk can still
        # accept part of a line. Readers stop there, so no line may follow it.
        line = entry.model_dump_json(exclude_unset=True).encode() + b"\n"
        try:
            written = self._file.write(line)
        except OSError as error:
            self._fail(error)
        else:
            if written != len(line):
                self._fail(f"only {written} of {len(line)} bytes were written")

    def touch(self) -> None:
        """Set the file's time of change, by which the worker sees that the run makes progress."""
        with suppress(OSError):
            os.utime(self._path)

    def sync(self) -> None:
        """Write all entries to the disk itself.

        Raises:
            OSError: the disk reports an error; the entries may not survive the death of the machine.
        """
        os.fsync(self._file.fileno())

    def truncate(self) -> None:
        """Empty the file if it has grown large or a write failed. Call this only when the backend has every entry."""
        try:
            if self._failed or os.fstat(self._file.fileno()).st_size > TRUNCATE_BYTES:
                self._file.truncate(0)
                self._failed = False
        except OSError as error:
            self._fail(error)

    def remove(self) -> None:
        """Remove the file once the backend has everything, or refuses it."""
        self._file.close()
        try:
            _remove(self._path)
        except OSError as error:
            log.warning("cannot remove %s: %s", self._path, error)
        self._lock.release()

    def _fail(self, reason: object) -> None:
        if time.monotonic() >= self._next_warning:
            self._next_warning = time.monotonic() + WARN_SECONDS
            log.warning("cannot write rows to disk, they are in memory only until the backend has them: %s", reason)
        self._failed = True
        self.touch()


def outbox_path(folder: Path, run_id: str, claim_number: int) -> Path:
    """Return the path of a claim's outbox."""
    return folder / f"{run_id}-{claim_number}.jsonl"


def deliver_all(
    folder: Path,
    client: WorkerClient,
    *,
    on_finished: Callable[[str, int], None] = lambda _run_id, _claim_number: None,
    newest: NewestCheckpoint | None = None,
) -> None:
    """Deliver the outboxes of dead processes, each under its own claim number; discard entries that are too late.

    An outbox that the backend refuses for another reason remains, and does not block the others.

    Args:
        folder: folder of the outboxes.
        client: the backend.
        on_finished: receives run id and claim number of each finished run with weights, because the dead process may
            not have removed the run's checkpoints.
        newest: finds the newest checkpoint of a claim on the disk, which is then recorded: an outbox can end before
            the line of the last one. None: the last checkpoint in the outbox is recorded.

    Raises:
        BackendUnavailable: the backend is unreachable; what was not delivered remains.
        TooManyFailedLogins, Unauthorized, Forbidden: the backend refuses the API token; likewise.
    """
    for path in sorted(folder.glob("*-*.jsonl")):
        try:
            with _lock_of(path).acquire(blocking=False):
                _deliver(path, client, on_finished, newest)
        except Timeout:  # its process lives, or another worker delivers it
            continue
        except (BackendUnavailable, TooManyFailedLogins, Unauthorized, Forbidden):
            raise
        except (BlockHFError, ValueError) as error:  # ValueError: the file name has no claim number
            log.error("cannot deliver %s, the file remains: %s", path, error)


def _lock_of(path: Path) -> FileLock:
    return FileLock(f"{path}.lock", thread_local=False)


def _remove(path: Path) -> None:
    """Remove a file, then its lock file: a process that acquires the lock later finds no file to deliver."""
    path.unlink(missing_ok=True)
    Path(f"{path}.lock").unlink(missing_ok=True)


def _deliver(
    path: Path, client: WorkerClient, on_finished: Callable[[str, int], None], newest: NewestCheckpoint | None
) -> None:
    run_id, _, number = path.stem.partition("-")
    claim_number = int(number)
    entries = list(_entries(path))
    ends = [entry.finish for entry in entries if entry.finish]
    try:
        try:
            _deliver_rows(run_id, claim_number, entries, client, newest)
        except LeaseLost:
            if not ends:  # with an end, the process may have delivered everything itself before it died
                raise
        for end in ends:
            client.finish_as(run_id, end)
        if ends and ends[-1].status is RunStatus.FINISHED and ends[-1].weights:
            on_finished(run_id, claim_number)
    except (Conflict, NotFound, InvalidInput) as error:
        log.info("run %s: discarded rows left by a crashed process: %s", run_id, error)
    _remove(path)


def _deliver_rows(
    run_id: str, claim_number: int, entries: list[Entry], client: WorkerClient, newest: NewestCheckpoint | None
) -> None:
    rows = [entry.row for entry in entries if entry.row]
    checkpoints = [entry.checkpoint for entry in entries if entry.checkpoint]
    if rows or checkpoints:
        last_update = max([row.update for row in rows] + [one.update for one in checkpoints])
        named = checkpoints[-1] if checkpoints else None
        checkpoint = named if newest is None else newest(run_id, claim_number, last_update)
        last = client.append(run_id, claim_number, rows, checkpoint=checkpoint)
        log.info("run %s: delivered rows left by a crashed process (up to update %d)", run_id, last)


def _entries(path: Path) -> Iterator[Entry]:
    """Read up to the first line that cannot be read; the file may be gone if another worker delivered it."""
    with suppress(FileNotFoundError), path.open("rb") as file:
        for line in file:
            try:
                yield Entry.model_validate_json(line)
            except ValidationError as error:
                if line.endswith(b"\n"):  # an incomplete line is usual after a crash, a complete one is not
                    log.warning("%s: discarded the entries from the first that cannot be read: %s", path, error)
                return
