"""Tests of the operator's commands."""

from pathlib import Path

import pytest
from sqlalchemy import insert
from typer.testing import CliRunner, Result

from backend.commands import app
from backend.settings import Settings
from backend.store import Store
from backend.tables import EXPERIMENTS, RUNS
from backend.tokens import Scope, Tokens


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the commands find the test's folder."""
    monkeypatch.setenv("BLOCKHF_HOME", str(tmp_path))


def run(*arguments: str) -> Result:
    """Run the command line within this process."""
    return CliRunner().invoke(app, arguments)


def test_tokens_are_made_listed_and_deleted(settings: Settings) -> None:
    """A token is printed once; the list shows its name and scopes."""
    secret = run("token", "create", "grafana", "--scope", "read", "--scope", "launch").stdout.strip()
    assert Tokens(settings).scopes(secret) == frozenset({Scope.READ, Scope.LAUNCH})
    listed = run("token", "list").stdout
    assert listed == "grafana launch,read\n"
    assert run("token", "delete", "grafana").exit_code == 0
    assert Tokens(settings).scopes(secret) is None
    assert run("token", "create", "nobody").exit_code == 2


@pytest.mark.usefixtures("store")
def test_the_doctor_speaks() -> None:
    """All is well says the doctor, and the exit code is 0."""
    done = run("doctor")
    assert (done.exit_code, done.stdout) == (0, "all is well\n")


def test_the_doctor_repairs(store: Store) -> None:
    """What is wrong is exit code 1 until it is repaired."""
    with store.database.write() as connection:
        connection.execute(insert(EXPERIMENTS).values(number=1, id="someexperiment", name="n", spec="{}", created_at=0))
        values = {"id": "somerun00", "experiment": 1, "problem": "p", "data": "d", "config": "{}", "created_at": 0}
        connection.execute(insert(RUNS).values(values | {"status": "queued", "updates": 3}))
    done = run("doctor")
    assert done.exit_code == 1
    assert done.stdout == "run somerun00 has 0 rows, its summary says 3 (--repair mends it)\n"
    assert run("doctor", "--repair").exit_code == 0
    assert run("doctor").exit_code == 0


@pytest.mark.usefixtures("store")
def test_a_backup_is_made(tmp_path: Path) -> None:
    """The command says what it wrote."""
    target = tmp_path / "copy.sqlite3"
    done = run("backup", str(target))
    assert done.exit_code == 0
    assert done.stdout == f"{target}: {target.stat().st_size:,} bytes\n"
