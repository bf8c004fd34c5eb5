"""Histories of runs that were made elsewhere: read from CSV, stored beside ours, and marked as imported."""

import csv
import io
import re
import time
from collections.abc import Callable
from typing import Any

from pydantic import ValidationError
from sqlalchemy import select, update

from backend.database import Database
from backend.errors import FieldError, InvalidInput, from_validation
from backend.experiments import queue_runs
from backend.metrics import store_rows, summary_of
from backend.runs import get_run
from backend.schemas import AXES, BLOCK_FIELDS, MEASURES, Import, Run, RunStatus, Update
from backend.tables import RUNS

_NOTE = "imported from a file: this was not trained here"
_BLOCK = re.compile(rf"block([0-9]{{1,3}})_({'|'.join(BLOCK_FIELDS)})")
_KNOWN = {"update", "diverged", *AXES, *MEASURES}


class Imports:
    """Runs that no worker here has trained."""

    def __init__(self, database: Database, *, clock: Callable[[], float] = time.time) -> None:
        self._database = database
        self._clock = clock

    def add(self, body: Import) -> Run:
        """Store a history as a finished run of an experiment of its own; raises InvalidInput that names the line."""
        rows, now = parse(body.csv), self._clock()
        with self._database.write(alone=True) as connection:
            experiment = queue_runs(connection, body.spec, None, now)
            run = connection.execute(select(RUNS).where(RUNS.c.experiment == experiment)).one()
            store_rows(connection, run.number, rows)
            values = summary_of(run, rows) | {
                "status": RunStatus.FINISHED, "ended_by": "imported", "started_at": now, "finished_at": now,
                "environment": '{"origin":"imported"}', "notes": f'["{_NOTE}"]',
            }  # fmt: skip
            connection.execute(update(RUNS).where(RUNS.c.number == run.number).values(values))
            return get_run(connection, run.id)


def parse(text: str) -> list[Update]:
    """Read the lines of a CSV file as an export writes it; only `update` and one measure are needed."""
    reader = csv.DictReader(io.StringIO(text), strict=True)
    names = _header(reader)
    rows: list[Update] = []
    try:
        for line in reader:
            if None in line or None in line.values():
                raise InvalidInput([FieldError(f"csv.line{len(rows) + 2}", None, f"must have {len(names)} values")])
            rows.append(_row(line, due=len(rows) + 1))
    except csv.Error as error:
        raise InvalidInput([FieldError(f"csv.line{len(rows) + 2}", None, f"not CSV: {error}")]) from None
    if not rows:
        raise InvalidInput([FieldError("csv", None, "has no rows")])
    return rows


def _header(reader: "csv.DictReader[str]") -> list[str]:
    try:
        names = list(reader.fieldnames or ())
    except csv.Error as error:
        raise InvalidInput([FieldError("csv", None, f"not CSV: {error}")]) from None
    unknown = [name for name in names if name not in _KNOWN and not _BLOCK.fullmatch(name)]
    if unknown or len(set(names)) < len(names):
        limit = f"each once, of update, diverged, {', '.join((*AXES, *MEASURES))}, block0_cg_iterations and the like"
        raise InvalidInput([FieldError("csv", (unknown or names)[0][:200], f"the columns must be, {limit}")])
    if "update" not in names or not set(MEASURES) & set(names):
        raise InvalidInput([FieldError("csv", None, f"needs the column update and one of {', '.join(MEASURES)}")])
    return names


def _row(line: dict[str, str], *, due: int) -> Update:
    given = {name: value for name, value in line.items() if value != ""}
    blocks: dict[int, dict[str, Any]] = {}
    for name in list(given):
        if match := _BLOCK.fullmatch(name):
            blocks.setdefault(int(match[1]), {"residual": None, "model_decrease": None})[match[2]] = given.pop(name)
    defaults = {name: 0 for name in AXES if Update.model_fields[name].is_required()} | dict.fromkeys(MEASURES)
    try:
        row = Update.model_validate(defaults | given | {"blocks": [blocks[b] for b in sorted(blocks)]})
    except ValidationError as error:
        raise from_validation(error, (f"csv.line{due + 1}",)) from None
    if row.update != due:
        limit = f"updates follow each other from 1 without gaps; {due} is next"
        raise InvalidInput([FieldError(f"csv.line{due + 1}.update", row.update, limit)])
    return row
