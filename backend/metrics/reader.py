"""Reading rows of runs: page by page, from a cursor, whole or thinned to buckets."""

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
    """Which rows and columns of runs to read.

    Attributes:
        after: for each run, read the updates after this one; default: from the first.
        until: for each run, the last update to read; default: the last stored.
        bucket: number of updates per point; default: 1.
        fields: columns to read; default: all.
        blocks: whether to read the columns of the blocks; default: no.
        points: maximum number of points of all runs together; default: 200,000.
    """

    after: Sequence[int]
    until: Sequence[int]
    bucket: int
    fields: Sequence[str]
    blocks: bool
    points: int


View = Callable[[int, int], AbstractContextManager[Connection]]
"""Opens a consistent view of a run, given its number and row generation."""


@dataclass(frozen=True)
class Reading:
    """A run with its state and its columns, which are read page by page from a consistent view.

    Attributes:
        head: status, row generation and last update.
        names: columns of the rows. The columns of BLOCK_FIELDS follow for each block.
        blocks: number of blocks.
        points: maximum number of values per column.
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
        """Number of columns."""
        return len(self.names) + self.blocks * len(BLOCK_FIELDS)

    def pages(self, part: slice = _ALL) -> Iterator[list[list[Any]]]:
        """Yield pages of consecutive rows; each has one list of values per chosen column."""
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


def read(
    connection: Connection, view: View, run_id: str, part: Sequence[int], limit: int, query: SeriesQuery
) -> Reading:
    """Prepare to read a run.

    Args:
        connection: where the state of the run is read.
        view: opens the view for each page.
        run_id: the run.
        part: read the updates after the first number, up to the second.
        limit: maximum number of points.
        query: what to read; see `SeriesQuery`.
    """
    number, head = _head(connection, run_id)
    above, end = part[0], min(part[1], head["last_update"])
    bucket, fields = query.get("bucket", 1), tuple(query.get("fields", SERIES_FIELDS))
    blocks = 0
    if query.get("blocks"):
        its = and_(BLOCKS.c.run == number, BLOCKS.c.update > above, BLOCKS.c.update <= end)
        last = connection.scalar(select(func.max(BLOCKS.c.block)).where(its))
        blocks = 0 if last is None else int(last) + 1
    names = ("update", *fields) if bucket == 1 else tuple(_bucket_columns(fields))
    points = min(limit, max(0, end // bucket - (above + 1) // bucket + 1))
    return Reading(run_id, head, names, blocks, points, number, view, above, end, bucket, fields)


def joined(reading: Reading, *, with_blocks: bool) -> Columns:
    """Read all pages of a run into one list per column."""
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
    """Return a run's number and its state; raise NotFound if there is no such run."""
    row = connection.execute(_HEAD, {"its_id": run_id}).one_or_none()
    if row is None:
        raise NotFound(f"there is no run {run_id}")
    return row.number, {"status": row.status, "row_generation": row.row_generation, "last_update": row.updates}


def _columns(
    connection: Connection, reading: Reading, names: tuple[str, ...], part: tuple[int, int], limit: int
) -> Columns:
    """Read columns of the updates after the first number up to the second, or of their buckets; adds `update`."""
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


# Built once per set of columns: for an increment, building the query takes longer than running it.
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
    """Return the expressions computed for a bucket, by column name."""
    found: dict[str, ColumnElement[Any]] = {"update": func.max(UPDATES.c.update)}
    for name in fields:
        column = UPDATES.c[name]
        # Axes never decrease, so the largest value is the last one; one diverged update marks the bucket.
        if name in AXES or name == "diverged":
            found[name] = func.max(column)
        else:
            found |= {name: mean(column), f"{name}_min": func.min(column), f"{name}_max": func.max(column)}
    return found


def _transposed(names: Sequence[str], rows: Sequence[Any]) -> Columns:
    """Transpose rows into one list per column."""
    columns: Columns = dict(zip(names, map(list, zip(*rows, strict=True)), strict=True)) if rows else {}
    columns = columns or {name: [] for name in names}
    if "diverged" in columns:
        columns["diverged"] = [bool(value) for value in columns["diverged"]]
    return columns


def _blocks(
    connection: Connection, number: int, updates: Sequence[int], chosen: Sequence[tuple[int, int]]
) -> list[list[Any]]:
    """Return columns of blocks, aligned with the list of updates.

    Args:
        connection: where to read.
        number: number of the run.
        updates: updates of the page, without gaps.
        chosen: block and index in BLOCK_FIELDS of each column.
    """
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
