"""The commands that carry curves out and in: exports, weights and checkpoints of runs here, imports from elsewhere."""

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import typer

from backend.cli import run_table
from backend.cli.runs import Ids, runs_of
from backend.cli.spec_arguments import read, settings, specify
from backend.client import Client
from backend.durable_files import write_durably
from backend.errors import FieldError, InvalidInput, NotFound
from backend.schemas.api import ExportKind

app = typer.Typer()

COLUMNS = (
    "RUN.csv has a header and one line per update, as `blockhf export` writes it. Needed are the column update, which "
    "counts from 1 without gaps, and one of batch_loss, train_loss, test_loss, test_accuracy and the other measures; "
    "seconds, epoch, samples and cost are 0 where they are left out. An empty cell was not measured. Nothing is stored "
    "of a file with a mistake."
)


def _write(ids: list[str], to: Path | None, fetch: Callable[[Client, str], bytes], ending: str) -> None:
    """Write a file per run into a folder, each whole or not at all, or one run's to standard output.

    A run that has no such file keeps no other from its turn; the exit code is 1 then. Raises InvalidInput for several
    runs without a folder, and where the folder cannot be written.
    """
    with Client.of() as client:
        found = runs_of(client, ids)
        if to is None and len(found) != 1:
            raise InvalidInput([FieldError("ids", len(found), "several runs need a folder: add --to FOLDER")])
        if to is None:
            sys.stdout.buffer.write(fetch(client, found[0].id))
            return
        try:
            to.mkdir(parents=True, exist_ok=True)
            lacking = [run.id for run in found if not _written(client, run.id, to / f"{run.id}.{ending}", fetch)]
        except OSError as error:
            raise InvalidInput([FieldError("to", str(to), str(error))]) from None
    if lacking:
        raise typer.Exit(1)


def _written(client: Client, run_id: str, path: Path, fetch: Callable[[Client, str], bytes]) -> bool:
    """Write one run's file, and say its path; or say why there is none."""
    try:
        write_durably(path, fetch(client, run_id))
    except NotFound as error:
        typer.echo(f"{run_id}: {error}", err=True)
        return False
    typer.echo(path)
    return True


Folder = Annotated[
    Path | None, typer.Option("--to", help="A folder for one file per run; without it, one run to standard output.")
]


@app.command(epilog="Units: a loss is in its problem's unit; seconds are training time, evaluation not counted.")
def export(
    ids: Ids,
    to: Folder = None,
    kind: Annotated[ExportKind, typer.Option("--format", help="How the rows are written.")] = ExportKind.CSV,
) -> None:
    """Write every update of the runs, one file per run, complete."""
    _write(ids, to, lambda client, run: client.export_file(run, kind), kind.value)


@app.command()
def weights(ids: Ids, to: Folder = None) -> None:
    """Write the final weights of finished runs as safetensors; where a mean was taken, that too as average.NAME."""
    _write(ids, to, Client.weights, "safetensors")


@app.command()
def checkpoint(ids: Ids, to: Folder = None) -> None:
    """Write the state that unfinished runs would go on from as safetensors; `blockhf pause` has a run save one."""
    _write(ids, to, Client.checkpoint, "checkpoint.safetensors")


@app.command("import", epilog=COLUMNS)
def import_history(
    file: Annotated[Path, typer.Argument(metavar="RUN.csv", help="The run's history.", show_default=False)],
    optimizer: Annotated[
        str | None, typer.Option("--optimizer", "-o", help="What made it: 'adam learning_rate=0.01'; hf and bhf too.")
    ] = None,
    spec: Annotated[
        Path | None, typer.Option("--spec", help="A YAML or JSON file with an experiment's fields.")
    ] = None,
    setting: Annotated[
        list[str] | None,
        typer.Option("--set", "-s", help="path=value of a knob: 'problem.data=mnist'. May be repeated."),
    ] = None,
    seed: Annotated[int | None, typer.Option("--seed", help="The seed that it was made with.")] = None,
    name: Annotated[str | None, typer.Option(help="How it is called; the file's name where this is left out.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the run as JSON instead of its id.")] = False,
) -> None:
    """Store a run that was trained elsewhere, to be compared with ours; it is marked as imported. Prints its id."""
    fields = {"name": file.stem} | (read(spec) if spec else {})
    if not optimizer and "optimizers" not in fields:
        raise InvalidInput([FieldError("optimizer", None, "say what made it: --optimizer adam, hf or bhf, or --spec")])
    with Client.of() as client:
        made_by = specify(
            fields,
            settings(setting or []),
            optimizers=[optimizer] if optimizer else [],
            seeds=None if seed is None else [seed],
            name=name,
        )
        run = client.import_run(made_by, _text(file))
    typer.echo(json.dumps(run_table.run_record(run), indent=2) if as_json else run.id)


def _text(file: Path) -> str:
    """Read a history, from a spreadsheet too; raises InvalidInput where the file is not one that can be read."""
    try:
        return file.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise InvalidInput([FieldError("file", str(file), str(error))]) from None
