"""Exports: every row of a run as JSON or Parquet, with the run itself beside them."""

from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from typing import Any

import orjson

from backend import parquet
from backend.schemas import Run

Lines = Iterator[list[Any]]

_PAGE = 2_000
_WHOLE = ("update", "samples", "cg_iterations")
_TEXT = ("stop_reason", "way", "note")


def to_json(run: Run, header: Sequence[str], lines: Lines) -> bytes:
    """Write the run and its columns as one document, the columns piece by piece: as text they take far less room."""
    pieces: list[list[bytes]] = [[] for _ in header]
    for page in _pages(lines):
        for column, piece in zip(pieces, page, strict=True):
            column.append(orjson.dumps(piece)[1:-1])
    columns = b",".join(
        orjson.dumps(name) + b":[" + b",".join(column) + b"]" for name, column in zip(header, pieces, strict=True)
    )
    return b'{"run":' + orjson.dumps(run.model_dump(mode="json")) + b',"columns":{' + columns + b"}}"


def to_parquet(run: Run, header: Sequence[str], lines: Lines) -> bytes:
    """Write the columns as Parquet; the file's metadata has the run as JSON under `blockhf.run`."""
    kinds = {name: _kind(name) for name in header}
    return parquet.write(kinds, {"blockhf.run": run.model_dump_json()}, _pages(lines))


def _kind(name: str) -> str:
    measure = name.partition("_")[2] if name.startswith("block") and name != "batch_loss" else name
    if measure in _WHOLE:
        return "int64"
    return "string" if measure in _TEXT else "bool_" if measure == "diverged" else "float64"


def _pages(lines: Lines) -> Iterable[list[tuple[Any, ...]]]:
    """Turn rows into columns, some thousand at a time."""
    while page := list(islice(lines, _PAGE)):
        yield list(zip(*page, strict=True))
