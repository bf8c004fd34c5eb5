"""`blockhf purge`: what was deleted long ago leaves the database, with its rows; nothing else removes them."""

import time
from collections.abc import Callable

from sqlalchemy import delete, select

from backend.database import Database
from backend.schemas import RunStatus
from backend.settings import Settings
from backend.tables import EXPERIMENTS, RUNS

_DAY_SECONDS = 86_400


def purge(settings: Settings, days: float, *, clock: Callable[[], float] = time.time) -> int:
    """Remove the experiments that were deleted `days` ago or earlier, one per transaction; return how many.

    One whose run a worker still holds stays until the next time. The backend may go on working meanwhile.
    """
    database = Database(settings.url, migrate=False)
    held = select(RUNS.c.experiment).where(RUNS.c.status == RunStatus.RUNNING)
    due = EXPERIMENTS.c.deleted_at <= clock() - days * _DAY_SECONDS
    free = EXPERIMENTS.c.number.not_in(held)
    try:
        with database.read() as connection:
            numbers = connection.scalars(select(EXPERIMENTS.c.number).where(due, free)).all()
        count = 0
        for number in numbers:
            with database.write() as connection:  # asked again: it may have been restored since
                count += connection.execute(delete(EXPERIMENTS).where(EXPERIMENTS.c.number == number, due)).rowcount
        return count
    finally:
        database.close()
