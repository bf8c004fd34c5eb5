"""The commands that steer runs: cancel, pause, resume, retry, and their place in line."""

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
    """Return the runs that the ids name, an experiment's in its order."""
    runs: list[Run] = []
    for name in ids:
        try:
            runs.extend(client.experiment(name).runs)
        except NotFound:
            runs.append(client.run(name))
    return runs


def _steer(ids: list[str], verb: Callable[[Client, str], Run], *, when: Callable[[Run], bool], as_json: bool) -> None:
    """Apply a verb to those of the runs that it is for, and print where they stand then.

    One that refuses, such as a run that has ended meanwhile, keeps no other from its turn; the exit code is 1 where one
    that refused is still a run that the verb is for.
    """
    steered: list[Run] = []
    refused = False
    with Client.of() as client:
        for run in runs_of(client, ids):
            if when(run):
                try:
                    steered.append(verb(client, run.id))
                except (Conflict, NotFound, QueueFull) as error:
                    typer.echo(f"{run.id}: {error}", err=True)
                    refused = refused or _still(client, run.id, when)
                    continue
                if not as_json:
                    typer.echo(f"{run.id} {steered[-1].status.value}")
    if as_json:
        typer.echo(run_table.records(steered))
    if refused:
        raise typer.Exit(1)


def _still(client: Client, run_id: str, when: Callable[[Run], bool]) -> bool:
    """Tell whether a verb is for a run still: it neither ended meanwhile nor went away."""
    try:
        return when(client.run(run_id))
    except NotFound:
        return False


@app.command()
def cancel(ids: Ids, as_json: Json = False) -> None:
    """Cancel runs, or all runs of experiments: a queued one at once, a running one within seconds."""
    _steer(ids, Client.cancel, when=lambda run: not run.status.final, as_json=as_json)


@app.command()
def pause(ids: Ids, as_json: Json = False) -> None:
    """Pause runs: a queued one at once, a running one after its update; a checkpoint keeps where it was."""
    _steer(ids, Client.pause, when=lambda run: not run.status.final, as_json=as_json)


@app.command()
def resume(ids: Ids, as_json: Json = False) -> None:
    """Let paused runs go on, bit for bit where device, threads and versions are the same."""
    _steer(ids, Client.resume, when=lambda run: run.status is RunStatus.PAUSED or run.pause_requested, as_json=as_json)


@app.command()
def retry(ids: Ids, as_json: Json = False) -> None:
    """Queue failed and cancelled runs again; they go on from their last checkpoint."""
    _steer(ids, Client.retry, when=lambda run: run.status in {RunStatus.FAILED, RunStatus.CANCELLED}, as_json=as_json)


@app.command()
def prioritize(
    ids: Ids,
    priority: Annotated[int, typer.Option("--to", min=-100, max=100, help="Higher goes first; 0 is usual.")] = 10,
    as_json: Json = False,
) -> None:
    """Move runs that have not ended in line."""
    _steer(
        ids,
        lambda client, run: client.prioritize(run, priority),
        when=lambda run: not run.status.final,
        as_json=as_json,
    )
