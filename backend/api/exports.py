"""Response bodies with the rows of runs, page by page: curves as JSON, and exports as CSV, JSON or Parquet."""

import csv
import io
from collections.abc import Iterable, Iterator

import orjson

from backend.formats import parquet
from backend.metrics.reader import Reading
from backend.schemas.measures import BLOCK_FIELDS, BLOCK_MEASURES, UPDATE_MEASURES
from backend.schemas.runs import Run

_BUFFERED_VALUES = 500_000
"""Maximum number of values that are buffered as JSON text, about 10 MB."""

_TYPES = {"number": "float64", "integer": "int64", "text": "string", "flag": "bool_"}


def to_series(readings: Iterable[Reading], *, with_blocks: bool) -> Iterator[bytes]:
    """Yield one JSON document: the columns of each run by name, and of each block likewise in a list."""
    yield b'{"runs":{'
    for n, reading in enumerate(readings):
        yield (b"," if n else b"") + orjson.dumps(reading.run_id) + b":" + orjson.dumps(reading.head)[:-1]
        lists = _lists(reading)
        for name in reading.names:
            yield b"," + _key(name)
            yield from next(lists)
        if with_blocks:
            yield b',"blocks":['
            for b in range(reading.blocks):
                yield b",{" if b else b"{"
                for n_field, name in enumerate(BLOCK_FIELDS):
                    yield (b"," if n_field else b"") + _key(name)
                    yield from next(lists)
                yield b"}"
            yield b"]"
        yield b"}"
    yield b"}}"


def to_csv(reading: Reading) -> Iterator[bytes]:
    """Yield a CSV header and one line per update."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(_header(reading))
    for page in reading.pages():
        writer.writerows(zip(*page, strict=True))
        yield text.getvalue().encode()
        text.seek(0)
        text.truncate()
    yield text.getvalue().encode()


def to_json(run: Run, reading: Reading) -> Iterator[bytes]:
    """Yield the run and its columns as one JSON document."""
    yield b'{"run":' + run.model_dump_json().encode() + b',"columns":{'
    for n, (name, values) in enumerate(zip(_header(reading), _lists(reading), strict=True)):
        yield (b"," if n else b"") + _key(name)
        yield from values
    yield b"}}"


def to_parquet(run: Run, reading: Reading) -> Iterator[bytes]:
    """Yield the columns as Parquet; the metadata `blockhf.run` is the run as JSON."""
    kinds = {name: _kind(name) for name in _header(reading)}
    return parquet.stream(kinds, {"blockhf.run": run.model_dump_json()}, reading.pages())


def _lists(reading: Reading) -> Iterator[list[bytes]]:
    """Yield each column as the parts of a JSON list.

    JSON needs column after column, but the database returns rows. So each pass over the rows buffers as many columns
    as the limit allows: all columns of a short run, a few of a long one.
    """
    at_once = max(1, _BUFFERED_VALUES // max(1, reading.points))
    for start in range(0, reading.width, at_once):
        texts: list[list[bytes]] = [[] for _ in range(reading.width)[start : start + at_once]]
        for page in reading.pages(slice(start, start + at_once)):
            for parts, values in zip(texts, page, strict=True):
                if values:
                    parts.append((b"," if parts else b"[") + orjson.dumps(values)[1:-1])
        while texts:
            yield [*(texts.pop(0) or [b"["]), b"]"]


def _header(reading: Reading) -> list[str]:
    """Return the column names; those of a block begin with block0_, block1_ ..."""
    return [*reading.names, *(f"block{b}_{name}" for b in range(reading.blocks) for name in BLOCK_FIELDS)]


def _key(name: str) -> bytes:
    return orjson.dumps(name) + b":"


def _kind(name: str) -> str:
    measure = UPDATE_MEASURES.get(name) or BLOCK_MEASURES[name.partition("_")[2]]
    return _TYPES[measure.kind]
