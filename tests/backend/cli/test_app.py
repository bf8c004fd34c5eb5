"""Tests of the command's frame: its help, its version, hints, and what it imports."""

import subprocess
import sys
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from backend.cli.app import COMMANDS, app
from backend.cli.main import main
from backend.cli.messages import unknown_variables
from backend.errors import InvalidInput
from tests.backend.conftest import Run


def invoke(*arguments: str) -> str:
    """Run a command that succeeds; return its output."""
    done = CliRunner().invoke(app, arguments)
    assert done.exit_code == 0, done.output
    return done.output


@pytest.mark.parametrize("option", ["-h", "--help"])
def test_the_help_lists_every_command_in_groups(option: str) -> None:
    """The help shows each command and each group."""
    shown = invoke(option)
    assert [name for name, one in COMMANDS.items() if f" {name} " not in shown or one.group not in shown] == []


@pytest.mark.parametrize("name", COMMANDS)
def test_each_help_has_examples_and_exit_codes(name: str) -> None:
    """Each command's help has its examples and the exit codes."""
    shown = " ".join(invoke(name, "--help").split())
    assert f"blockhf {name} {COMMANDS[name].examples[0]}".strip()[:60] in shown
    assert "130 interrupted" in shown


def test_the_table_has_all_commands() -> None:
    """Each command of each module is in the table."""
    modules = {one.module for one in COMMANDS.values()}
    imported = [__import__(f"backend.cli.{name}", fromlist=["app"]) for name in modules]
    found = {name for module in imported for name in typer.main.get_group(module.app).commands}
    assert found == set(COMMANDS)


def test_the_version_is_printed() -> None:
    """`blockhf --version` prints name and version."""
    assert invoke("--version").startswith("blockhf ")


def test_the_help_imports_no_module_of_a_command() -> None:
    """The help imports neither the settings nor the database, a health check not even the library of commands."""
    check = "import sys; sys.argv = ['blockhf', *{!r}]\ntry:\n    from backend.cli.main import main; main()\n"
    check += "except SystemExit:\n    pass\nprint(sorted({{'pydantic', 'sqlalchemy', 'typer'}} & set(sys.modules)))"
    for arguments, imported in ((["--help"], ["typer"]), (["health", "backend"], [])):
        code = check.format(arguments)
        environment = {"BLOCKHF_PORT": "1", "PATH": ""}
        done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
        assert done.stdout.splitlines()[-1] == str(imported)


def test_settings_are_listed() -> None:
    """`blockhf settings bhf` lists the settings of BHF and no others."""
    shown = invoke("settings", "bhf")
    assert "  warm_start = 0.95" in shown
    assert "budget.updates" not in shown
    assert "  budget.updates = 100 updates" in invoke("settings")


def test_an_unknown_command_gets_the_nearest() -> None:
    """A mistyped command is refused with the nearest known one."""
    done = CliRunner().invoke(app, ["lanch"])
    assert done.exit_code == 2
    assert "launch" in done.output


@pytest.mark.parametrize(
    ("arguments", "field", "hint"),
    [
        (["--optimizer", "bfh", "--set", "problem.name=squeeze"], "optimizer", "bhf"),
        (["--optimizer", "bhf dampin=0.1", "--set", "problem.name=squeeze"], "optimizers.0.dampin", "damping"),
        (["--set", "budget.update=3", "--set", "problem.name=squeeze"], "budget.update", "updates"),
        (["--set", "problem.name=squeze"], "problem.name", "squeeze"),
    ],
)
@pytest.mark.usefixtures("worker")
def test_an_unknown_name_gets_the_nearest(run: Run, arguments: list[str], field: str, hint: str) -> None:
    """An unknown optimizer, setting or problem is refused with the nearest known one."""
    with pytest.raises(InvalidInput) as caught:
        run("launch", *arguments)
    (fault,) = caught.value.errors
    assert fault.field == field
    assert fault.limit.endswith(f"did you mean {hint}?")


def test_an_unknown_variable_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A mistyped variable is named on standard error with the nearest setting; other variables are not."""
    assert unknown_variables(["BLOCKHF_PORT", "BLOCKHF_DEMO", "PATH"]) == []
    monkeypatch.delenv("BLOCKHF_LONG", raising=False)
    monkeypatch.setenv("BLOCKHF_PROT", "1")
    monkeypatch.setenv("BLOCKHF_HOME", str(tmp_path))
    monkeypatch.setattr("sys.argv", ["blockhf", "token", "list"])
    with pytest.raises(SystemExit) as caught:
        main()
    assert not caught.value.code
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("warning: BLOCKHF_PROT")
    assert line.endswith("did you mean BLOCKHF_PORT?")
