"""Commands for files: export, weights, checkpoint, import."""

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import typer

from backend.cli import run_table
from backend.cli.runs import Ids, runs_of
from backend.cli.spec_arguments import parse_settings, read, specify
from backend.client import Client
from backend.durable_files import write_durably
from backend.errors import FieldError, InvalidInput, NotFound
from backend.schemas.api import ExportKind
from backend.schemas.problem_template import problem_package

app = typer.Typer()

COLUMNS = (
    "RUN.csv has a header and one line per update, in the format of `blockhf export`. Required are the column update, "
    "which counts from 1 without gaps, and at least one measure, such as batch_loss, train_loss, test_loss or "
    "test_accuracy. seconds, epoch, samples and cost default to 0. An empty cell means not measured. If a value is "
    "invalid, nothing is stored."
)


def _write(ids: list[str], to: Path | None, fetch: Callable[[Client, str], bytes], ending: str) -> None:
    """Write one file per run to a folder, or the file of one run to standard output.

    Raises:
        InvalidInput: there are several runs but no folder, or the folder cannot be written.
        typer.Exit: with code 1, after all runs, if a run has no such file.
    """
    with Client.of() as client:
        found = runs_of(client, ids)
        if to is None and len(found) != 1:
            raise InvalidInput([FieldError("ids", len(found), "several runs require a folder: add --to FOLDER")])
        if to is None:
            sys.stdout.buffer.write(fetch(client, found[0].id))
            return
        try:
            to.mkdir(parents=True, exist_ok=True)
            missing = [run.id for run in found if not _written(client, run.id, to / f"{run.id}.{ending}", fetch)]
        except OSError as error:
            raise InvalidInput([FieldError("to", str(to), str(error))]) from None
    if missing:
        raise typer.Exit(1)


def _written(client: Client, run_id: str, path: Path, fetch: Callable[[Client, str], bytes]) -> bool:
    """Write one run's file and print its path, or the reason why there is none; return whether there is one."""
    try:
        write_durably(path, fetch(client, run_id))
    except NotFound as error:
        typer.echo(f"{run_id}: {error}", err=True)
        return False
    typer.echo(path)
    return True


Folder = Annotated[
    Path | None, typer.Option("--to", help="Folder for one file per run; default: one run, to standard output.")
]


@app.command(epilog="Units: a loss is in its problem's unit; seconds are training time without evaluation.")
def export(
    ids: Ids,
    to: Folder = None,
    kind: Annotated[ExportKind, typer.Option("--format", help="File format.")] = ExportKind.CSV,
) -> None:
    """Write all updates of runs, one file per run."""
    _write(ids, to, lambda client, run: client.export_file(run, kind), kind.value)


@app.command()
def weights(ids: Ids, to: Folder = None) -> None:
    """Write the final weights of finished runs as safetensors; averaged weights, if any, are called average.NAME."""
    _write(ids, to, Client.weights, "safetensors")


@app.command()
def checkpoint(ids: Ids, to: Folder = None) -> None:
    """Write the last checkpoint of unfinished runs as safetensors; `blockhf pause` makes a run save one."""
    _write(ids, to, Client.checkpoint, "checkpoint.safetensors")


@app.command("import", epilog=COLUMNS)
def import_history(
    file: Annotated[Path, typer.Argument(metavar="RUN.csv", help="History of the run.", show_default=False)],
    optimizer: Annotated[
        str | None, typer.Option("--optimizer", "-o", help="The optimizer that produced it: 'adam learning_rate=0.01'.")
    ] = None,
    spec: Annotated[
        Path | None, typer.Option("--spec", help="YAML or JSON file with the fields of an experiment.")
    ] = None,
    setting: Annotated[
        list[str] | None,
        typer.Option("--set", "-s", help="Setting as path=value: 'problem.data=mnist'. May be repeated."),
    ] = None,
    seed: Annotated[int | None, typer.Option("--seed", help="Seed of the run.")] = None,
    name: Annotated[str | None, typer.Option(help="Name; default: the name of the file.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the run as JSON instead of its id.")] = False,
) -> None:
    """Store a run that was trained elsewhere, marked as imported, and print its id."""
    fields = {"name": file.stem} | (read(spec) if spec else {})
    if not optimizer and "optimizers" not in fields:
        raise InvalidInput([FieldError("optimizer", None, "required: give --optimizer, or a file with --spec")])
    with Client.of() as client:
        made_by = specify(
            fields,
            parse_settings(setting or []),
            optimizers=[optimizer] if optimizer else [],
            seeds=None if seed is None else [seed],
            name=name,
        )
        run = client.import_run(made_by, _text(file))
    typer.echo(json.dumps(run_table.run_record(run), indent=2) if as_json else run.id)


def _text(file: Path) -> str:
    """Read a CSV file, with or without a byte order mark; raise InvalidInput if that fails."""
    try:
        return file.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise InvalidInput([FieldError("file", str(file), str(error))]) from None


@app.command("new-problem")
def new_problem(
    name: Annotated[str, typer.Argument(help="Name of the network: lower-case letters, digits and hyphens.")],
    to: Annotated[Path, typer.Option(help="Folder in which the package's folder is made.")] = Path(),
) -> None:
    """Write a package that adds a network of your own; change it, and install it beside the worker."""
    files = problem_package(name)
    folder = to / name
    folder.mkdir(parents=True)  # an existing folder is not changed
    for path, text in files.items():
        (folder / path).write_text(text)
    typer.echo(f"Change build in {folder}, then: pip install {folder.resolve()}, and start the worker again.")
