"""Tests of the engine, its transactions and the history of the tables."""

import sys
import threading
from pathlib import Path
from subprocess import run
from typing import Any

import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from sqlalchemy import Integer, String, insert, select, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.types import TypeEngine

from backend.api.services import Services
from backend.settings import Settings
from backend.storage.database import Database, Unusable, reserved
from backend.storage.tables import BLOCKS, EXPERIMENTS, METADATA, RUNS, UPDATES, WORKERS

OLD: dict[str, dict[str, object]] = {
    "experiments": {"number": 1, "id": "e", "name": "e", "spec": "{}", "created_at": 0},
    "runs": {
        "number": 7, "id": "r", "experiment": 1, "problem": "p", "data": "d", "config": "{}", "status": "running",
        "cancel_requested": 0, "token": 4, "attempts": 3, "stalled": 1, "furthest": 0, "created_at": 0, "ended_by": "",
        "environment": "{}", "blocks": "[]", "updates": 1, "epoch": 0, "seconds": 0, "cost": 0,
    },
    "updates": {
        "run": 7, "update": 1, "epoch": 0, "samples": 0, "seconds": 0, "cost": 0, "diverged": 0,
    },
    "blocks": {"run": 7, "update": 1, "block": 0, "cg_iterations": 5, "stop_reason": "iterations"},
}  # fmt: skip
ROW = {"info": "{}", "catalog": "{}", "registered_at": 0.0, "seen_at": 0.0}


def _differ(_: object, __: object, ___: object, found: TypeEngine[Any], wanted: TypeEngine[Any]) -> bool:
    """Tell whether two columns' types hold other values: the bounds of texts and integers are the schema's."""
    families: tuple[type[TypeEngine[Any]], ...] = (Integer, String)
    return found._type_affinity is not wanted._type_affinity and not any(
        isinstance(found, family) and isinstance(wanted, family) for family in families
    )


@pytest.mark.every_database
def test_migrations_make_the_tables_that_the_code_uses(services: Services) -> None:
    """The history of changes, applied from nothing, leaves no difference to the tables of the code."""
    with services.database.read() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": _differ})
        assert compare_metadata(context, METADATA) == []


def test_an_older_database_is_brought_up_to_date(tmp_path: Path) -> None:
    """A run of the first tables keeps its rows and counts as begun; its readers need not read anew."""
    url = f"sqlite:///{tmp_path / 'old.sqlite3'}"
    make_first_tables(url)
    database = Database(url)
    check_upgraded(database)
    with database.read() as connection:
        made = connection.exec_driver_sql("SELECT sql FROM sqlite_master WHERE name = 'runs'").scalar_one()
        assert made.count("CHECK") == 1
        assert "AUTOINCREMENT" in made
    database.close()


def make_first_tables(url: str) -> None:
    """Make a database as the first version did, with a run in it."""
    database = Database(url, migrate=False)
    config = Config()
    config.set_main_option("script_location", "backend.storage:migrations")
    with database.write() as connection:
        config.attributes["connection"] = connection
        command.upgrade(config, "0001")
        for table, row in OLD.items():
            names, values = ", ".join(f'"{name}"' for name in row), ", ".join(f"'{value}'" for value in row.values())
            connection.exec_driver_sql(f"INSERT INTO {table} ({names}) VALUES ({values})")
    database.close()


def check_upgraded(database: Database) -> None:
    """Check that the run of the first tables is what it was, and can be what runs can be now."""
    with database.write() as connection:
        assert connection.execute(select(UPDATES.c.run, UPDATES.c.update)).all() == [(7, 1)]
        assert connection.execute(select(UPDATES.c.cpu_seconds, UPDATES.c.scale)).all() == [(None, None)]
        assert connection.execute(select(RUNS.c.row_generation, RUNS.c.started_claim, RUNS.c.notes)).all() == [
            (3, 4, "[]")
        ]
        assert connection.execute(
            select(BLOCKS.c.cg_iterations, BLOCKS.c.product_method, BLOCKS.c.step_norm)
        ).all() == [(5, None, None)]
        kept = (EXPERIMENTS.c.note, EXPERIMENTS.c.tags, EXPERIMENTS.c.archived, EXPERIMENTS.c.deleted_at)
        assert connection.execute(select(*kept)).all() == [("", "[]", False, None)]
        connection.execute(update(RUNS).values(status="paused"))


