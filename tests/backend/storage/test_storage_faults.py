"""Faults of storage: a database that is full, each write that fails, a log cut anywhere; nothing is lost or half kept.

`python -m tests.benchmarks.storage` does the same at length.
"""

import errno
import os
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from random import Random
from typing import Any

import pytest
from sqlalchemy import event
from sqlalchemy.pool import Pool

from backend.errors import BackendUnavailable, StorageUnavailable
from backend.schemas.api import Claim
from backend.settings import Settings
from tests.backend.samples import updates
from tests.clients import BothClient
from tests.disks import failing, replaceable
from tests.inprocess import backend
from tests.storage import Scenario, break_every_write, cut, record, sound
from worker.delivery.reporter import retry_until_reachable

pytestmark = pytest.mark.slow
CUTS = 1000 if "BLOCKHF_LONG" in os.environ else 20
FAULTS: dict[str, dict[str, Any]] = {
    "an error": {},
    "a full disk": {"error": errno.ENOSPC, "count": 10**9},
    "a torn write": {"error": errno.ENOSPC, "torn": True},
}


class Room:
    """A limit on the size of the database: SQLite raises SQLITE_FULL when it is reached."""

    full = False

    def limit(self, connection: Any, *_: Any) -> None:
        """Set a connection's limit; called whenever one is taken from the pool."""
        (pages,) = connection.execute("PRAGMA page_count").fetchone()
        connection.execute(f"PRAGMA max_page_count = {pages if self.full else 2**30}")


@pytest.fixture
def disk() -> Iterator[Room]:
    """Give every connection of this test a disk that can be full."""
    disk = Room()
    event.listen(Pool, "checkout", disk.limit)
    yield disk
    event.remove(Pool, "checkout", disk.limit)


def test_a_locked_database_is_said(
    client: BothClient, claim: Claim, settings: Settings, disk: Room, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where another process keeps the database to itself, a write is refused as a whole; later it goes through."""
    monkeypatch.setattr(disk, "limit", lambda connection, *_: connection.execute("PRAGMA busy_timeout = 50"))
    with closing(sqlite3.connect(settings.home / "blockhf.sqlite3", isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(StorageUnavailable, match="nothing was stored: database is locked"):
            client.append(claim.run.id, claim.claim_number, updates(1, 3))
        assert client.run(claim.run.id).summary.updates == 0, "reading goes on"
    assert client.append(claim.run.id, claim.claim_number, updates(1, 3)) == 3


def test_nothing_is_lost_on_a_full_disk(client: BothClient, claim: Claim, disk: Room) -> None:
    """Rows that do not fit are refused completely; the worker's retries store them once there is space."""
    client.append(claim.run.id, claim.claim_number, updates(1, 3))
    rows = updates(4, 900)
    disk.full = True
    with pytest.raises(StorageUnavailable, match="nothing was stored: database or disk is full"):
        client.append(claim.run.id, claim.claim_number, rows)
    disk.full = False
    assert client.run(claim.run.id).summary.updates == 3
    assert client.series([claim.run.id])[claim.run.id]["update"] == [1, 2, 3]
    assert retry_until_reachable(lambda: client.append(claim.run.id, claim.claim_number, rows)) == 900
    assert client.series([claim.run.id])[claim.run.id]["update"] == list(range(1, 901))


def test_a_worker_takes_it_for_an_absence() -> None:
    """The worker stores rows and retries, as if the backend were unreachable."""
    assert issubclass(StorageUnavailable, BackendUnavailable)


@pytest.mark.skipif(
    not replaceable(), reason="no shared SQLite library, or a probe's write did not reach the replaced calls"
)
@pytest.mark.parametrize("how", FAULTS.values(), ids=FAULTS)
def test_each_write_may_fail(tmp_path: Path, how: dict[str, Any]) -> None:
    """Whichever write of SQLite's fails: a clear error, the database as before, whole after a loss of power; a repeat
    of the request goes through."""
    home, scratch = tmp_path / "home", tmp_path / "scratch"
    scratch.mkdir()
    with failing() as disk, backend(Settings(home=home)) as http:
        scenario = Scenario(BothClient(http=http), writes=48)
        outcome = break_every_write(home, scenario, disk, scratch, **how)
        assert scenario.run
        stored = BothClient(http=http).series([scenario.run.run.id])[scenario.run.run.id]
    assert outcome.faults == []
    assert (outcome.steps, stored["status"]) == (48, "finished")
    assert stored["update"] == list(range(1, scenario.rows + 1))
    assert outcome.failed > 200
    assert sound(home)


@pytest.mark.random
def test_a_log_cut_anywhere_holds_what_was_acknowledged(tmp_path: Path) -> None:
    """If the log is truncated or ends in zeros or noise, exactly the complete writes remain, and work continues."""
    logged = record(tmp_path / "home")
    random = Random(0)
    places = [random.randint(0, len(logged.log)) for _ in range(CUTS)] + logged.ends[1:8]
    for place in places:
        junk = random.choice([b"", bytes(9000), random.randbytes(9000)])
        assert cut(logged, place, tmp_path / "cut", junk=junk) == []
