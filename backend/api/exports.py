"""A run's rows as answers: the curves' JSON, and exports as CSV, JSON or Parquet, written page by page."""

import csv
import io
from collections.abc import Iterable, Iterator

import orjson

from backend.formats import parquet
from backend.metrics.reader import Reading
from backend.schemas.api import BLOCK_FIELDS
from backend.schemas.runs import Run
from backend.spool import ColumnPages, Part

_WHOLE = ("update", "samples", "cg_iterations")
_TEXT = ("stop_reason", "way", "note")


def to_series(readings: Iterable[Reading], *, with_blocks: bool) -> Iterator[Part]:
    """Write runs as one document: each one's columns by name, its blocks as a list of such columns."""
    yield b'{"runs":{'
    for n, reading in enumerate(readings):
        yield (b"," if n else b"") + orjson.dumps(reading.run_id) + b":" + orjson.dumps(reading.head)[:-1]
        names = [b"," + _opening(name) for name in reading.names]
        of_blocks = [[_opening(name) for name in BLOCK_FIELDS] for _ in range(reading.blocks)]
        for b, openings in enumerate(of_blocks):
            openings[0] = (b"},{" if b else b',"blocks":[{') + openings[0]
            openings[1:] = [b"," + opening for opening in openings[1:]]
        yield ColumnPages([*names, *(opening for openings in of_blocks for opening in openings)], reading.pages)
        yield b"}]}" if reading.blocks else b',"blocks":[]}' if with_blocks else b"}"
    yield b"}}"


def to_csv(reading: Reading) -> Iterator[Part]:
    """Write a header and then a line per update."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(_header(reading))
    for page in reading.pages:
        writer.writerows(zip(*page, strict=True))
        yield text.getvalue().encode()
        text.seek(0)
        text.truncate()
    yield text.getvalue().encode()


def to_json(run: Run, reading: Reading) -> Iterator[Part]:
    """Write the run and its columns as one document."""
    yield b'{"run":' + run.model_dump_json().encode() + b',"columns":{'
    yield ColumnPages([(b"," if n else b"") + _opening(name) for n, name in enumerate(_header(reading))], reading.pages)
    yield b"}}"


def to_parquet(run: Run, reading: Reading) -> Iterator[Part]:
    """Write the columns as Parquet; the file's metadata has the run as JSON under `blockhf.run`."""
    kinds = {name: _kind(name) for name in _header(reading)}
    return parquet.stream(kinds, {"blockhf.run": run.model_dump_json()}, reading.pages)


def _header(reading: Reading) -> list[str]:
    """Name the columns; a block's begin with block0_, block1_ ..."""
    return [*reading.names, *(f"block{b}_{name}" for b in range(reading.blocks) for name in BLOCK_FIELDS)]


def _opening(name: str) -> bytes:
    return orjson.dumps(name) + b":"


def _kind(name: str) -> str:
    measure = name.partition("_")[2] if name.startswith("block") and name != "batch_loss" else name
    if measure in _WHOLE:
        return "int64"
    return "string" if measure in _TEXT else "bool_" if measure == "diverged" else "float64"
