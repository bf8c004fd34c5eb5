"""Taking a run back to an earlier update: its later rows go, and its summary is what it was then."""

from typing import Any

import orjson
from sqlalchemy import Connection, delete, func, null, select, update

from backend.schemas.measures import COMPARED
from backend.schemas.runs import Summary
from backend.storage.tables import BLOCKS, RUNS, UPDATES

_MOST_NOTES = 50
_FRESH: dict[str, Any] = {name: field.default for name, field in Summary.model_fields.items()}
_BETTER: dict[str, Any] = {"lower": func.min, "higher": func.max}


def rewind(connection: Connection, number: int, to: int) -> None:
    """Drop a run's rows above the update `to`, and let readers know that what they hold may be gone."""
    for table in (BLOCKS, UPDATES):
        connection.execute(delete(table).where(table.c.run == number, table.c.update > to))
    values = _FRESH | (_summary(connection, number, to) if to else {})
    connection.execute(update(RUNS).where(RUNS.c.number == number).values(edition=RUNS.c.edition + 1, **values))


def begin_again(connection: Connection, number: int) -> None:
    """Take a run back to its beginning, as there is no checkpoint of it; where that costs rows, note it."""
    lost = connection.execute(select(RUNS.c.updates, RUNS.c.notes).where(RUNS.c.number == number)).one()
    rewind(connection, number, 0)
    notes = lost.notes
    if lost.updates:
        notes = with_note(notes, f"began again: no checkpoint of its {lost.updates} updates had been kept")
    values = {"environment": "{}", "parameters": null(), "notes": notes}
    connection.execute(update(RUNS).where(RUNS.c.number == number).values(values))


def with_note(notes: str, note: str) -> str:
    """Add a note to a run's, as they are stored; the oldest go."""
    return orjson.dumps([*orjson.loads(notes), note][-_MOST_NOTES:]).decode()


def _summary(connection: Connection, number: int, to: int) -> dict[str, Any]:
    """Compute the summary from the rows, of which the last is `to`."""
    axes = (UPDATES.c.epoch, UPDATES.c.seconds, UPDATES.c.cost)
    last = connection.execute(select(*axes).where(UPDATES.c.run == number, UPDATES.c.update == to)).one()
    values = {"updates": to, **last._mapping}
    for name, better in COMPARED.items():
        column = UPDATES.c[name]
        measured = select(column).where(UPDATES.c.run == number, column.is_not(None))
        values[f"last_{name}"] = connection.scalar(measured.order_by(UPDATES.c.update.desc()).limit(1))
        values[f"best_{name}"] = connection.scalar(select(_BETTER[better](column)).where(UPDATES.c.run == number))
    return values
