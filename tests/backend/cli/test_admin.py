"""Tests of the operator's commands."""

from collections.abc import Callable
from pathlib import Path

import pytest
from pydantic import ValidationError
from sqlalchemy import insert
from typer.testing import CliRunner, Result

from backend.api.services import Services
from backend.cli.app import app
from backend.cli.main import main
from backend.schemas.api import Scope
from backend.schemas.optimizers import Adam
from backend.security.tokens import Tokens
from backend.settings import Settings
from backend.storage.tables import EXPERIMENTS, RUNS
from tests.backend.scene import Scene


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


@pytest.mark.usefixtures("services")
def test_the_doctor_speaks() -> None:
    """On a healthy database the exit code is 0."""
    done = run("doctor")
    assert (done.exit_code, done.stdout) == (0, "no problems found\n")


def test_the_doctor_repairs(services: Services) -> None:
    """What is wrong is exit code 1 until it is repaired."""
    with services.database.write() as connection:
        connection.execute(insert(EXPERIMENTS).values(number=1, id="someexperiment", name="n", spec="{}", created_at=0))
        values = {"id": "somerun00", "experiment": 1, "problem": "p", "data": "d", "config": "{}", "created_at": 0}
        connection.execute(insert(RUNS).values(values | {"status": "queued", "updates": 3}))
    done = run("doctor")
    assert done.exit_code == 1
    assert done.stdout.startswith("run somerun00 has 0 rows")
    assert done.stdout.endswith("(can be fixed with --repair)\n")
    assert run("doctor", "--repair").exit_code == 0
    assert run("doctor").exit_code == 0


@pytest.mark.usefixtures("services")
def test_a_backup_is_made(tmp_path: Path) -> None:
    """The command prints the file that it wrote."""
    target = tmp_path / "copy.sqlite3"
    done = run("backup", str(target))
    assert done.exit_code == 0
    assert done.stdout == f"{target}: {target.stat().st_size:,} bytes\n"


WRONG = {
    "token create": (["token", "create", "bad name", "--scope", "read"], {}, "name is 'bad name': String should match"),
    "no backup": (["backup", "copy"], {}, "there is no database at "),
    "no purge": (["purge", "-y"], {}, "there is no database at "),
    "port": (["runs"], {"BLOCKHF_PORT": "abc"}, "BLOCKHF_PORT is 'abc': Input should be a valid integer"),
    "port of a doctor": (["doctor"], {"BLOCKHF_PORT": "abc"}, "BLOCKHF_PORT is 'abc': Input should be a valid"),
    "lease": (["token", "list"], {"BLOCKHF_LEASE_SECONDS": "1"}, "BLOCKHF_LEASE_SECONDS is '1': must be at least 6"),
    "url": (["purge", "-y"], {"BLOCKHF_DATABASE_URL": "nonsense"}, "BLOCKHF_DATABASE_URL is not"),
    "kind of url": (["backup", "copy"], {"BLOCKHF_DATABASE_URL": "mysql://h/d"}, "BLOCKHF_DATABASE_URL "),
    "home": (["token", "create", "a", "--scope", "read"], {"BLOCKHF_HOME": "/proc/none"}, "/proc/none: No such file"),
}


@pytest.mark.parametrize("case", WRONG)
def test_what_is_wrong_is_one_line(
    case: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A wrong argument, variable or folder is a line that names it, and exit code 1; nothing is created."""
    arguments, environment, words = WRONG[case]
    monkeypatch.delenv("BLOCKHF_LONG", raising=False)
    monkeypatch.chdir(tmp_path)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr("sys.argv", ["blockhf", *arguments])
    with pytest.raises(SystemExit) as caught:
        main()
    assert caught.value.code == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"error: {words}")
    assert list(tmp_path.iterdir()) == []


def test_a_database_that_breaks_is_one_line(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A file that is no database is said to be none."""
    (settings.home / "blockhf.sqlite3").write_bytes(b"no database at all" * 100)
    monkeypatch.setattr("sys.argv", ["blockhf", "purge", "--yes"])
    with pytest.raises(SystemExit) as caught:
        main()
    assert caught.value.code == 1
    assert capsys.readouterr().err == "error: database error: file is not a database\n"


def test_an_error_of_ours_is_not_hidden(monkeypatch: pytest.MonkeyPatch) -> None:
    """Unexpected errors keep their traceback, as do validation errors of other documents."""
    monkeypatch.setattr("sys.argv", ["blockhf", "token", "list"])
    for error in (RuntimeError("ours"), OSError("without a file"), _unforeseen()):
        monkeypatch.setattr(Tokens, "list", _raising(error))
        with pytest.raises(type(error)):
            main()


def _unforeseen() -> ValidationError:
    try:
        Adam.model_validate({"gradient_batch": "x"})
    except ValidationError as error:
        return error
    raise AssertionError


def _raising(error: Exception) -> Callable[[Tokens], None]:
    def fail(_tokens: Tokens) -> None:
        raise error

    return fail


@pytest.mark.parametrize("options", [[], ["--repair"]])
def test_the_doctor_creates_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, options: list[str]) -> None:
    """In a folder without a database the command reports that and creates no file."""
    monkeypatch.chdir(tmp_path)
    for home in (tmp_path, tmp_path / "none"):
        monkeypatch.setenv("BLOCKHF_HOME", str(home))
        done = run("doctor", *options)
        assert done.exit_code == 1
        assert done.stdout.startswith(f"there is no database at {home / 'blockhf.sqlite3'}")
        assert list(tmp_path.iterdir()) == []


def test_a_remark_costs_no_exit_code(scene: Scene) -> None:
    """A checkpoint on another worker's machine is noted, and all is well."""
    claim = scene.claim()
    scene.append(claim, 3, saved=3)
    done = run("doctor")
    assert done.exit_code == 0
    assert done.stdout.startswith(f"note: the checkpoints of 1 unfinished runs ({claim.run.id}) are not on this")
    assert done.stdout.endswith("no problems found\n")
