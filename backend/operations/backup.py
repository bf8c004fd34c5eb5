"""`blockhf backup`: a consistent copy of the database while the backend works."""

import sqlite3
from contextlib import closing
from pathlib import Path

from backend.durable_files import draft_of, replace_durably
from backend.errors import BlockHFError, FieldError, InvalidInput
from backend.settings import Settings
from backend.storage.database import parse

_WAIT_SECONDS = 30
_COMPANIONS = ("", "-wal", "-shm", "-journal", ".lock")


class BackupFailed(BlockHFError):
    """No copy was made; what stood in its place before is still there."""

    code = "backup-failed"


def backup(settings: Settings, target: Path) -> int:
    """Copy the database as it is at one moment to a file, and check the copy; return its size in bytes.

    The copy appears under its name when it is complete and on the disk. Raises BackupFailed, or InvalidInput where the
    target is a folder, the database itself, by whatever name, or a file that SQLite or the backend keeps beside it.
    """
    url = parse(settings.url)
    if url.get_backend_name() != "sqlite" or not url.database:
        raise BackupFailed("only SQLite is copied here: use pg_dump for PostgreSQL")
    source = Path(url.database)
    if not source.exists():
        raise BackupFailed(f"there is no database at {source}; BLOCKHF_HOME or BLOCKHF_DATABASE_URL say where it is")
    _refuse(source, target)
    draft = draft_of(target)
    try:
        _copy(source, draft)
        replace_durably(draft, target)
    except (sqlite3.Error, OSError) as error:
        raise BackupFailed(f"{target} could not be made: {error}") from error
    finally:
        draft.unlink(missing_ok=True)
    return target.stat().st_size


def _refuse(source: Path, target: Path) -> None:
    """Raise InvalidInput where the copy would take the place of a folder, or of what it is made of."""
    if not target.name or target.is_dir():
        raise InvalidInput([FieldError("target", str(target), "must be a file's name, not a folder's")])
    for file in {source, source.resolve()}:
        for live in [file.with_name(f"{file.name}{ending}") for ending in _COMPANIONS]:
            if target.resolve() == live.resolve() or (target.exists() and live.exists() and target.samefile(live)):
                limit = f"must be another file: {live} belongs to the database that is copied"
                raise InvalidInput([FieldError("target", str(target), limit)])


def _copy(source: Path, draft: Path) -> None:
    """Write the database as it is at one moment to a new file, and check that; writers are not held up."""
    with closing(sqlite3.connect(source.absolute().as_uri() + "?mode=ro", uri=True, timeout=_WAIT_SECONDS)) as reading:
        reading.execute("VACUUM INTO ?", (str(draft),))
    with closing(sqlite3.connect(draft)) as copy:
        (tables,) = copy.execute("SELECT count(*) FROM sqlite_master").fetchone()
        (answer,) = copy.execute("PRAGMA integrity_check").fetchone()
    if not tables or answer != "ok":
        raise sqlite3.DatabaseError(f"the copy is damaged: {answer}" if tables else f"{source} has no tables")
