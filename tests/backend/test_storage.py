"""A database that is full: the answer says so, nothing is half stored, and a repeat stores all."""

from collections.abc import Iterator
from typing import Any

import pytest
from sqlalchemy import event
from sqlalchemy.pool import Pool

from backend.client import Client
from backend.errors import BackendUnavailable, StorageUnavailable
from backend.schemas import Claim
from tests.backend.samples import updates
from worker.reporting import persist


class Disk:
    """The room that SQLite has: where full, it takes no further page, and raises SQLITE_FULL by itself."""

    full = False

    def limit(self, connection: Any, *_: Any) -> None:
        """Set a connection's limit; called whenever one is taken from the pool."""
        (pages,) = connection.execute("PRAGMA page_count").fetchone()
        connection.execute(f"PRAGMA max_page_count = {pages if self.full else 2**30}")


@pytest.fixture
def disk() -> Iterator[Disk]:
    """Give every connection of this test a disk that can be full."""
    disk = Disk()
    event.listen(Pool, "checkout", disk.limit)
    yield disk
    event.remove(Pool, "checkout", disk.limit)


def test_nothing_is_lost_on_a_full_disk(client: Client, claim: Claim, disk: Disk) -> None:
    """Rows that do not fit are refused as a whole; the worker's way of sending stores them once there is room."""
    client.append(claim.run.id, claim.token, updates(1, 3))
    rows = updates(4, 900)
    disk.full = True
    with pytest.raises(StorageUnavailable, match="nothing was stored: database or disk is full"):
        client.append(claim.run.id, claim.token, rows)
    disk.full = False
    assert client.run(claim.run.id).summary.updates == 3
    assert client.series([claim.run.id])[claim.run.id]["update"] == [1, 2, 3]
    assert persist(lambda: client.append(claim.run.id, claim.token, rows)) == 900
    assert client.series([claim.run.id])[claim.run.id]["update"] == list(range(1, 901))


def test_a_worker_takes_it_for_an_absence() -> None:
    """So it spools and tries again, as when the backend is away."""
    assert issubclass(StorageUnavailable, BackendUnavailable)
