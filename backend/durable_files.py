"""Files that are complete or absent, whatever happens while they are written."""

import os
from pathlib import Path


def draft_of(path: Path) -> Path:
    """Return the temporary name under which this process writes a file."""
    return path.with_name(f".{path.name}.{os.getpid()}")


def write_durably(path: Path, data: bytes, *, mode: int = 0o666) -> None:
    """Write a file under a temporary name, then rename it; once this returns it survives a loss of power.

    Args:
        path: the file; missing folders are created.
        data: its content.
        mode: its permissions, before the process's umask.

    Raises:
        OSError: it cannot be written; the file is as before.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = draft_of(path)
    try:
        with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, mode), "wb") as file:
            file.write(data)
        replace_durably(draft, path)
    finally:
        draft.unlink(missing_ok=True)


def replace_durably(draft: Path, path: Path) -> None:
    """Give a complete draft its final name, in an order that survives a loss of power."""
    _sync(draft)
    draft.replace(path)
    _sync(path.absolute().parent)


def _sync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
