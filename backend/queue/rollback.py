"""Rolling a run back to an earlier update: later rows are deleted, and the summary is computed again."""

from typing import Any

import orjson
from sqlalchemy import Connection, delete, func, null, select, update

from backend.schemas.measures import COMPARED
from backend.schemas.runs import Summary
from backend.storage.tables import BLOCKS, RUNS, UPDATES

_MAX_NOTES = 50
_EMPTY: dict[str, Any] = {name: field.default for name, field in Summary.model_fields.items()}
_BETTER: dict[str, Any] = {"lower": func.min, "higher": func.max}


def roll_back(connection: Connection, number: int, to: int) -> None:
    """Delete a run's rows after the update `to`. The row generation grows: readers must then read all rows again."""
    for table in (BLOCKS, UPDATES):
        connection.execute(delete(table).where(table.c.run == number, table.c.update > to))
    values = _EMPTY | (_summary(connection, number, to) if to else {})
    connection.execute(
        update(RUNS).where(RUNS.c.number == number).values(row_generation=RUNS.c.row_generation + 1, **values)
    )


def restart_from_zero(connection: Connection, number: int) -> None:
    """Roll a run without a checkpoint back to its beginning; add a note if that deletes rows."""
    run = connection.execute(select(RUNS.c.updates, RUNS.c.notes).where(RUNS.c.number == number)).one()
    roll_back(connection, number, 0)
    notes = run.notes
    if run.updates:
        notes = with_note(notes, f"restarted from the beginning: there was no checkpoint of its {run.updates} updates")
    values = {"environment": "{}", "parameters": null(), "notes": notes}
    connection.execute(update(RUNS).where(RUNS.c.number == number).values(values))


def with_note(notes: str, note: str) -> str:
    """Append a note to a run's notes (JSON text); the oldest are dropped."""
    return orjson.dumps([*orjson.loads(notes), note][-_MAX_NOTES:]).decode()


def _summary(connection: Connection, number: int, to: int) -> dict[str, Any]:
    """Compute the summary from the rows; `to` is the last one."""
    axes = (UPDATES.c.epoch, UPDATES.c.seconds, UPDATES.c.cost)
    last = connection.execute(select(*axes).where(UPDATES.c.run == number, UPDATES.c.update == to)).one()
    values = {"updates": to, **last._mapping}
    for name, better in COMPARED.items():
        column = UPDATES.c[name]
        measured = select(column).where(UPDATES.c.run == number, column.is_not(None))
        values[f"last_{name}"] = connection.scalar(measured.order_by(UPDATES.c.update.desc()).limit(1))
        values[f"best_{name}"] = connection.scalar(select(_BETTER[better](column)).where(UPDATES.c.run == number))
    return values
