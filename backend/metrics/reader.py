"""How the rows of runs are read: page by page, what is new, thinned to what a screen can show."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, TypedDict

from sqlalchemy import ColumnElement, Connection, Integer, Select, and_, bindparam, func, select

from backend.errors import NotFound
from backend.schemas.measures import AXES, BLOCK_FIELDS, SERIES_FIELDS
from backend.storage.sql_functions import mean
from backend.storage.tables import BLOCKS, RUNS, UPDATES

MAX_POINTS = 200_000

_PAGE = 2_000
_ALL = slice(None)

_HEAD = select(RUNS.c.number, RUNS.c.status, RUNS.c.row_generation, RUNS.c.updates).where(
    RUNS.c.id == bindparam("its_id")
)
_NUMBER, _ABOVE, _MOST = (bindparam(name, type_=Integer) for name in ("number", "above", "most"))

Columns = dict[str, Any]


class SeriesQuery(TypedDict, total=False):
    """What is read of runs: after one update, up to another (one number per run each), how much is one point, and what.

    Left out, they are: from the first update, to the last, one point per update, every field, no blocks, and no more
    than 200,000 points of all runs together.
    """

    after: Sequence[int]
    until: Sequence[int]
    bucket: int
    fields: Sequence[str]
    blocks: bool
    points: int


View = Callable[[int, int], AbstractContextManager[Connection]]
"""Opens a view of a run, by number, in its row generation."""


@dataclass(frozen=True)
class Reading:
    """A run as it is read: its state, and its columns, page by page, each time from a view.

    head: status, row generation and last update. names: of the rows' columns; after them come, for each of `blocks`
    blocks, the columns of BLOCK_FIELDS. points: at most as many are read of each column.
    """

    run_id: str
    head: Columns
    names: Sequence[str]
    blocks: int
    points: int
    _number: int
    _view: View
    _above: int
    _end: int
    _bucket: int
    _fields: tuple[str, ...]

    @property
    def width(self) -> int:
        """Count the columns."""
        return len(self.names) + self.blocks * len(BLOCK_FIELDS)

    def pages(self, part: slice = _ALL) -> Iterator[list[list[Any]]]:
        """Yield the values of a part of the columns, for some rows after another."""
        chosen = range(self.width)[part]
        names = [self.names[n] for n in chosen if n < len(self.names)]
        of_blocks = [divmod(n - len(self.names), len(BLOCK_FIELDS)) for n in chosen if n >= len(self.names)]
        above, left = self._above, self.points
        while above < self._end and left > 0:
            upto = min(self._end, ((above + 1) // self._bucket + _PAGE) * self._bucket - 1)
            with self._view(self._number, self.head["row_generation"]) as connection:
                columns = _columns(connection, self, tuple(names), (above, upto), min(left, _PAGE))
                parts = _blocks(connection, self._number, columns["update"], of_blocks)
            yield [*(columns[name] for name in names), *parts]
            above, left = upto, left - len(columns["update"])


def read(connection: Connection, view: View, run_id: str, part: Sequence[int], limit: int, wanted: SeriesQuery) -> Reading:
    """Begin to read a run: after the first update of `part`, up to the second, at most `limit` points."""
    number, head = _head(connection, run_id)
    above, end = part[0], min(part[1], head["last_update"])
    bucket, fields = wanted.get("bucket", 1), tuple(wanted.get("fields", SERIES_FIELDS))
    blocks = 0
    if wanted.get("blocks"):
        its = and_(BLOCKS.c.run == number, BLOCKS.c.update > above, BLOCKS.c.update <= end)
        last = connection.scalar(select(func.max(BLOCKS.c.block)).where(its))
        blocks = 0 if last is None else int(last) + 1
    names = ("update", *fields) if bucket == 1 else tuple(_bucket_columns(fields))
    points = min(limit, max(0, end // bucket - (above + 1) // bucket + 1))
    return Reading(run_id, head, names, blocks, points, number, view, above, end, bucket, fields)


def joined(reading: Reading, *, with_blocks: bool) -> Columns:
    """Join the pages of a run."""
    columns: list[list[Any]] = [[] for _ in range(reading.width)]
    for page in reading.pages():
        for column, values in zip(columns, page, strict=True):
            column += values
    found = reading.head | dict(zip(reading.names, columns, strict=False))
    if with_blocks:
        rest = iter(columns[len(reading.names) :])
        found["blocks"] = [dict(zip(BLOCK_FIELDS, rest, strict=False)) for _ in range(reading.blocks)]
    return found


def _head(connection: Connection, run_id: str) -> tuple[int, Columns]:
    """Return a run's number, and where it stands; raise NotFound where there is no such run."""
    row = connection.execute(_HEAD, {"its_id": run_id}).one_or_none()
    if row is None:
        raise NotFound(f"there is no run {run_id}")
    return row.number, {"status": row.status, "row_generation": row.row_generation, "last_update": row.updates}


