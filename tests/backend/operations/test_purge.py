"""Tests of the purge: what was deleted long ago goes with its rows, and nothing else does."""

import os
import signal
import subprocess
import sys
import threading
import time
from itertools import pairwise
from pathlib import Path

import pytest
from sqlalchemy import func, insert, select

from backend.api.services import Services
from backend.errors import Conflict
from backend.operations import purge as purge_module
from backend.operations.doctor import examine
from backend.operations.purge import purge
from backend.schemas.api import Announcement, Append, Claim, Finish
from backend.schemas.runs import RunStatus
from backend.settings import Settings
from backend.storage.database import Unusable
from backend.storage.tables import BLOCKS, RUNS, UPDATES
from tests.backend.samples import INFO, Clock, catalog, spec, updates
from tests.backend.scene import Scene

DAY = 86_400


@pytest.fixture
def ended(scene: Scene) -> list[Claim]:
    """Delete a comparison whose two runs have 40 rows each, of three with their blocks, and a folder with weights."""
    claims = [scene.claim() for _ in range(2)]
    for claim in claims:
        scene.append(claim, 40)
        scene.services.queue.finish(claim.run.id, Finish(claim_number=claim.claim_number, status=RunStatus.FINISHED))
        folder = scene.settings.home / "checkpoints" / claim.run.id
        folder.mkdir(parents=True)
        (folder / "weights.safetensors").write_bytes(b"weights")
    scene.services.experiments.delete(scene.experiment.id)
    return claims


def count(services: Services) -> list[tuple[int, int]]:
    """Count each run's rows, and of how many its summary speaks."""
    rows = select(func.count()).where(UPDATES.c.run == RUNS.c.number).scalar_subquery()
    with services.database.read() as connection:
        return [(row[0], row[1]) for row in connection.execute(select(rows, RUNS.c.updates).order_by(RUNS.c.number))]


