"""Tests of the doctor: it finds each kind of damage, repairs what it can, and changes nothing else."""

import sqlite3
from contextlib import closing

import pytest

from backend.api.services import Services
from backend.operations import doctor
from backend.operations.doctor import examine, repair
from backend.schemas.api import Announcement, Append, Claim
from backend.settings import Settings
from tests.backend.samples import INFO, catalog, spec, updates


@pytest.fixture
def claim(services: Services) -> Claim:
    """Claim a run that has five rows."""
    worker = services.workers.register(Announcement(info=INFO, catalog=catalog())).worker_id
    services.experiments.launch(spec())
    claim = services.queue.claim(worker)
    assert claim is not None
    services.metrics.append(claim.run.id, Append(claim_number=claim.claim_number, rows=updates(1, 5)))
    return claim


def damage(settings: Settings, *statements: str) -> None:
    """Change the tables as no program of ours would: without foreign keys."""
    with closing(sqlite3.connect(settings.home / "blockhf.sqlite3")) as connection:
        for statement in statements:
            connection.execute(statement)
        connection.commit()


@pytest.mark.usefixtures("claim")
def test_the_healthy_are_left_alone(settings: Settings) -> None:
    """A database that is whole gives no finding, while the backend has it open."""
    assert examine(settings) == []


DAMAGES = {
    "rows without a run": ("DELETE FROM runs", "5 rows of updates belong to no run"),
    "blocks without a row": ('DELETE FROM updates WHERE "update" = 5', "2 rows of blocks belong to no update"),
    "summary": ("UPDATE runs SET updates = 7 WHERE updates = 5", "has 5 rows, but its summary counts 7"),
}


@pytest.mark.usefixtures("claim")
@pytest.mark.parametrize(("statement", "words"), DAMAGES.values(), ids=DAMAGES)
def test_what_can_be_mended_is(settings: Settings, statement: str, words: str) -> None:
    """Orphans and wrong summaries are found and repaired."""
    damage(settings, statement)
    findings = examine(settings)
    assert any(words in finding.text for finding in findings)
    repair(settings, findings)
    assert examine(settings) == []


def test_missing_rows_are_found(settings: Settings, claim: Claim) -> None:
    """A gap in the rows of a run is reported and cannot be repaired."""
    damage(settings, *(f'DELETE FROM {table} WHERE "update" = 3' for table in ("blocks", "updates")))
    (finding,) = examine(settings)
    assert finding.text.startswith(f"run {claim.run.id} has 4 rows up to update 5")
    assert repair(settings, [finding]) == 1


@pytest.mark.usefixtures("claim")
def test_a_damaged_file_is_found(services: Services, settings: Settings) -> None:
    """Bytes that were overwritten are noticed."""
    services.close()
    path = settings.home / "blockhf.sqlite3"
    content = bytearray(path.read_bytes())
    content[4096 * 3 : 4096 * 6] = b"\x5a" * 4096 * 3
    path.write_bytes(content)
    assert any("damaged" in finding.text or "cannot be read" in finding.text for finding in examine(settings))


@pytest.mark.usefixtures("services")
def test_another_version_is_found(settings: Settings) -> None:
    """Tables of another version are not judged."""
    damage(settings, "UPDATE alembic_version SET version_num = 'older'")
    (finding,) = examine(settings)
    assert finding.text.startswith("the tables have version older")


@pytest.mark.usefixtures("services")
def test_a_full_disk_is_found(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    """Low disk space is reported."""
    monkeypatch.setattr(doctor, "MIN_FREE_BYTES", 10**18)
    (finding,) = examine(settings)
    assert "free on the disk" in finding.text


@pytest.mark.usefixtures("services")
@pytest.mark.parametrize(
    ("content", "mode", "words"), [("{", 0o600, "cannot read"), ('{"tokens":[]}', 0o644, "chmod 600")]
)
def test_tokens_are_looked_at(settings: Settings, content: str, mode: int, words: str) -> None:
    """A file of tokens that is broken, or open to others, is found."""
    path = settings.home / "tokens.json"
    path.write_text(content)
    path.chmod(mode)
    (finding,) = examine(settings)
    assert words in finding.text