def _columns(
    connection: Connection, reading: Reading, names: tuple[str, ...], part: tuple[int, int], limit: int
) -> Columns:
    """Read columns of the updates above the first number up to the second, or of their buckets; `update` always."""
    (above, end), bucket = part, reading._bucket
    values = {"number": reading._number, "above": above, "most": limit}
    names = tuple(dict.fromkeys(("update", *names)))
    if bucket == 1:
        query = _rows_query(names)
        values |= {"end": end}
    else:
        query = _buckets_query(reading._fields, names)
        first, last = (above + 1) // bucket * bucket, end // bucket * bucket + bucket - 1
        values |= {"first": first, "last": last, "bucket": bucket}
    return _transposed(names, connection.execute(query, values).all())


# Built once for the same columns: for an increment, building takes longer than running.
@lru_cache(64)
def _rows_query(names: tuple[str, ...]) -> Select[Any]:
    its = and_(UPDATES.c.run == _NUMBER, UPDATES.c.update > _ABOVE, UPDATES.c.update <= bindparam("end", type_=Integer))
    query = select(*(UPDATES.c[name] for name in names)).where(its)
    return query.order_by(UPDATES.c.update).limit(_MOST)


@lru_cache(64)
def _buckets_query(fields: tuple[str, ...], names: tuple[str, ...]) -> Select[Any]:
    index = UPDATES.c.update // bindparam("bucket", type_=Integer)
    whole = UPDATES.c.update.between(bindparam("first", type_=Integer), bindparam("last", type_=Integer))
    is_new = select(UPDATES.c.update).where(UPDATES.c.run == _NUMBER, UPDATES.c.update > _ABOVE).exists()
    columns = _bucket_columns(fields)
    query = select(*(columns[name] for name in names)).where(UPDATES.c.run == _NUMBER, whole, is_new)
    return query.group_by(index).order_by(index).limit(_MOST)


@lru_cache(64)
def _bucket_columns(fields: tuple[str, ...]) -> dict[str, ColumnElement[Any]]:
    """Return what is computed of a bucket, by the name of its column."""
    found: dict[str, ColumnElement[Any]] = {"update": func.max(UPDATES.c.update)}
    for name in fields:
        column = UPDATES.c[name]
        # Axes never fall, so the largest is the last one's; one diverged update marks the bucket.
        if name in AXES or name == "diverged":
            found[name] = func.max(column)
        else:
            found |= {name: mean(column), f"{name}_min": func.min(column), f"{name}_max": func.max(column)}
    return found


def _transposed(names: Sequence[str], rows: Sequence[Any]) -> Columns:
    """Turn rows into one list per column."""
    columns: Columns = dict(zip(names, map(list, zip(*rows, strict=True)), strict=True)) if rows else {}
    columns = columns or {name: [] for name in names}
    if "diverged" in columns:
        columns["diverged"] = [bool(value) for value in columns["diverged"]]
    return columns


def _blocks(
    connection: Connection, number: int, updates: Sequence[int], chosen: Sequence[tuple[int, int]]
) -> list[list[Any]]:
    """Return columns of blocks, each by block and place in BLOCK_FIELDS, in step with the list of updates."""
    parts: list[list[Any]] = [[None] * len(updates) for _ in chosen]
    if not parts or not updates:
        return parts
    places = sorted({field for _, field in chosen})
    wanted: dict[int, list[tuple[int, list[Any]]]] = {}
    for (block, field), part in zip(chosen, parts, strict=True):
        wanted.setdefault(block, []).append((places.index(field), part))
    query = select(BLOCKS.c.block, BLOCKS.c.update, *(BLOCKS.c[BLOCK_FIELDS[place]] for place in places)).where(
        BLOCKS.c.run == number,
        BLOCKS.c.update.between(updates[0], updates[-1]),
        BLOCKS.c.block.between(min(wanted), max(wanted)),
    )
    for block, at, *values in connection.execute(query):
        row = at - updates[0]
        for place, part in wanted[block]:
            part[row] = values[place]
    return parts
