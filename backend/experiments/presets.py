"""Presets: settings that users save under a name and start comparisons from."""

import time
from collections.abc import Callable, Sequence
from typing import Any

from sqlalchemy import Connection, Row, delete, func, insert, select, update

from backend.errors import Conflict, NotFound
from backend.schemas.api import PresetBody
from backend.schemas.experiments import StoredSpec
from backend.schemas.runs import Preset
from backend.storage.database import Database
from backend.storage.run_rows import moment
from backend.storage.tables import PRESETS

MAX_PRESETS = 200


class Presets:
    """Saved settings, shared by all users."""

    def __init__(self, database: Database, *, clock: Callable[[], float] = time.time) -> None:
        self._database = database
        self._clock = clock

    def list(self) -> Sequence[Preset]:
        """Return all presets, ordered by title."""
        with self._database.read() as connection:
            return [_preset(row) for row in connection.execute(select(PRESETS).order_by(PRESETS.c.title))]

    def get(self, slug: str) -> Preset:
        """Return one preset."""
        with self._database.read() as connection:
            return _find(connection, slug)

    def save(self, slug: str, body: PresetBody) -> Preset:
        """Save settings; replace the preset with this slug, if there is one.

        Raises:
            Conflict: the maximum number of presets is reached.
        """
        values = {"title": body.title, "spec": body.spec.model_dump_json(), "saved_at": self._clock()}
        with self._database.write(exclusive=True) as connection:
            if not connection.execute(update(PRESETS).where(PRESETS.c.slug == slug).values(values)).rowcount:
                if (connection.scalar(select(func.count()).select_from(PRESETS)) or 0) >= MAX_PRESETS:
                    raise Conflict(f"there are already {MAX_PRESETS} presets, the maximum: delete or replace one")
                connection.execute(insert(PRESETS).values(slug=slug, **values))
            return _find(connection, slug)

    def delete(self, slug: str) -> None:
        """Remove a preset."""
        with self._database.write() as connection:
            if not connection.execute(delete(PRESETS).where(PRESETS.c.slug == slug)).rowcount:
                raise NotFound(f"there is no preset {slug}")


def _find(connection: Connection, slug: str) -> Preset:
    row = connection.execute(select(PRESETS).where(PRESETS.c.slug == slug)).one_or_none()
    if row is None:
        raise NotFound(f"there is no preset {slug}")
    return _preset(row)


def _preset(row: Row[Any]) -> Preset:
    spec = StoredSpec.model_validate_json(row.spec)
    return Preset(slug=row.slug, title=row.title, spec=spec, saved_at=moment(row.saved_at))
