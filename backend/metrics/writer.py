"""Rows of runs: appended exactly once, read from one consistent view."""

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from operator import attrgetter
from typing import Any, Unpack

from sqlalchemy import Connection, Table, bindparam, insert, select, update
from sqlalchemy import Update as UpdateStatement

from backend.errors import FieldError, InvalidInput, RunChanged
from backend.metrics.reader import MAX_POINTS, Columns, Reading, SeriesQuery, joined, read
from backend.queue.leases import lock_claim
from backend.schemas.api import Append
from backend.schemas.base import MAX_UPDATES
from backend.schemas.measures import BLOCK_FIELDS, COMPARED, SERIES_FIELDS, Update
from backend.schemas.runs import Checkpoint
from backend.settings import Settings
from backend.storage.database import Database
from backend.storage.tables import BLOCKS, RUNS, UPDATES

_ROW_FIELDS = ("update", *SERIES_FIELDS)
_values_of_row = attrgetter(*_ROW_FIELDS)
_values_of_block = attrgetter(*BLOCK_FIELDS)
_BETTER: dict[str, Callable[[Sequence[float]], float]] = {"lower": min, "higher": max}


class Metrics:
    """The updates of all runs."""

    def __init__(self, database: Database, settings: Settings, *, clock: Callable[[], float] = time.time) -> None:
        self._database = database
        self._settings = settings
        self._clock = clock
        self.stored = 0
        """Number of rows stored since the start."""

    def append(self, run_id: str, body: Append) -> int:
        """Store the next updates, skip those already stored, and renew the lease. Return the last stored update.

        A checkpoint is recorded in the same transaction as the rows up to it.

        Raises:
            LeaseLost: the claim number is not the newest.
            InvalidInput: an update is missing, or the checkpoint is later than the last row.
        """
        with self._database.write() as connection:
            lease = lock_claim(connection, run_id, body.claim_number)
            fresh = [row for row in body.rows if row.update > lease.updates]
            _check_order(body.rows, lease.updates)
            changes: Columns = {
                "lease_until": self._clock() + self._settings.lease_seconds,
                "started_claim": body.claim_number,
            }
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

    def series(self, runs: Sequence[str], **query: Unpack[SeriesQuery]) -> dict[str, Columns]:
        """Return each run's columns, from one consistent view of the data.

        If `bucket` is above 1, each point summarizes the updates from j * bucket to (j + 1) * bucket - 1: the last
        value of each axis, and mean, minimum and maximum of each measure. A bucket with an update of the requested
        range is always computed from all its updates. The runs share `points`: if `update` ends before `last_update`,
        request the rest.
        """
        with self.readings(runs, **query) as readings:
            return {reading.run_id: joined(reading, with_blocks=query.get("blocks", False)) for reading in readings}

    @contextmanager
    def readings(self, runs: Sequence[str], **query: Unpack[SeriesQuery]) -> Iterator[list[Reading]]:
        """Open the result of `series` run by run and page by page, so that it need not fit into memory.

        Within the `with` block, all pages come from one view. Each page that is read later opens a short view of its
        own, because a long view would keep SQLite from truncating its log. The pages still match, because rows of one
        generation never change. If the generation has changed, a page raises RunChanged.
        """
        limit = max(1, query.get("points", MAX_POINTS) // len(runs))
        starts = query.get("after", [0] * len(runs))
        ends = query.get("until", [MAX_UPDATES] * len(runs))
        opened: list[Connection] = []

        @contextmanager
        def view(number: int, row_generation: int) -> Iterator[Connection]:
            if opened:
                yield opened[0]
                return
            with self._database.read() as later:
                if later.scalar(select(RUNS.c.row_generation).where(RUNS.c.number == number)) != row_generation:
                    raise RunChanged(
                        "the run restarted, or was deleted, while its rows were read: send the request again"
                    )
                yield later

        with self._database.read() as connection:
            opened.append(connection)
            try:
                parts = zip(runs, starts, ends, strict=True)
                yield [read(connection, view, run_id, part, limit, query) for run_id, *part in parts]
            finally:
                opened.clear()

    @contextmanager
    def whole(self, run_id: str) -> Iterator[Reading]:
        """Open all rows of a run, with its blocks."""
        with self.readings([run_id], blocks=True, points=MAX_UPDATES) as readings:
            yield readings[0]


@cache
def _update(names: tuple[str, ...]) -> UpdateStatement:
    """Return the statement that changes these columns of a run; cached, as building takes longer than running it."""
    return (
        update(RUNS).where(RUNS.c.number == bindparam("its_number")).values({name: bindparam(name) for name in names})
    )


def _check_order(rows: Sequence[Update], stored: int) -> None:
    due = min(stored + 1, rows[0].update) if rows else 0
    for i, row in enumerate(rows):
        if row.update != due + i:
            limit = f"updates must have no gaps; the next one is {due + i}"
            raise InvalidInput([FieldError(f"rows.{i}.update", row.update, limit)])


def _check_checkpoint(checkpoint: Checkpoint, stored: int) -> None:
    if checkpoint.update > stored:
        limit = f"must be at most {stored}, the last stored update"
        raise InvalidInput([FieldError("checkpoint.update", checkpoint.update, limit)])


def store_rows(connection: Connection, number: int, rows: Sequence[Update]) -> None:
    """Insert rows of a run and their blocks."""
    _insert(connection, UPDATES, ("run", *_ROW_FIELDS), [(number, *_values_of_row(row)) for row in rows])
    parts = [(number, row.update, b, *_values_of_block(block)) for row in rows for b, block in enumerate(row.blocks)]
    if parts:
        _insert(connection, BLOCKS, ("run", "update", "block", *BLOCK_FIELDS), parts)


def _insert(connection: Connection, table: Table, names: Sequence[str], rows: Sequence[tuple[Any, ...]]) -> None:
    """Insert rows; their values are in the order of `names`."""
    if connection.dialect.positional:  # SQLite: passes tuples on; building dictionaries takes longer than the insert
        places = ", ".join("?" * len(names))
        columns = ", ".join(f'"{name}"' for name in names)
        connection.exec_driver_sql(f'INSERT INTO "{table.name}" ({columns}) VALUES ({places})', list(rows))
    else:  # PostgreSQL accepts no boolean for a small integer
        whole = ([int(value) if isinstance(value, bool) else value for value in row] for row in rows)
        connection.execute(insert(table), [dict(zip(names, row, strict=True)) for row in whole])


def summary_of(stored: Any, rows: Sequence[Update]) -> dict[str, Any]:
    """Update the stored summary of a run with new rows, so that a list of runs need not read rows."""
    last = rows[-1]
    changes: dict[str, Any] = {"updates": last.update, "epoch": last.epoch, "seconds": last.seconds, "cost": last.cost}
    for name, better in COMPARED.items():
        values = [value for row in rows if (value := getattr(row, name)) is not None]
        if values:
            best = getattr(stored, f"best_{name}")
            changes[f"last_{name}"] = values[-1]
            changes[f"best_{name}"] = _BETTER[better](values if best is None else [*values, best])
    return changes
