"""Writing files so that a crash leaves either the complete file or the one before."""

import os
from pathlib import Path


def draft_of(path: Path) -> Path:
    """Return the temporary name under which this process writes a file."""
    return path.with_name(f".{path.name}.{os.getpid()}")


def write_durably(path: Path, data: bytes, *, mode: int = 0o666) -> None:
    """Write a file under a temporary name, then rename it. When this returns, the file survives a loss of power.

    Args:
        path: the file; missing folders are created.
        data: content of the file.
        mode: permissions, before the process's umask.

    Raises:
        OSError: the file cannot be written; it is unchanged.
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
    """Rename a complete temporary file so that a loss of power leaves either the old file or the new one."""
    _sync(draft)
    draft.replace(path)
    _sync(path.absolute().parent)


def _sync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
