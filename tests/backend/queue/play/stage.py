"""A database for the plays, and its tables as plain text."""

from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, NamedTuple

from sqlalchemy import delete, event

from backend.api.services import Services
from backend.schemas.api import Announcement
from backend.settings import Settings
from backend.storage.tables import EXPERIMENTS
from tests.backend.queue.play.model import LEASE, MAX_CLAIMS, MAX_QUEUED
from tests.backend.samples import INFO, Clock, catalog


class Kept(NamedTuple):
    """A run as its row has it."""

    number: int
    id: str
    status: str
    cancel_requested: bool
    pause_requested: bool
    priority: int
    claim_number: int
    claims: int
    claims_without_progress: int
    best_update: int
    started_claim: int
    row_generation: int
    checkpoint: str | None
    weights: str | None
    worker: str | None
    ended_by: str
    lease_until: float | None
    updates: int
    seconds: float
    best_test_loss: float | None


_RUNS = f"SELECT {', '.join(Kept._fields)} FROM runs"
_UPDATES = 'SELECT run, "update", samples FROM updates ORDER BY 1, 2'
_BLOCKS = 'SELECT run, "update", block, cg_iterations FROM blocks ORDER BY 1, 2, 3'


@dataclass
class Stage:
    """A database that the plays of the machine share, each beginning without runs.

    Opening one takes a hundred times longer than emptying it, and nobody cuts the power here: what is written need not
    reach the disk.
    """

    services: Services
    clock: Clock
    workers: list[str]

    def clear(self) -> None:
        """Remove every run."""
        with self.services.database.write() as connection:
            connection.execute(delete(EXPERIMENTS))

    def tables(self) -> tuple[dict[str, Kept], dict[int, list[Any]], dict[int, list[Any]]]:
        """Read runs by id, updates and blocks by run; as plain text, since this is done after every step."""
        rows: dict[int, list[Any]] = defaultdict(list)
        blocks: dict[int, list[Any]] = defaultdict(list)
        with self.services.database.read() as connection:
            runs = [Kept(*values) for values in connection.exec_driver_sql(_RUNS)]
            for run, *values in connection.exec_driver_sql(_UPDATES):
                rows[run].append(tuple(values))
            for run, *values in connection.exec_driver_sql(_BLOCKS):
                blocks[run].append(tuple(values))
        return {run.id: run for run in runs}, rows, blocks


@contextmanager
def stage(chosen: Settings) -> Iterator[Stage]:
    """Open a database for the machine."""
    clock = Clock()
    bounds = {"lease_seconds": LEASE, "max_claims_without_progress": MAX_CLAIMS, "max_queued": MAX_QUEUED}
    services = Services(chosen.model_copy(update=bounds), clock=clock)
    if services.database.sqlite:
        services.database.engine.dispose()
        event.listen(
            services.database.engine, "connect", lambda connection, _: connection.execute("PRAGMA synchronous=OFF")
        )
    announced = Announcement(info=INFO, catalog=catalog())
    yield Stage(services, clock, [services.workers.register(announced).worker_id for _ in range(2)])
    services.close()
