"""A disk that fails: SQLite's own calls to `write` and `pwrite`, of which the n-th from now on is refused, or all."""

import ctypes
import errno
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

_CALLS = (b"write", b"pwrite", b"pwrite64")
_WRITE = ctypes.CFUNCTYPE(
    ctypes.c_ssize_t, ctypes.c_int, ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int64, use_errno=True
)


class _Vfs(ctypes.Structure):
    """The head of `sqlite3_vfs` (https://sqlite.org/c3ref/vfs.html), down to the calls of the system below it."""

    _fields_ = (
        ("version", ctypes.c_int), ("size", ctypes.c_int), ("longest", ctypes.c_int), ("next", ctypes.c_void_p),
        ("name", ctypes.c_char_p), ("data", ctypes.c_void_p), ("methods", ctypes.c_void_p * 13),
        ("set", ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_void_p, ctypes.c_char_p, ctypes.c_void_p)),
        ("get", ctypes.CFUNCTYPE(ctypes.c_void_p, ctypes.c_void_p, ctypes.c_char_p)),
    )  # fmt: skip


class Disk:
    """Counts what SQLite writes, and refuses what the test says."""

    def __init__(self) -> None:
        self.writes = 0
        """How many writes there were."""
        self._broken: range = range(0)
        self._errno = 0
        self._torn = False

    def refuse(self, nth: int, *, count: int = 1, error: int = errno.EIO, torn: bool = False) -> None:
        """Refuse the n-th write from now on, counted from 1, and those after it; `torn`: half of it is written."""
        self._broken = range(self.writes + nth, self.writes + nth + count)
        self._errno, self._torn = error, torn

    def mend(self) -> None:
        """Refuse nothing more."""
        self._broken = range(0)

    def write(self, real: Callable[..., int], *call: Any) -> int:
        """Do what the system's call does, or fail as it would."""
        self.writes += 1
        if self.writes not in self._broken:
            return real(*call)
        if self._torn:
            descriptor, data, size, *place = call
            real(descriptor, data, size // 2, *place)
        ctypes.set_errno(self._errno)
        return -1


def _sqlite() -> Any:
    """Return SQLite's methods for files; raise OSError where Python's SQLite is no library of its own."""
    library = ctypes.CDLL("libsqlite3.so.0")
    library.sqlite3_vfs_find.restype = ctypes.POINTER(_Vfs)
    return library.sqlite3_vfs_find(None)


def replaceable() -> bool:
    """Tell whether this Python uses the SQLite whose calls can be replaced: it writes while they count."""
    import sqlite3
    import tempfile

    with suppress(OSError), tempfile.TemporaryDirectory() as folder, failing() as disk:
        connection = sqlite3.connect(os.path.join(folder, "probe"))  # noqa: PTH118 # sqlite3 takes text
        connection.execute("CREATE TABLE probe (x)")
        connection.close()
        return disk.writes > 0
    return False


@contextmanager
def failing() -> Iterator[Disk]:
    """Put a disk that can fail below every SQLite database of this process, until the block ends."""
    disk, vfs = Disk(), _sqlite()
    head = vfs.contents
    kept = []
    for name in _CALLS:
        if address := head.get(vfs, name):
            real = _WRITE(address)
            ours = _WRITE(lambda *call, real=real: disk.write(real, *call))
            head.set(vfs, name, ctypes.cast(ours, ctypes.c_void_p))
            kept.append((name, address, ours))
    try:
        yield disk
    finally:
        for name, address, _ in kept:
            head.set(vfs, name, address)