def test_rows_of_a_run_lie_together(services: Services) -> None:
    """The key of the rows is the table itself, in the migrations as in the code."""
    with services.database.read() as connection:
        made = connection.exec_driver_sql("SELECT sql FROM sqlite_master WHERE name = 'updates'").scalar_one()
    assert "WITHOUT ROWID" in made


def test_every_connection_is_durable(services: Services) -> None:
    """WAL, synchronous FULL, foreign keys and a busy timeout hold on each connection of the pool."""
    pragmas = {"journal_mode": "wal", "synchronous": 2, "foreign_keys": 1, "busy_timeout": 30000}
    with services.database.read() as one, services.database.read() as two:
        for connection in (one, two):
            found = {name: connection.exec_driver_sql(f"PRAGMA {name}").scalar_one() for name in pragmas}
            assert found == pragmas


def test_a_database_is_opened_again(tmp_path: Path) -> None:
    """A folder is made where it is missing, and a second start finds what the first one left."""
    url = f"sqlite:///{tmp_path / 'new' / 'folder' / 'a%20b.sqlite3'}"
    for name in ("one", "two"):
        database = Database(url)
        with database.write() as connection:
            connection.execute(insert(WORKERS).values(id=name, **ROW))
        database.check()
        database.close()
    database = Database(url)
    with database.read() as connection:
        assert set(connection.scalars(select(WORKERS.c.id))) == {"one", "two"}
    database.close()


@pytest.mark.every_database
def test_an_exception_rolls_back(services: Services) -> None:
    """Nothing of a transaction stays when something in it raises."""

    def write() -> None:
        with services.database.write() as connection:
            connection.execute(insert(WORKERS).values(id="gone", **ROW))
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        write()
    with services.database.read() as connection:
        assert list(connection.scalars(select(WORKERS.c.id))) == []


@pytest.mark.every_database
def test_rows_need_their_run(services: Services) -> None:
    """A row of a run that does not exist is refused by the database itself."""
    row = dict.fromkeys((column.name for column in UPDATES.columns), 1)
    with pytest.raises(IntegrityError), services.database.write() as connection:
        connection.execute(insert(UPDATES).values(row))


@pytest.mark.every_database
def test_a_reader_keeps_its_view(services: Services) -> None:
    """What is written while someone reads does not change what they read."""
    with services.database.read() as reader:
        assert list(reader.scalars(select(WORKERS.c.id))) == []
        with services.database.write() as connection:
            connection.execute(insert(WORKERS).values(id="late", **ROW))
        assert list(reader.scalars(select(WORKERS.c.id))) == []


@pytest.mark.every_database
def test_writers_wait_for_each_other(services: Services) -> None:
    """Many threads that write at once all succeed."""

    def write(thread: int) -> None:
        for i in range(20):
            with services.database.write() as connection:
                connection.execute(insert(WORKERS).values(id=f"{thread}-{i}", **ROW))

    threads = [threading.Thread(target=write, args=(n,)) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    with services.database.read() as connection:
        assert len(list(connection.scalars(select(WORKERS.c.id)))) == 160


def test_a_file_is_for_one_backend(tmp_path: Path) -> None:
    """A second backend on the same SQLite file is refused in one line, until the first has ended."""
    settings = Settings(home=tmp_path / "home")
    with reserved(settings.url):
        ended = run(
            [sys.executable, "-m", "backend"], env={"BLOCKHF_HOME": str(settings.home)}, capture_output=True, text=True,
            check=False,
        )  # fmt: skip
        assert ended.returncode == 1
        assert ended.stderr.startswith(f"error: another backend uses {settings.home / 'blockhf.sqlite3'}")
        assert ended.stderr.count("\n") == 1
        with reserved(f"sqlite:///{tmp_path / 'other.sqlite3'}"), reserved("sqlite://"):
            pass
    with reserved(settings.url):
        pass


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("nonsense", "BLOCKHF_DATABASE_URL"),
        ("nosuch://here", "BLOCKHF_DATABASE_URL"),
        ("mysql://here/a", "must be SQLite or PostgreSQL, not mysql"),
    ],
)
def test_other_databases_are_refused(url: str, message: str) -> None:
    """What cannot be used is said before anything is opened."""
    with pytest.raises(Unusable, match=message), reserved(url):
        pass
