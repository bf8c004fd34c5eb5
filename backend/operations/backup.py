"""`blockhf backup`: a consistent copy of the database while the backend runs."""

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
    """No copy was made; an existing file of that name is unchanged."""

    code = "backup-failed"


def backup(settings: Settings, target: Path) -> int:
    """Copy the database to a file and check the copy. The file appears when it is complete and on the disk.

    Args:
        settings: name the database.
        target: the file.

    Returns:
        The size of the copy in bytes.

    Raises:
        BackupFailed: no copy could be made.
        InvalidInput: the target is a folder, the database itself, or a file that belongs to it.
    """
    url = parse(settings.url)
    if url.get_backend_name() != "sqlite" or not url.database:
        raise BackupFailed("only SQLite databases can be copied: use pg_dump for PostgreSQL")
    source = Path(url.database)
    if not source.exists():
        raise BackupFailed(f"there is no database at {source}: set BLOCKHF_HOME or BLOCKHF_DATABASE_URL")
    _refuse(source, target)
    draft = draft_of(target)
    try:
        _copy(source, draft)
        replace_durably(draft, target)
    except (sqlite3.Error, OSError) as error:
        raise BackupFailed(f"{target} could not be written: {error}") from error
    finally:
        draft.unlink(missing_ok=True)
    return target.stat().st_size


def _refuse(source: Path, target: Path) -> None:
    """Raise InvalidInput if the target is a folder or a file of the database itself."""
    if not target.name or target.is_dir():
        raise InvalidInput([FieldError("target", str(target), "must be the name of a file, not of a folder")])
    for file in {source, source.resolve()}:
        for live in [file.with_name(f"{file.name}{ending}") for ending in _COMPANIONS]:
            if target.resolve() == live.resolve() or (target.exists() and live.exists() and target.samefile(live)):
                limit = f"must be another file: {live} belongs to the database itself"
                raise InvalidInput([FieldError("target", str(target), limit)])


def _copy(source: Path, draft: Path) -> None:
    """Copy the database to a new file and check it; writers need not wait."""
    with closing(sqlite3.connect(source.absolute().as_uri() + "?mode=ro", uri=True, timeout=_WAIT_SECONDS)) as reading:
        reading.execute("VACUUM INTO ?", (str(draft),))
    with closing(sqlite3.connect(draft)) as copy:
        (tables,) = copy.execute("SELECT count(*) FROM sqlite_master").fetchone()
        (answer,) = copy.execute("PRAGMA integrity_check").fetchone()
    if not tables or answer != "ok":
        raise sqlite3.DatabaseError(f"the copy is damaged: {answer}" if tables else f"{source} has no tables")
