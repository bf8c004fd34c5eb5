"""The rows that runs report: append without doubling, read what is new, thin to what a screen can show."""

import time
from collections.abc import Callable, Iterator, Sequence
from functools import cache, lru_cache
from operator import attrgetter
from typing import Any, TypedDict, Unpack

from sqlalchemy import ColumnElement, Connection, Integer, Select, Table, and_, bindparam, func, insert, select, update
from sqlalchemy import Update as UpdateStatement

from backend.aggregates import mean
from backend.database import Database
from backend.errors import FieldError, InvalidInput, NotFound
from backend.queue import hold
from backend.schemas import AXES, BLOCK_FIELDS, MAX_UPDATES, SERIES_FIELDS, Append, Checkpoint, Update
from backend.settings import Settings
from backend.tables import BLOCKS, RUNS, UPDATES

MAX_POINTS = 200_000

_ROW_FIELDS = ("update", *SERIES_FIELDS)
_values_of_row = attrgetter(*_ROW_FIELDS)
_values_of_block = attrgetter(*BLOCK_FIELDS)
_BEST: dict[str, Callable[[Sequence[float]], float]] = {"train_loss": min, "test_loss": min, "test_accuracy": max}
_EXPORT_PAGE = 2_000

_HEAD = select(RUNS.c.number, RUNS.c.status, RUNS.c.edition, RUNS.c.updates).where(RUNS.c.id == bindparam("its_id"))
_NUMBER, _ABOVE, _MOST = (bindparam(name, type_=Integer) for name in ("number", "above", "most"))

Columns = dict[str, Any]


class Wanted(TypedDict, total=False):
    """What is read of runs: after one update, up to another (one number per run each), how much is one point, and what.

    Left out, they are: from the first update, to the last, one point per update, every field, no blocks.
    """

    after: Sequence[int]
    until: Sequence[int]
    bucket: int
    fields: Sequence[str]
    blocks: bool


