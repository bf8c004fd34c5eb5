"""Commands for comparisons: experiments, edit, delete, restore, presets, purge."""

import json
from collections.abc import Sequence
from typing import Annotated

import typer
from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from backend.cli.messages import nearest
from backend.client import Client
from backend.errors import FieldError, InvalidInput
from backend.operations.purge import purge
from backend.schemas.runs import Experiment
from backend.settings import Settings

app = typer.Typer()
Id = Annotated[str, typer.Argument(help="Id of an experiment.", show_default=False)]
ExperimentIds = Annotated[list[str], typer.Argument(help="Ids of experiments.", show_default=False)]
Json = Annotated[bool, typer.Option("--json", help="Print JSON instead.")]


def _unfinished(experiment: Experiment) -> int:
    """Return the number of runs that have not ended."""
    return sum(not run.final for run in experiment.runs)


def _records(experiments: Sequence[Experiment]) -> str:
    """Return the JSON of experiments without their runs, which `blockhf runs --json` lists."""
    return json.dumps([one.model_dump(mode="json", exclude={"spec", "runs"}) for one in experiments], indent=2)


@app.command()
def experiments(
    tag: Annotated[str | None, typer.Option(help="Only comparisons with this tag.")] = None,
    archived: Annotated[bool, typer.Option("--archived", help="Include archived comparisons.")] = False,
    deleted: Annotated[bool, typer.Option("--deleted", help="Include deleted comparisons.")] = False,
    limit: Annotated[int, typer.Option(min=1, max=1000, help="Maximum number, newest first.")] = 50,
    as_json: Json = False,
) -> None:
    """List comparisons: id, name, number of runs, unfinished runs, tags; archived or deleted."""
    with Client.of() as client:
        found = client.experiments(limit=limit, tag=tag, archived=archived, deleted=deleted)
    if as_json:
        typer.echo(_records(found))
        return
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for title in ("id", "name", "runs", "open", "tags", ""):
        table.add_column(title, no_wrap=title == "id")
    for one in found:
        state = "deleted" if one.deleted_at else "archived" if one.archived else ""
        counts = (str(len(one.runs)), str(_unfinished(one)))
        table.add_row(one.id, Text(one.name), *counts, " ".join(one.tags), state)
    Console().print(table)


@app.command()
def edit(
    experiment: Id,
    name: Annotated[str | None, typer.Option(help="New name.")] = None,
    note: Annotated[str | None, typer.Option(help="New note, plain text; an empty one removes it.")] = None,
    tag: Annotated[list[str] | None, typer.Option("--tag", help="Replace all tags. May be repeated.")] = None,
    no_tags: Annotated[bool, typer.Option("--no-tags", help="Remove all tags.")] = False,
    archived: Annotated[
        bool | None, typer.Option("--archive/--unarchive", help="Hide it from lists, or show it again.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Change the name, note, tags or archived state of a comparison."""
    with Client.of() as client:
        tags = [] if no_tags else tag or None
        changed = client.edit(experiment, name=name, note=note, tags=tags, archived=archived)
    typer.echo(_records([changed]) if as_json else f"{changed.id} {changed.name}")


@app.command()
def delete(
    ids: ExperimentIds,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask for confirmation.")] = False,
    as_json: Json = False,
) -> None:
    """Delete comparisons and cancel their unfinished runs; `restore` undoes it."""
    with Client.of() as client:
        found = [client.experiment(name) for name in ids]
        count = sum(_unfinished(one) for one in found)
        if count and not yes:
            typer.confirm(f"{count} unfinished runs will be cancelled. Delete?", abort=True, err=True)
        deleted = []
        for one in found:
            deleted.append(client.delete(one.id))
            if not as_json:
                typer.echo(f"{one.id} deleted; to undo: blockhf restore {one.id}")
    if as_json:
        typer.echo(_records(deleted))


@app.command()
def restore(ids: ExperimentIds, as_json: Json = False) -> None:
    """Restore deleted comparisons; `blockhf retry` continues their cancelled runs from their checkpoints."""
    restored = []
    with Client.of() as client:
        for name in ids:
            restored.append(one := client.restore(name))
            if not as_json:
                typer.echo(f"{one.id} {one.name}")
    if as_json:
        typer.echo(_records(restored))


@app.command()
def presets(
    remove: Annotated[str | None, typer.Option("--delete", help="Delete the preset with this slug.")] = None,
    as_json: Json = False,
) -> None:
    """List the saved presets, for `blockhf launch --preset SLUG`."""
    with Client.of() as client:
        if remove is not None:
            client.delete_preset(remove)
        saved = client.presets()
    if as_json:
        typer.echo(json.dumps([preset.model_dump(mode="json") for preset in saved], indent=2))
        return
    for preset in saved:
        typer.echo(f"{preset.slug}\t{preset.title}")


@app.command("purge")
def purge_deleted(
    days: Annotated[float, typer.Option(min=0, help="Only comparisons deleted at least this many days ago.")] = 30,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask for confirmation.")] = False,
) -> None:
    """Permanently remove deleted comparisons and their rows, on the backend's machine."""
    if not yes:
        typer.confirm(
            f"Comparisons deleted at least {days:g} days ago will be removed permanently. Continue?", abort=True
        )
    typer.echo(f"{purge(Settings(), days)} comparisons removed")


def preset_fields(client: Client, slug: str) -> dict[str, object]:
    """Return the settings of a preset; raise InvalidInput if there is no such preset."""
    known = {preset.slug: preset.spec for preset in client.presets()}
    if slug not in known:
        raise InvalidInput(
            [
                FieldError(
                    "preset",
                    slug,
                    f"must be one of {', '.join(known)}{nearest(slug, known)}" if known else "no preset is saved",
                )
            ]
        )
    return known[slug].model_dump(mode="json")
