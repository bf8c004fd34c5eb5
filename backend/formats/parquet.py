"""Parquet files: written group by group, and read. pyarrow takes 100 MiB of memory, so it is imported at first use."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from io import BytesIO
from pathlib import Path
from typing import Any, NamedTuple

_GROUP_ROWS = 20_000

Page = Sequence[Sequence[Any]]


class Table(NamedTuple):
    """The content of a file: its metadata (texts by name) and its columns."""

    metadata: dict[str, str]
    columns: dict[str, list[Any]]


def write(kinds: Mapping[str, str], metadata: Mapping[str, str], pages: Iterable[Page]) -> bytes:
    """Return the bytes that `stream` yields."""
    return b"".join(stream(kinds, metadata, pages))


def stream(kinds: Mapping[str, str], metadata: Mapping[str, str], pages: Iterable[Page]) -> Iterator[bytes]:
    """Yield a file of columns, compressed with zstd, a group of rows at a time.

    Args:
        kinds: pyarrow's name of each column's type, such as float64, int64, string or bool_.
        metadata: texts to store in the file's schema.
        pages: each has the values of every column for the next rows; None is null.
    """
    import pyarrow
    from pyarrow import parquet

    fields = [(name, getattr(pyarrow, kind)()) for name, kind in kinds.items()]
    schema = pyarrow.schema(fields).with_metadata(metadata)
    file = BytesIO()
    sink = pyarrow.PythonFile(file, mode="w")  # it counts the bytes itself, so the buffer can be emptied
    with parquet.ParquetWriter(sink, schema, compression="zstd") as writer:
        group: list[Any] = []
        for page in pages:
            group.append(pyarrow.record_batch(list(map(pyarrow.array, page, schema.types)), schema=schema))
            if sum(batch.num_rows for batch in group) >= _GROUP_ROWS:
                writer.write_table(pyarrow.Table.from_batches(group))
                group.clear()
                yield _drain(file)
        if group:
            writer.write_table(pyarrow.Table.from_batches(group))
    yield _drain(file)


def read(paths: Sequence[Path]) -> list[Table]:
    """Read the metadata and columns of each file."""
    from pyarrow import parquet

    tables = []
    for path in paths:
        table = parquet.ParquetFile(path).read()
        metadata = {name.decode(): text.decode() for name, text in (table.schema.metadata or {}).items()}
        tables.append(Table(metadata, table.to_pydict()))
    return tables


def _drain(file: BytesIO) -> bytes:
    """Return the content of a buffer and empty it."""
    content = file.getvalue()
    file.seek(0)
    file.truncate()
    return content
