"""Histories of runs that were made elsewhere, whole or in pieces, stored beside ours and marked as imported."""

import time
from collections.abc import Callable, Sequence
from typing import Any

from sqlalchemy import Connection, select, update

from backend.errors import Conflict, FieldError, InvalidInput
from backend.experiments.experiments import queue_runs
from backend.formats.history_csv import check_one_run, parse
from backend.metrics.writer import store_rows, summary_of
from backend.schemas.api import Import, ImportPiece
from backend.schemas.runs import Run, RunStatus, Update
from backend.storage.database import Database
from backend.storage.run_rows import get_run, run_number
from backend.storage.tables import RUNS

_NOTE = "imported from a file: this was not trained here"
_WHOLE, _UNFINISHED = "imported", "import-unfinished"


class Imports:
    """Runs that no worker here has trained."""

    def __init__(self, database: Database, *, clock: Callable[[], float] = time.time) -> None:
        self._database = database
        self._clock = clock

    def add(self, body: Import) -> Run:
        """Store a history as a finished run of an experiment of its own; raises InvalidInput that names the line."""
        check_one_run(body.spec, "spec.")
        rows, now = parse(body.csv), self._clock()
        with self._database.write(alone=True) as connection:
            experiment = queue_runs(connection, body.spec, None, now)
            run = connection.execute(select(RUNS).where(RUNS.c.experiment == experiment)).one()
            values = {
                "status": RunStatus.FINISHED, "started_at": now, "environment": '{"origin":"imported"}',
                "notes": f'["{_NOTE}"]',
            }  # fmt: skip
            self._store(connection, run, rows, body.more, values)
            return get_run(connection, run.id)

    def extend(self, run_id: str, body: ImportPiece) -> Run:
        """Store the next piece of a history; rows that are stored already are skipped, so a repeat is fine.

        Raises Conflict where the run was not imported or is whole, InvalidInput where rows are left out before these.
        """
        rows = parse(body.csv, whole=False)
        with self._database.write() as connection:
            number = run_number(connection, run_id)
            run = connection.execute(select(RUNS).where(RUNS.c.number == number).with_for_update()).one()
            fresh = [row for row in rows if row.update > run.updates]
            if run.ended_by != _UNFINISHED and (run.ended_by != _WHOLE or fresh):
                raise Conflict(f"run {run_id} takes no further rows: it was not imported, or its last piece has come")
            if fresh and fresh[0].update > run.updates + 1:
                limit = f"rows are left out before it; {run.updates + 1} is next"
                raise InvalidInput([FieldError(f"csv.line{fresh[0].update + 1}.update", fresh[0].update, limit)])
            if run.ended_by == _UNFINISHED:
                self._store(connection, run, fresh, body.more, {})
            return get_run(connection, run_id)

    def _store(
        self, connection: Connection, run: Any, rows: Sequence[Update], more: bool, values: dict[str, Any]
    ) -> None:
        if rows:
            store_rows(connection, run.number, rows)
            values |= summary_of(run, rows)
        values |= {"ended_by": _UNFINISHED if more else _WHOLE, "finished_at": self._clock()}
        connection.execute(update(RUNS).where(RUNS.c.number == run.number).values(values))
