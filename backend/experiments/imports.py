"""Import of runs that other programs trained; they are marked as imported."""

import time
from collections import deque
from collections.abc import Callable
from itertools import islice
from typing import Any

from sqlalchemy import select, update

from backend.experiments.experiments import queue_runs
from backend.formats.history_csv import check_one_run, rows
from backend.metrics.writer import store_rows, summary_of
from backend.schemas.api import Import
from backend.schemas.runs import Run, RunStatus, Summary
from backend.storage.database import Database
from backend.storage.run_rows import get_run
from backend.storage.tables import RUNS

_NOTE = "imported from a file, not trained by BlockHF"
_BATCH_ROWS = 2_000


class Imports:
    """Imported runs."""

    def __init__(self, database: Database, *, clock: Callable[[], float] = time.time) -> None:
        self._database = database
        self._clock = clock

    def add(self, body: Import) -> Run:
        """Store a history as a finished run of a new experiment, completely or not at all.

        Raises:
            InvalidInput: with line and column.
        """
        check_one_run(body.spec, "spec.")
        # Rows are parsed twice: before the write lock, so that an invalid file takes no lock, and in batches to store.
        deque(rows(body.csv), maxlen=0)
        now = self._clock()
        values: dict[str, Any] = {
            "status": RunStatus.FINISHED, "started_at": now, "finished_at": now, "ended_by": "imported",
            "environment": '{"origin":"imported"}', "notes": f'["{_NOTE}"]',
        }  # fmt: skip
        summary = Summary()
        with self._database.write(exclusive=True) as connection:
            experiment = queue_runs(connection, body.spec, None, now)
            run = connection.execute(select(RUNS).where(RUNS.c.experiment == experiment)).one()
            found = rows(body.csv)
            while batch := list(islice(found, _BATCH_ROWS)):
                store_rows(connection, run.number, batch)
                summary = summary.model_copy(update=summary_of(summary, batch))
            values |= summary.model_dump()
            connection.execute(update(RUNS).where(RUNS.c.number == run.number).values(values))
            return get_run(connection, run.id)