class Metrics:
    """Every update of every run."""

    def __init__(self, database: Database, settings: Settings, *, clock: Callable[[], float] = time.time) -> None:
        self._database = database
        self._settings = settings
        self._clock = clock
        self.stored = 0
        """Rows stored since the start."""

    def append(self, run_id: str, body: Append) -> int:
        """Store the next updates and renew the lease; skip what is stored already; return the last update stored.

        A checkpoint is named in the same transaction as the rows up to it. Raises LeaseLost where the token is stale,
        InvalidInput where an update is left out, or the checkpoint is ahead of the rows.
        """
        with self._database.write() as connection:
            lease = hold(connection, run_id, body.token)
            fresh = [row for row in body.rows if row.update > lease.updates]
            _check_order(body.rows, lease.updates)
            changes: Columns = {"lease_until": self._clock() + self._settings.lease_seconds, "begun": body.token}
            if fresh:
                store_rows(connection, lease.number, fresh)
                changes |= summary_of(lease, fresh)
            last = fresh[-1].update if fresh else int(lease.updates)
            if body.checkpoint:
                _check_checkpoint(body.checkpoint, last)
                changes["checkpoint"] = body.checkpoint.model_dump_json()
            connection.execute(_update(tuple(changes)), {"its_number": lease.number, **changes})
        self.stored += len(fresh)
        return last

    def series(self, runs: Sequence[str], **wanted: Unpack[Wanted]) -> dict[str, Columns]:
        """Return each run's columns, from one consistent view of the data.

        With a `bucket` above 1 each point stands for the updates j * bucket to (j + 1) * bucket - 1: the last one's
        axes, and mean, smallest and largest of each measure; every bucket with an update of that range is complete.
        An answer holds at most 200,000 points, shared by the runs: read on where `update` ends below `last_update`.
        """
        return dict(self.each(runs, **wanted))

    def each(self, runs: Sequence[str], **wanted: Unpack[Wanted]) -> Iterator[tuple[str, Columns]]:
        """Yield what `series` returns, run by run, so that a reader need not hold all of it."""
        fields, limit = wanted.get("fields", SERIES_FIELDS), max(1, MAX_POINTS // len(runs))
        starts = wanted.get("after", [0] * len(runs))
        ends = wanted.get("until", [MAX_UPDATES] * len(runs))
        with self._database.read() as connection:
            for run_id, above, end in zip(runs, starts, ends, strict=True):
                number, head = _head(connection, run_id)
                columns = _columns(connection, number, (above, end), fields, limit, wanted.get("bucket", 1))
                if wanted.get("blocks"):
                    columns["blocks"] = _blocks(connection, number, columns["update"])
                yield run_id, head | columns

    def heads(self, runs: Sequence[str]) -> dict[str, tuple[int, int, str]]:
        """Return how far each run is: its attempt, its last update, its status."""
        with self._database.read() as connection:
            found = {run_id: _head(connection, run_id)[1] for run_id in runs}
        return {run_id: (head["attempt"], head["last_update"], head["status"]) for run_id, head in found.items()}

    def export(self, run_id: str) -> Iterator[list[Any]]:
        """Yield a header and then one line per update; a block's columns start with block0_, block1_ ..."""
        with self._database.read() as connection:
            number, head = _head(connection, run_id)
            width = connection.scalar(select(func.max(BLOCKS.c.block)).where(BLOCKS.c.run == number))
        count = 0 if width is None else int(width) + 1
        yield [*_ROW_FIELDS, *(f"block{b}_{name}" for b in range(count) for name in BLOCK_FIELDS)]
        above = 0
        while above < head["last_update"]:
            with self._database.read() as connection:
                if _head(connection, run_id)[1]["attempt"] != head["attempt"]:
                    raise NotFound(f"run {run_id} began again while it was read")
                columns = _columns(connection, number, (above, MAX_UPDATES), SERIES_FIELDS, _EXPORT_PAGE)
                parts = _blocks(connection, number, columns["update"])
            above = columns["update"][-1]
            parts += [dict.fromkeys(BLOCK_FIELDS, [None] * len(columns["update"]))] * (count - len(parts))
            flat = [columns[name] for name in _ROW_FIELDS] + [part[name] for part in parts for name in BLOCK_FIELDS]
            yield from map(list, zip(*flat, strict=True))


@cache
def _update(names: tuple[str, ...]) -> UpdateStatement:
    """Return the statement that changes these columns of a run, built once: building takes longer than running it."""
    return (
        update(RUNS).where(RUNS.c.number == bindparam("its_number")).values({name: bindparam(name) for name in names})
    )


def _check_order(rows: Sequence[Update], stored: int) -> None:
    due = min(stored + 1, rows[0].update) if rows else 0
    for i, row in enumerate(rows):
        if row.update != due + i:
            limit = f"updates follow each other without gaps; the next one is {due + i}"
            raise InvalidInput([FieldError(f"rows.{i}.update", row.update, limit)])


def _check_checkpoint(checkpoint: Checkpoint, stored: int) -> None:
    if checkpoint.update > stored:
        limit = f"a checkpoint cannot be ahead of the rows, of which the last is {stored}"
        raise InvalidInput([FieldError("checkpoint.update", checkpoint.update, limit)])


def store_rows(connection: Connection, number: int, rows: Sequence[Update]) -> None:
    """Insert rows of a run, with their blocks."""
    _insert(connection, UPDATES, ("run", *_ROW_FIELDS), [(number, *_values_of_row(row)) for row in rows])
    parts = [(number, row.update, b, *_values_of_block(block)) for row in rows for b, block in enumerate(row.blocks)]
    if parts:
        _insert(connection, BLOCKS, ("run", "update", "block", *BLOCK_FIELDS), parts)


def _insert(connection: Connection, table: Table, names: Sequence[str], rows: Sequence[tuple[Any, ...]]) -> None:
    """Insert rows whose values stand in the order of the names."""
    if connection.dialect.positional:  # SQLite: tuples go down as they are; dictionaries take longer than the insert
        places = ", ".join("?" * len(names))
        columns = ", ".join(f'"{name}"' for name in names)
        connection.exec_driver_sql(f'INSERT INTO "{table.name}" ({columns}) VALUES ({places})', list(rows))
    else:  # PostgreSQL takes no boolean for a small integer
        whole = ([int(value) if isinstance(value, bool) else value for value in row] for row in rows)
        connection.execute(insert(table), [dict(zip(names, row, strict=True)) for row in whole])


def summary_of(stored: Any, rows: Sequence[Update]) -> dict[str, Any]:
    """Carry the run's summary on from what is stored, so that a list of runs never reads rows."""
    last = rows[-1]
    changes: dict[str, Any] = {"updates": last.update, "epoch": last.epoch, "seconds": last.seconds, "cost": last.cost}
    for name, better in _BEST.items():
        values = [value for row in rows if (value := getattr(row, name)) is not None]
        if values:
            best = getattr(stored, f"best_{name}")
            changes[f"last_{name}"] = values[-1]
            changes[f"best_{name}"] = better(values if best is None else [*values, best])
    return changes


def _head(connection: Connection, run_id: str) -> tuple[int, Columns]:
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


def _blocks(connection: Connection, number: int, updates: Sequence[int]) -> list[Columns]:
    """Return each block's columns, in step with the list of updates."""
    if not updates:
        return []
    query = (
        select(BLOCKS.c.block, BLOCKS.c.update, *(BLOCKS.c[name] for name in BLOCK_FIELDS))
        .where(BLOCKS.c.run == number, BLOCKS.c.update.between(updates[0], updates[-1]))
        .order_by(BLOCKS.c.update, BLOCKS.c.block)
    )
    parts: list[Columns] = []
    for block, at, *values in connection.execute(query):
        while block >= len(parts):
            parts.append({name: [None] * len(updates) for name in BLOCK_FIELDS})
        for name, value in zip(BLOCK_FIELDS, values, strict=True):
            parts[block][name][at - updates[0]] = value
    return parts
