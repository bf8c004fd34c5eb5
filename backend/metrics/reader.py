"""How the rows of runs are read: page by page, what is new, thinned to what a screen can show."""

from collections.abc import Iterator, Sequence
from functools import lru_cache
from typing import Any, NamedTuple, TypedDict

from sqlalchemy import ColumnElement, Connection, Integer, Select, and_, bindparam, func, select

from backend.errors import NotFound
from backend.schemas.api import AXES, BLOCK_FIELDS, SERIES_FIELDS
from backend.storage.sql_functions import mean
from backend.storage.tables import BLOCKS, RUNS, UPDATES

MAX_POINTS = 200_000

_PAGE = 2_000

_HEAD = select(RUNS.c.number, RUNS.c.status, RUNS.c.edition, RUNS.c.updates).where(RUNS.c.id == bindparam("its_id"))
_NUMBER, _ABOVE, _MOST = (bindparam(name, type_=Integer) for name in ("number", "above", "most"))

Columns = dict[str, Any]


class Wanted(TypedDict, total=False):
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


class Reading(NamedTuple):
    """A run as it is read: where it stands, and its columns, page by page, of which each can be taken once.

    names: of the rows' columns; after them come, for each of so many blocks, the columns of BLOCK_FIELDS.
    """

    run_id: str
    head: Columns
    names: Sequence[str]
    blocks: int
    pages: Iterator[list[list[Any]]]


def read(connection: Connection, run_id: str, part: Sequence[int], limit: int, wanted: Wanted) -> Reading:
    """Begin to read a run: after the first update of `part`, up to the second, at most so many points."""
    number, head = _head(connection, run_id)
    above, end = part[0], min(part[1], head["last_update"])
    bucket, fields = wanted.get("bucket", 1), tuple(wanted.get("fields", SERIES_FIELDS))
    names, _ = _rows_query(fields) if bucket == 1 else _buckets_query(fields)
    blocks = 0
    if wanted.get("blocks"):
        its = and_(BLOCKS.c.run == number, BLOCKS.c.update > above, BLOCKS.c.update <= end)
        last = connection.scalar(select(func.max(BLOCKS.c.block)).where(its))
        blocks = 0 if last is None else int(last) + 1

    def pages(above: int, limit: int) -> Iterator[list[list[Any]]]:
        while above < end and limit > 0:
            upto = min(end, ((above + 1) // bucket + _PAGE) * bucket - 1)
            columns = _columns(connection, number, (above, upto), fields, min(limit, _PAGE), bucket)
            parts = _blocks(connection, number, columns["update"], blocks)
            yield [*columns.values(), *(part[name] for part in parts for name in BLOCK_FIELDS)]
            above, limit = upto, limit - len(columns["update"])

    return Reading(run_id, head, names, blocks, pages(above, limit))


def joined(reading: Reading, *, with_blocks: bool) -> Columns:
    """Join the pages of a run."""
    columns: list[list[Any]] = [[] for _ in range(len(reading.names) + reading.blocks * len(BLOCK_FIELDS))]
    for page in reading.pages:
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
    return row.number, {"status": row.status, "attempt": row.edition, "last_update": row.updates}


def _columns(
    connection: Connection, number: int, part: tuple[int, int], fields: Sequence[str], limit: int, bucket: int = 1
) -> Columns:
    """Read the updates above the first number up to the second, or the buckets of `bucket` updates that hold them."""
    above, end = part
    values = {"number": number, "above": above, "most": limit}
    if bucket == 1:
        names, query = _rows_query(tuple(fields))
        values |= {"end": end}
    else:
        names, query = _buckets_query(tuple(fields))
        first, last = (above + 1) // bucket * bucket, end // bucket * bucket + bucket - 1
        values |= {"first": first, "last": last, "bucket": bucket}
    return _turned(names, connection.execute(query, values).all())


# Built once for the same fields: for an increment, building takes longer than running.
@lru_cache(64)
def _rows_query(fields: tuple[str, ...]) -> tuple[tuple[str, ...], Select[Any]]:
    names = ("update", *fields)
    its = and_(UPDATES.c.run == _NUMBER, UPDATES.c.update > _ABOVE, UPDATES.c.update <= bindparam("end", type_=Integer))
    query = select(*(UPDATES.c[name] for name in names)).where(its)
    return names, query.order_by(UPDATES.c.update).limit(_MOST)


@lru_cache(64)
def _buckets_query(fields: tuple[str, ...]) -> tuple[tuple[str, ...], Select[Any]]:
    index = UPDATES.c.update // bindparam("bucket", type_=Integer)
    whole = UPDATES.c.update.between(bindparam("first", type_=Integer), bindparam("last", type_=Integer))
    is_new = select(UPDATES.c.update).where(UPDATES.c.run == _NUMBER, UPDATES.c.update > _ABOVE).exists()
    wanted: dict[str, ColumnElement[Any]] = {"update": func.max(UPDATES.c.update)}
    for name in fields:
        column = UPDATES.c[name]
        # Axes never fall, so the largest is the last one's; one diverged update marks the bucket.
        if name in AXES or name == "diverged":
            wanted[name] = func.max(column)
        else:
            wanted |= {name: mean(column), f"{name}_min": func.min(column), f"{name}_max": func.max(column)}
    query = select(*wanted.values()).where(UPDATES.c.run == _NUMBER, whole, is_new)
    return tuple(wanted), query.group_by(index).order_by(index).limit(_MOST)


def _turned(names: Sequence[str], rows: Sequence[Any]) -> Columns:
    """Turn rows into one list per column."""
    columns: Columns = dict(zip(names, map(list, zip(*rows, strict=True)), strict=True)) if rows else {}
    columns = columns or {name: [] for name in names}
    if "diverged" in columns:
        columns["diverged"] = [bool(value) for value in columns["diverged"]]
    return columns


def _blocks(connection: Connection, number: int, updates: Sequence[int], count: int) -> list[Columns]:
    """Return the columns of so many blocks, in step with the list of updates."""
    parts: list[Columns] = [{name: [None] * len(updates) for name in BLOCK_FIELDS} for _ in range(count)]
    if not parts or not updates:
        return parts
    query = (
        select(BLOCKS.c.block, BLOCKS.c.update, *(BLOCKS.c[name] for name in BLOCK_FIELDS))
        .where(BLOCKS.c.run == number, BLOCKS.c.update.between(updates[0], updates[-1]))
        .order_by(BLOCKS.c.update, BLOCKS.c.block)
    )
    for block, at, *values in connection.execute(query):
        for name, value in zip(BLOCK_FIELDS, values, strict=True):
            parts[block][name][at - updates[0]] = value
    return parts
