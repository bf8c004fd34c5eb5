"""Exports: every row of a run as JSON or Parquet, with the run itself beside them."""

import io
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from typing import Any

import orjson

from backend.schemas import Run

Lines = Iterator[list[Any]]

_PAGE = 10_000
_WHOLE = ("update", "samples", "cg_iterations")
_TEXT = ("stop_reason", "way", "note")


def to_json(run: Run, header: Sequence[str], lines: Lines) -> bytes:
    """Write the run and its columns as one document."""
    columns = zip(*lines, strict=True)
    document = {"run": run.model_dump(mode="json"), "columns": dict(zip(header, columns, strict=False))}
    return orjson.dumps(document | ({} if document["columns"] else {"columns": {name: [] for name in header}}))


def to_parquet(run: Run, header: Sequence[str], lines: Lines) -> bytes:
    """Write the columns as Parquet; the file's metadata has the run as JSON under `blockhf.run`."""
    import pyarrow
    from pyarrow import parquet

    kinds = {"int": pyarrow.int64(), "text": pyarrow.string(), "bool": pyarrow.bool_(), "float": pyarrow.float64()}
    schema = pyarrow.schema([(name, kinds[_kind(name)]) for name in header])
    schema = schema.with_metadata({"blockhf.run": run.model_dump_json()})
    file = io.BytesIO()
    with parquet.ParquetWriter(file, schema, compression="zstd") as writer:
        for page in _pages(lines):
            columns = [pyarrow.array(column, kind) for column, kind in zip(page, schema.types, strict=True)]
            writer.write_batch(pyarrow.record_batch(columns, schema=schema))
    return file.getvalue()


def _kind(name: str) -> str:
    measure = name.partition("_")[2] if name.startswith("block") and name != "batch_loss" else name
    if measure in _WHOLE:
        return "int"
    return "text" if measure in _TEXT else "bool" if measure == "diverged" else "float"


def _pages(lines: Lines) -> Iterable[list[tuple[Any, ...]]]:
    """Turn rows into columns, some thousand at a time."""
    while page := list(islice(lines, _PAGE)):
        yield list(zip(*page, strict=True))
