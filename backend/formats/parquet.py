"""Parquet, read and written by a child process: pyarrow takes 100 MiB, which a process that serves never gives back.

The child is this file, run as a script: `write` reads JSON from its input, a head and then pages of columns, a line
each, and writes the file to its output; `read PATH ...` writes a line of JSON per file. It imports nothing of ours.
"""

import subprocess
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from errno import ENOSPC
from io import BytesIO
from pathlib import Path
from tempfile import TemporaryFile
from typing import Any, BinaryIO, NamedTuple

import orjson

_SECONDS = 300
_GROUP_ROWS = 50_000
_PIECE_BYTES = 2**18
_NO_ROOM = 3
"""how the child ends where it cannot write"""

Page = Sequence[Sequence[Any]]


class Table(NamedTuple):
    """What a file holds: its metadata, texts by name, and its columns."""

    metadata: dict[str, str]
    columns: dict[str, list[Any]]


def write(kinds: Mapping[str, str], metadata: Mapping[str, str], pages: Iterable[Page]) -> bytes:
    """Return what `stream` yields as a whole."""
    return b"".join(stream(kinds, metadata, pages))


def stream(kinds: Mapping[str, str], metadata: Mapping[str, str], pages: Iterable[Page]) -> Iterator[bytes]:
    """Yield a file of columns, compressed with zstd, piece by piece.

    Args:
        kinds: pyarrow's name of each column's type, such as float64, int64, string or bool_.
        metadata: texts that the file's schema carries.
        pages: for some rows after another, each column's values; what is missing, or not finite, is null.
    """
    head = {"kinds": dict(kinds), "metadata": dict(metadata)}
    with _child(["write"], (orjson.dumps(line) for line in _lines(head, pages))) as file:
        yield from iter(lambda: file.read(_PIECE_BYTES), b"")


def read(paths: Sequence[Path]) -> list[Table]:
    """Read files, all by one child."""
    with _child(["read", *map(str, paths)], ()) as file:
        return [Table(**orjson.loads(line)) for line in file]


def _lines(head: dict[str, Any], pages: Iterable[Page]) -> Iterator[Any]:
    yield head
    yield from pages


@contextmanager
def _child(arguments: list[str], lines: Iterable[bytes]) -> Iterator[BinaryIO]:
    """Run the child, and give what it wrote.

    Raises OSError where there is no room for that, RuntimeError with the child's last words where it fails otherwise.
    """
    command = [sys.executable, "-P", __file__, *arguments]  # -P: our queue.py must not stand for Python's
    with TemporaryFile() as output, TemporaryFile() as errors:
        process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=output, stderr=errors)
        try:
            assert process.stdin is not None
            try:
                with process.stdin as given:
                    for line in lines:
                        given.write(line + b"\n")
            except BrokenPipeError:
                pass  # it has failed, and its exit code says so
            code = process.wait(_SECONDS)
        finally:
            if process.poll() is None:
                process.kill()
                process.wait()
        for file in (output, errors):
            file.seek(0)
        if code == _NO_ROOM:
            raise OSError(ENOSPC, f"Parquet: {errors.read()[-1000:].decode().strip()}")
        if code:
            raise RuntimeError(f"Parquet: the child process ended with {code}: {errors.read()[-1000:].decode()}")
        yield output


def _write() -> None:
    import pyarrow
    from pyarrow import parquet

    head = orjson.loads(sys.stdin.buffer.readline())
    fields = [(name, getattr(pyarrow, kind)()) for name, kind in head["kinds"].items()]
    schema = pyarrow.schema(fields).with_metadata(head["metadata"])
    file = BytesIO()
    with parquet.ParquetWriter(file, schema, compression="zstd") as writer:
        group: list[Any] = []
        for line in sys.stdin.buffer:
            group.append(
                pyarrow.record_batch(list(map(pyarrow.array, orjson.loads(line), schema.types)), schema=schema)
            )
            if sum(batch.num_rows for batch in group) >= _GROUP_ROWS:
                writer.write_table(pyarrow.Table.from_batches(group))
                group.clear()
        if group:
            writer.write_table(pyarrow.Table.from_batches(group))
    _put([file.getvalue()])


def _read(paths: list[str]) -> None:
    from pyarrow import parquet

    documents = []
    for path in paths:
        table = parquet.ParquetFile(path).read()
        metadata = {name.decode(): text.decode() for name, text in (table.schema.metadata or {}).items()}
        documents.append(orjson.dumps({"metadata": metadata, "columns": table.to_pydict()}) + b"\n")
    _put(documents)


def _put(pieces: Iterable[bytes]) -> None:
    """Write pieces to the output, to the last byte: where Python is told not to buffer, sys.stdout may write a part."""
    try:
        with open(sys.stdout.fileno(), "wb", closefd=False) as output:
            for piece in pieces:
                output.write(piece)
    except OSError as error:
        sys.stderr.write(str(error))
        sys.exit(_NO_ROOM)


if __name__ == "__main__":
    _write() if sys.argv[1] == "write" else _read(sys.argv[2:])