@pytest.mark.every_database
def test_a_purge_goes_in_portions(
    scene: Scene, settings: Settings, ended: list[Claim], clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between portions nothing looks damaged, the comparison stays deleted, and what is left cannot be had back."""
    monkeypatch.setattr(purge_module, "BATCH_ROWS", 45)
    seen: list[list[tuple[int, int]]] = []

    def look(_seconds: float) -> None:
        seen.append(count(scene.services))
        assert [finding.text for finding in examine(settings) if not finding.note] == []
        (one,) = scene.services.experiments.list(deleted=True)
        assert one.deleted_at is not None
        with pytest.raises(Conflict, match="being purged"):
            scene.services.experiments.restore(one.id)
        with pytest.raises(Conflict, match="deleted"):
            scene.services.queue.retry(ended[0].run.id)

    monkeypatch.setattr(time, "sleep", look)
    assert purge(settings, 0, clock=clock) == 1
    assert seen[0] == [(25, 25), (40, 40)]
    totals = [80, *(sum(rows for rows, _ in runs) for runs in seen)]
    assert all(0 <= before - after <= 15 for before, after in pairwise(totals))
    assert totals[-1] == 0
    assert all(rows == told for runs in seen for rows, told in runs)
    assert scene.services.experiments.list(deleted=True) == []
    assert list((settings.home / "checkpoints").iterdir()) == []
    assert examine(settings) == []


class _Killed(Exception):
    """Stands for the end of the process."""


@pytest.mark.usefixtures("ended")
@pytest.mark.parametrize("after", [1, 2, 4])
def test_a_purge_that_was_broken_off_goes_on(
    scene: Scene, settings: Settings, clock: Clock, monkeypatch: pytest.MonkeyPatch, after: int
) -> None:
    """The next purge removes the rest, whatever its limit of days; until then a warning is shown."""
    monkeypatch.setattr(purge_module, "BATCH_ROWS", 45)
    left = [after]

    def die(_seconds: float) -> None:
        left[0] -= 1
        if not left[0]:
            raise _Killed

    monkeypatch.setattr(time, "sleep", die)
    with pytest.raises(_Killed):
        purge(settings, 0, clock=clock)
    (finding,) = examine(settings)
    assert finding.note
    assert "`blockhf purge`" in finding.text
    with pytest.raises(Conflict, match="being purged"):
        scene.services.experiments.restore(scene.experiment.id)
    assert purge(settings, 1000, clock=clock) == 1
    assert count(scene.services) == []
    assert examine(settings) == []


def test_a_purge_survives_a_kill(scene: Scene, settings: Settings, ended: list[Claim]) -> None:
    """Killed by the system between portions, it leaves a database without damage; the next one ends its work."""
    assert ended
    code = (
        "import sys; from pathlib import Path; from backend.operations import purge;"
        "from backend.settings import Settings;"
        "purge.BATCH_ROWS, purge.PAUSE_SECONDS = 6, 60;"
        "purge.purge(Settings(home=Path(sys.argv[1])), 0)"
    )
    process = subprocess.Popen([sys.executable, "-c", code, str(settings.home)])
    deadline = time.monotonic() + 60
    while sum(rows for rows, _ in count(scene.services)) == 80 and time.monotonic() < deadline:
        time.sleep(0.05)
    os.kill(process.pid, signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL
    assert count(scene.services) == [(38, 38), (40, 40)]
    assert [finding.note for finding in examine(settings)] == [True]
    assert purge(settings, 1000) == 1
    assert count(scene.services) == []
    assert list((settings.home / "checkpoints").iterdir()) == []
    assert examine(settings) == []


@pytest.mark.usefixtures("ended")
def test_others_write_between_portions(
    scene: Scene, settings: Settings, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A writer in another process that retries SQLite's lock gets it before the purge ends."""
    monkeypatch.setattr(purge_module, "BATCH_ROWS", 6)  # 40 portions
    monkeypatch.setattr(purge_module, "PAUSE_SECONDS", 0.02)
    writes: list[float] = []
    over = threading.Event()

    def write() -> None:
        other = Services(settings)
        while not over.is_set():
            other.workers.register(Announcement(info=INFO, catalog=catalog()))
            writes.append(time.monotonic())
            time.sleep(0.01)
        other.close()

    thread = threading.Thread(target=write)
    thread.start()
    while not writes:
        time.sleep(0.01)
    begun = time.monotonic()
    assert purge(settings, 0, clock=clock) == 1
    ended = time.monotonic()
    over.set()
    thread.join()
    assert sum(begun < moment < ended for moment in writes) >= 5
    assert count(scene.services) == []


def test_only_a_database_of_this_version_is_purged(services: Services, settings: Settings, tmp_path: Path) -> None:
    """Where there is none, or one of an older program, that is said, and nothing is created."""
    with pytest.raises(Unusable):
        purge(settings.model_copy(update={"home": tmp_path / "none"}), 0)
    assert not (tmp_path / "none").exists()
    with services.database.write() as connection:
        connection.exec_driver_sql("UPDATE alembic_version SET version_num = '0006'")
    with pytest.raises(Unusable, match="version 0006"):
        purge(settings, 0)


def test_rows_without_blocks_and_runs_without_rows_are_purged(
    scene: Scene, settings: Settings, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A portion counts what there is: rows of an optimizer without blocks, none of a run that never started."""
    monkeypatch.setattr(purge_module, "BATCH_ROWS", 4)
    monkeypatch.setattr(purge_module, "PAUSE_SECONDS", 0)
    with scene.services.database.write() as connection:
        numbers = connection.scalars(select(RUNS.c.number).order_by(RUNS.c.number)).all()
        rows = [{"run": numbers[1], "update": n, **dict.fromkeys(_REQUIRED, 0)} for n in range(1, 10)]
        connection.execute(insert(UPDATES), rows)
        connection.execute(RUNS.update().where(RUNS.c.number == numbers[1]).values(updates=9))
    scene.services.experiments.delete(scene.experiment.id)
    assert purge(settings, 0, clock=clock) == 1
    assert count(scene.services) == []
    assert examine(settings) == []


_REQUIRED = ("epoch", "samples", "seconds", "cost", "diverged")


def test_only_what_was_deleted_long_ago_is_removed(services: Services, settings: Settings, clock: Clock) -> None:
    """Experiments that are not deleted, deleted recently or still running stay; the purged one loses its rows."""
    worker = services.workers.register(Announcement(info=INFO, catalog=catalog())).worker_id
    old, held, late, kept = (services.experiments.launch(spec(name=name)) for name in ("old", "held", "late", "kept"))
    for _ in range(3):
        claim = services.queue.claim(worker)
        assert claim is not None
        services.metrics.append(claim.run.id, Append(claim_number=claim.claim_number, rows=updates(1, 4)))
        if claim.run.experiment_id == old.id:
            services.queue.finish(claim.run.id, Finish(claim_number=claim.claim_number, status=RunStatus.FINISHED))
    for one in (old, held):
        services.experiments.delete(one.id)
    clock.now += 30 * DAY
    services.experiments.delete(late.id)
    assert purge(settings, 31, clock=clock) == 0
    assert purge(settings, 30, clock=clock) == 1
    left = services.experiments.list(archived=True, deleted=True)
    assert [one.id for one in left] == [kept.id, late.id, held.id]
    with services.database.read() as connection:
        assert connection.scalar(select(func.count()).select_from(UPDATES)) == 4
        assert connection.scalar(select(func.count()).select_from(BLOCKS)) == 8
    assert examine(settings) == []
