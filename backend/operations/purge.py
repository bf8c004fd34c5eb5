"""`blockhf purge`: removes deleted experiments from database and disk. Nothing else removes rows of a run."""

import time
from collections.abc import Callable
from pathlib import Path

from sqlalchemy import ColumnElement, Connection, and_, delete, func, or_, select, update

from backend.operations import checkpoint_folders
from backend.schemas.runs import RunStatus
from backend.settings import Settings
from backend.storage.database import Database, Unusable, outdated
from backend.storage.tables import BLOCKS, EXPERIMENTS, RUNS, UPDATES

BATCH_ROWS = 50_000
"""Rows of updates and blocks removed in one transaction, for which other writers wait."""

PAUSE_SECONDS = 0.2
"""Pause between transactions: waiting writers poll SQLite's lock every 0.1 s, so a shorter gap would be missed."""

_DAY_SECONDS = 86_400


def purge(settings: Settings, days: float, *, clock: Callable[[], float] = time.time) -> int:
    """Permanently remove the experiments that were deleted at least `days` ago, in several transactions.

    An experiment with a running run stays until the next purge. Once its removal has begun an experiment cannot be
    restored, and the next purge finishes an interrupted removal, whatever `days`. The backend may run meanwhile.

    Args:
        settings: name the database and its folder.
        days: age of the deletion [days].
        clock: returns the seconds since 1970.

    Returns:
        The number of removed experiments.

    Raises:
        Unusable: there is no database, or its tables have another version.
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
    """Mark an experiment; remove its runs' rows and folders, then itself; return the number removed, 0 or 1."""
    this = EXPERIMENTS.c.number == number
    with database.write() as connection:  # checks again: it may have been restored since
        marked = connection.execute(
            update(EXPERIMENTS).where(this, or_(EXPERIMENTS.c.purging, due)).values(purging=True)
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
        return connection.execute(delete(EXPERIMENTS).where(this)).rowcount


def _remove_rows(connection: Connection, experiment: int) -> bool:
    """Remove a batch of rows, the last updates first, so that no run has a gap; return whether rows may be left."""
    left = select(RUNS.c.number, RUNS.c.updates).where(RUNS.c.experiment == experiment, RUNS.c.updates > 0)
    budget = BATCH_ROWS
    for run, last in connection.execute(left.order_by(RUNS.c.number)).all():
        blocks = select(func.count()).where(BLOCKS.c.run == run, BLOCKS.c.update == last)
        width = 1 + (connection.scalar(blocks) or 0)
        kept = max(0, last - max(1, budget // width))
        for table in (BLOCKS, UPDATES):
            connection.execute(delete(table).where(table.c.run == run, table.c.update > kept))
        connection.execute(
            update(RUNS).where(RUNS.c.number == run).values(updates=kept, row_generation=RUNS.c.row_generation + 1)
        )
        budget -= (last - kept) * width
        if budget <= 0 or kept:
            return True
    return False
