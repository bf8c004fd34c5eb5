"""`blockhf purge`: what was deleted long ago leaves database and disk, with its rows; nothing else removes them."""

import time
from collections.abc import Callable
from pathlib import Path

from sqlalchemy import ColumnElement, Connection, and_, delete, func, or_, select, update

from backend.operations import checkpoint_folders
from backend.schemas.runs import RunStatus
from backend.settings import Settings
from backend.storage.database import Database, Unusable, outdated
from backend.storage.tables import BLOCKS, EXPERIMENTS, RUNS, UPDATES

PORTION = 50_000
"""Rows of updates and blocks that go in one transaction; other writers wait for that long."""

PAUSE_SECONDS = 0.2
"""Between two: SQLite asks for a lock that is taken at most every 0.1 s, and would miss a shorter gap."""

_DAY_SECONDS = 86_400


def purge(settings: Settings, days: float, *, clock: Callable[[], float] = time.time) -> int:
    """Remove the experiments that were deleted `days` ago or earlier, in portions; return how many.

    One whose run a worker still holds stays until the next time. The backend may go on working meanwhile. From the
    first portion on an experiment cannot be restored; one that was begun is finished the next time, whatever `days`.
    Raises Unusable where there is no database, or one of another version.
    """
    database = Database.existing(settings.url)
    held = select(RUNS.c.experiment).where(RUNS.c.status == RunStatus.RUNNING)
    due = and_(EXPERIMENTS.c.deleted_at <= clock() - days * _DAY_SECONDS, EXPERIMENTS.c.number.not_in(held))
    try:
        with database.read() as connection:
            if fault := outdated(connection):
                raise Unusable(fault)
            numbers = connection.scalars(select(EXPERIMENTS.c.number).where(or_(EXPERIMENTS.c.purging, due))).all()
        return sum(_purge(database, number, due, checkpoint_folders.root(settings.home)) for number in numbers)
    finally:
        database.close()


def _purge(database: Database, number: int, due: ColumnElement[bool], root: Path) -> int:
    """Mark an experiment, take its runs' rows away and their folders, then itself; return whether it was there."""
    its = EXPERIMENTS.c.number == number
    with database.write() as connection:  # asked again: it may have been restored since
        marked = connection.execute(
            update(EXPERIMENTS).where(its, or_(EXPERIMENTS.c.purging, due)).values(purging=True)
        )
        if not marked.rowcount:
            return 0
        names = connection.scalars(select(RUNS.c.id).where(RUNS.c.experiment == number)).all()
    more = True
    while more:
        with database.write() as connection:
            more = _remove_rows(connection, number)
        time.sleep(PAUSE_SECONDS if more else 0)
    checkpoint_folders.remove(root / name for name in names)
    with database.write() as connection:
        return connection.execute(delete(EXPERIMENTS).where(its)).rowcount


def _remove_rows(connection: Connection, experiment: int) -> bool:
    """Take a portion away, last rows first, so that each run's summary stays true; return whether more may be left."""
    left = select(RUNS.c.number, RUNS.c.updates).where(RUNS.c.experiment == experiment, RUNS.c.updates > 0)
    room = PORTION
    for run, last in connection.execute(left.order_by(RUNS.c.number)).all():
        blocks = select(func.count()).where(BLOCKS.c.run == run, BLOCKS.c.update == last)
        width = 1 + (connection.scalar(blocks) or 0)
        kept = max(0, last - max(1, room // width))
        for table in (BLOCKS, UPDATES):
            connection.execute(delete(table).where(table.c.run == run, table.c.update > kept))
        connection.execute(
            update(RUNS).where(RUNS.c.number == run).values(updates=kept, row_generation=RUNS.c.row_generation + 1)
        )
        room -= (last - kept) * width
        if room <= 0 or kept:
            return True
    return False
