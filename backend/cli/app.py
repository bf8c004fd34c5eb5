"""The application behind `blockhf`: which commands there are. A command's module is imported when the command runs."""

import os
import sys
from collections.abc import Sequence
from importlib import import_module
from typing import Annotated, Any, NamedTuple

import typer
from typer.core import TyperCommand, TyperGroup

EXIT_CODES = "Exit codes: 0 done, 1 refused or failed, 2 wrong usage, 130 interrupted."


class Command(NamedTuple):
    """A command: its module, the group in the help, one line of help, and examples of arguments."""

    module: str
    group: str
    summary: str
    examples: Sequence[str] = ("",)


_START, _FOLLOW, _CONTROL = "Start", "Launch and follow", "Control"
_RESULTS, _ORGANISE, _PAPER, _ADMINISTER = "Results", "Organise", "Paper", "Administer"
COMMANDS = {
    "up": Command("launch", _START, "Start backend, worker and dashboard."),
    "share": Command("launch", _START, "Show everything, read-only, to other devices.", ("", "--port 9000")),
    "health": Command("launch", _START, "Check whether a process is ready.", ("backend", "worker", "dashboard")),
    "launch": Command(
        "launch", _FOLLOW, "Queue a comparison and print its ID.",
        (
            "--optimizer adam --optimizer 'bhf damping=0.1' --seed 0 --seed 1 --watch", "comparison.yaml",
            "--set problem.name=lstm --set budget.epochs=2", "--grid bhf.damping=0,0.01..1/3 --dry-run",
            "--preset my-settings --name 'larger batches'",
        ),
    ),
    "settings": Command("launch", _FOLLOW, "List the settings of a comparison.", ("bhf", "shared")),
    "watch": Command("launch", _FOLLOW, "Show the progress until all runs have ended.", ("EXPERIMENT", "RUN RUN")),
    "runs": Command("launch", _FOLLOW, "List runs.", ("", "--status failed", "--experiment EXPERIMENT --json")),
    "cancel": Command("runs", _CONTROL, "Cancel runs.", ("RUN", "EXPERIMENT")),
    "pause": Command("runs", _CONTROL, "Pause runs.", ("EXPERIMENT",)),
    "resume": Command("runs", _CONTROL, "Continue paused runs.", ("EXPERIMENT",)),
    "retry": Command("runs", _CONTROL, "Queue failed and cancelled runs again.", ("RUN",)),
    "prioritize": Command("runs", _CONTROL, "Set the priority of runs.", ("RUN --to 50",)),
    "export": Command(
        "files", _RESULTS, "Write all updates of runs.", ("RUN > run.csv", "EXPERIMENT --to curves --format parquet")
    ),
    "weights": Command("files", _RESULTS, "Write the final weights of runs.", ("EXPERIMENT --to weights",)),
    "checkpoint": Command("files", _RESULTS, "Write the last checkpoint of runs.", ("RUN --to checkpoints",)),
    "import": Command(
        "files", _RESULTS, "Store a run that another program trained.",
        ("RUN.csv --optimizer 'adam learning_rate=0.01'",),
    ),
    "new-problem": Command("files", _ORGANISE, "Write a package with your own network.", ("my-network",)),
    "experiments": Command("experiments", _ORGANISE, "List comparisons.", ("", "--tag paper --archived")),
    "edit": Command(
        "experiments", _ORGANISE, "Change name, note, tags or archive status.",
        ("EXPERIMENT --name 'Figure 2' --tag paper", "EXPERIMENT --archive"),
    ),
    "delete": Command("experiments", _ORGANISE, "Delete comparisons.", ("EXPERIMENT", "EXPERIMENT --yes")),
    "restore": Command("experiments", _ORGANISE, "Restore deleted comparisons.", ("EXPERIMENT",)),
    "presets": Command("experiments", _ORGANISE, "List or delete saved presets.", ("", "--delete my-settings")),
    "reproduce": Command(
        "paper", _PAPER, "Queue an experiment of the paper.", ("lstm --scale quick", "study")
    ),
    "report": Command("paper", _PAPER, "Write a comparison as one HTML file.", ("EXPERIMENT --to report.html",)),
    "token": Command(
        "admin", _ADMINISTER, "Create, list and delete API tokens.",
        ("create notebook --scope read --scope launch", "list", "delete notebook"),
    ),
    "doctor": Command("admin", _ADMINISTER, "Check database, disk and checkpoints.", ("", "--repair")),
    "backup": Command("admin", _ADMINISTER, "Copy the database to a file.", ("backup.sqlite3",)),
    "purge": Command("experiments", _ADMINISTER, "Remove deleted comparisons permanently.", ("--days 30",)),
}  # fmt: skip
"""All commands, in the order of the help."""


class _LazyGroup(TyperGroup):
    """Lists the commands without importing their modules."""

    def __init__(self, **given: Any) -> None:
        super().__init__(**given)
        for name, one in COMMANDS.items():
            self.commands[name] = TyperCommand(name, help=one.summary, rich_help_panel=one.group)
        self._listing = False

    def format_help(self, ctx: Any, formatter: Any) -> None:
        """Write the help of the group."""
        self._listing = True
        try:
            super().format_help(ctx, formatter)
        finally:
            self._listing = False

    def list_commands(self, ctx: Any) -> list[str]:  # noqa: ARG002 - click's signature
        """Return the names in the order of the help."""
        return list(COMMANDS)

    def get_command(self, ctx: Any, cmd_name: str) -> Any:  # noqa: ARG002 - click's signature
        """Return a command, or None; while the help is written, one that has only its summary."""
        if cmd_name not in COMMANDS or self._listing:
            return self.commands.get(cmd_name)
        module = import_module(f"backend.cli.{COMMANDS[cmd_name].module}")
        command: Any = typer.main.get_group(module.app).commands[cmd_name]
        command.epilog = "\n\n".join(filter(None, [command.epilog, _examples(cmd_name), EXIT_CODES]))
        return command


def _examples(name: str) -> str:
    return "\n\n".join(["Examples:", *(f"blockhf {name} {example}".strip() for example in COMMANDS[name].examples)])


app = typer.Typer(
    cls=_LazyGroup,
    help="Compare Adam, Hessian-free (HF) and block-diagonal Hessian-free (BHF) on the same network.",
    epilog="Start with `blockhf up`. BLOCKHF_BACKEND_URL sets the address of the backend (default "
    f"http://127.0.0.1:8700). {EXIT_CODES}",
    context_settings={"help_option_names": ["-h", "--help"]},
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)


def _print_version(value: bool) -> None:
    if value:
        from importlib.metadata import version

        typer.echo(f"blockhf {version('blockhf')}")
        raise typer.Exit


@app.callback()
def options(
    _version: Annotated[
        bool, typer.Option("--version", is_eager=True, callback=_print_version, help="Print the version and exit.")
    ] = False,
) -> None:
    """Options of `blockhf` itself."""


def _warn(arguments: Sequence[str]) -> None:
    """Name the variables that look like settings and are none."""
    if {*arguments} & {"-h", "--help", "--version"} or not any(name.startswith("BLOCKHF_") for name in os.environ):
        return  # checking takes the import of all settings
    from backend.cli.messages import unknown_variables

    for line in unknown_variables(os.environ):
        typer.echo(f"warning: {line}", err=True)


def run() -> None:
    """Run the command line; an expected error is printed to standard error, and the exit code is 1."""
    _warn(sys.argv[1:])
    try:
        app()
    except Exception as error:
        from backend.cli.messages import lines

        for line in lines(error):
            typer.echo(f"error: {line}", err=True)
        sys.exit(1)
