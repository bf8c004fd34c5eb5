"""Tests of the backup: whole, of one moment, and never in the way of the backend."""

import threading
from pathlib import Path

import pytest
from sqlalchemy import func, select

from backend.api.services import Services
from backend.errors import InvalidInput
from backend.operations.backup import BackupFailed, backup
from backend.operations.doctor import examine
from backend.schemas.api import Announcement, Append
from backend.schemas.optimizers import Adam
from backend.settings import Settings
from backend.storage.tables import RUNS, UPDATES
from tests.backend.samples import INFO, catalog, spec, updates

BATCHES = 40


def test_a_copy_under_writes_is_of_one_moment(services: Services, settings: Settings, tmp_path: Path) -> None:
    """While rows pour in, each copy holds a prefix of them, agrees with the runs' summaries and passes the doctor."""
    worker = services.workers.register(Announcement(info=INFO, catalog=catalog())).worker_id
    services.experiments.launch(spec(optimizers=[Adam(gradient_batch=10)]))
    claim = services.queue.claim(worker)
    assert claim is not None

    def write() -> None:
        for n in range(BATCHES):
            services.metrics.append(
                claim.run.id, Append(claim_number=claim.claim_number, rows=updates(n * 50 + 1, n * 50 + 50))
            )

    writer = threading.Thread(target=write)
    writer.start()
    counts = []
    for n in range(4):
        target = tmp_path / f"copy{n}" / "blockhf.sqlite3"
        target.parent.mkdir()
        assert backup(settings, target) == target.stat().st_size
        assert [path.name for path in target.parent.iterdir()] == ["blockhf.sqlite3"]
        counts.append(restored(settings.model_copy(update={"home": target.parent})))
    writer.join()
    assert counts == sorted(counts)
    assert restored(settings) == BATCHES * 50


def restored(settings: Settings) -> int:
    """Open a database as a backend does; return its number of rows, which the summary must match."""
    assert examine(settings) == []
    opened = Services(settings)
    try:
        with opened.database.read() as connection:
            rows = connection.scalar(select(func.count()).select_from(UPDATES))
            assert connection.scalar(select(RUNS.c.updates)) == rows
            return int(rows or 0)
    finally:
        opened.close()


def test_a_failed_copy_leaves_the_old_one(services: Services, settings: Settings, tmp_path: Path) -> None:
    """A source that is damaged makes no copy, and the one of yesterday stays."""
    target = tmp_path / "copy.sqlite3"
    backup(settings, target)
    before = target.read_bytes()
    services.close()
    path = settings.home / "blockhf.sqlite3"
    content = bytearray(path.read_bytes())
    content[4096 * 2 :] = b"\x5a" * (len(content) - 4096 * 2)
    path.write_bytes(content)
    with pytest.raises(BackupFailed):
        backup(settings, target)
    assert target.read_bytes() == before
    assert not list(tmp_path.glob(".copy*"))


def test_a_database_without_tables_makes_no_copy(services: Services, settings: Settings, tmp_path: Path) -> None:
    """An empty file in the place of the database does not replace a good copy."""
    target = tmp_path / "copy.sqlite3"
    backup(settings, target)
    before = target.read_bytes()
    services.close()
    for path in settings.home.glob("blockhf.sqlite3*"):
        path.unlink()
    (settings.home / "blockhf.sqlite3").touch()
    with pytest.raises(BackupFailed, match="has no tables"):
        backup(settings, target)
    assert target.read_bytes() == before
    assert not list(tmp_path.glob(".copy*"))


@pytest.mark.parametrize("ending", ["", "-wal", "-shm", "-journal", ".lock"])
@pytest.mark.parametrize("way", ["plain", "relative", "roundabout", "symlink", "hardlink", "linked folder"])
def test_the_database_is_no_target(
    services: Services, settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, ending: str, way: str
) -> None:
    """A copy onto the live file, or onto one beside it, is refused by whatever name; all stay as they are."""
    services.experiments.list()
    live = settings.home / f"blockhf.sqlite3{ending}"
    live.touch()
    monkeypatch.chdir(settings.home)
    (tmp_path / "elsewhere").mkdir()
    target = tmp_path / "elsewhere" / "link"
    match way:
        case "plain":
            target = live
        case "relative":
            target = Path(live.name)
        case "roundabout":
            target = Path("elsewhere/..") / live.name
        case "symlink":
            target.symlink_to(live)
        case "hardlink":
            target.hardlink_to(live)
        case _:
            target.symlink_to(tmp_path)
            target = target / live.name
    before = live.stat().st_ino, live.read_bytes()
    with pytest.raises(InvalidInput, match=f"^target is '{target}': must be another file: .*{live.name} belongs to"):
        backup(settings, target)
    assert (live.stat().st_ino, live.read_bytes()) == before


@pytest.mark.usefixtures("services")
def test_a_folder_is_no_target(settings: Settings, tmp_path: Path) -> None:
    """A copy needs a file's name; the folder stays as it was."""
    for target in (Path(), Path("/"), tmp_path):
        with pytest.raises(InvalidInput, match=f"^target is '{target}': must be"):
            backup(settings, target)
    assert not list(tmp_path.glob(".*"))


def test_a_linked_database_is_no_target_either(services: Services, settings: Settings, tmp_path: Path) -> None:
    """Where BLOCKHF_DATABASE_URL names a link, the file behind it is refused too."""
    assert services.experiments.list() == []
    link = tmp_path / "link.sqlite3"
    link.symlink_to(settings.home / "blockhf.sqlite3")
    linked = settings.model_copy(update={"database_url": f"sqlite:///{link}"})
    for target in (link, settings.home / "blockhf.sqlite3", settings.home / "blockhf.sqlite3-wal"):
        with pytest.raises(InvalidInput, match="must be another file"):
            backup(linked, target)
    assert backup(linked, tmp_path / "copy") > 0


@pytest.mark.parametrize(
    ("url", "words"), [("", "no database at"), ("postgresql://u:secret@h/d", "pg_dump"), ("sqlite://", "only SQLite")]
)
def test_what_cannot_be_copied_is_said(tmp_path: Path, url: str, words: str) -> None:
    """No database, or one that is not a file, is an error without a password in it."""
    with pytest.raises(BackupFailed, match=words) as caught:
        backup(Settings(home=tmp_path, database_url=url), tmp_path / "copy")
    assert "secret" not in str(caught.value)
    assert list(tmp_path.iterdir()) == []
