"""Commands that change runs: cancel, pause, resume, retry, prioritize."""

from collections.abc import Callable
from typing import Annotated

import typer

from backend.cli import run_table
from backend.client import Client
from backend.errors import Conflict, NotFound, QueueFull
from backend.schemas.runs import Run, RunStatus

Ids = Annotated[list[str], typer.Argument(help="Ids of runs or of experiments.", show_default=False)]

Json = Annotated[bool, typer.Option("--json", help="Print the runs as JSON.")]

app = typer.Typer()


def runs_of(client: Client, ids: list[str]) -> list[Run]:
    """Return the runs with these ids, and all runs of experiments with these ids."""
    runs: list[Run] = []
    for name in ids:
        try:
            runs.extend(client.experiment(name).runs)
        except NotFound:
            runs.append(client.run(name))
    return runs


def _apply(ids: list[str], verb: Callable[[Client, str], Run], *, when: Callable[[Run], bool], as_json: bool) -> None:
    """Apply an action to those runs for which `when` is true, and print their new status.

    An error for one run does not affect the others. The exit code is 1 if `when` is still true for that run.
    """
    changed: list[Run] = []
    refused = False
    with Client.of() as client:
        for run in runs_of(client, ids):
            if when(run):
                try:
                    changed.append(verb(client, run.id))
                except (Conflict, NotFound, QueueFull) as error:
                    typer.echo(f"{run.id}: {error}", err=True)
                    refused = refused or _still_applies(client, run.id, when)
                    continue
                if not as_json:
                    typer.echo(f"{run.id} {changed[-1].status.value}")
    if as_json:
        typer.echo(run_table.records(changed))
    if refused:
        raise typer.Exit(1)


def _still_applies(client: Client, run_id: str, when: Callable[[Run], bool]) -> bool:
    """Return whether a run still exists and `when` is still true for it."""
    try:
        return when(client.run(run_id))
    except NotFound:
        return False


@app.command()
def cancel(ids: Ids, as_json: Json = False) -> None:
    """Cancel runs, or all runs of experiments: queued ones immediately, running ones within seconds."""
    _apply(ids, Client.cancel, when=lambda run: not run.status.final, as_json=as_json)


@app.command()
def pause(ids: Ids, as_json: Json = False) -> None:
    """Pause runs: queued ones immediately, running ones after their current update and with a checkpoint."""
    _apply(ids, Client.pause, when=lambda run: not run.status.final, as_json=as_json)


@app.command()
def resume(ids: Ids, as_json: Json = False) -> None:
    """Continue paused runs; results are bit for bit equal if device, threads and versions are the same."""
    _apply(ids, Client.resume, when=lambda run: run.status is RunStatus.PAUSED or run.pause_requested, as_json=as_json)


@app.command()
def retry(ids: Ids, as_json: Json = False) -> None:
    """Queue failed and cancelled runs again; they continue from their last checkpoints."""
    _apply(ids, Client.retry, when=lambda run: run.status in {RunStatus.FAILED, RunStatus.CANCELLED}, as_json=as_json)


@app.command()
def prioritize(
    ids: Ids,
    priority: Annotated[
        int, typer.Option("--to", min=-100, max=100, help="New priority; higher goes first, 0 is the default.")
    ] = 10,
    as_json: Json = False,
) -> None:
    """Set the priority of runs that have not ended."""
    _apply(
        ids,
        lambda client, run: client.prioritize(run, priority),
        when=lambda run: not run.status.final,
        as_json=as_json,
    )
