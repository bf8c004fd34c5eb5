"""The commands that keep order among comparisons: list, edit, delete, restore; presets; and the operator's purge."""

import json
from collections.abc import Sequence
from typing import Annotated

import typer
from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from backend.client import Client
from backend.errors import FieldError, InvalidInput
from backend.operations.purge import purge
from backend.schemas.runs import Experiment
from backend.settings import Settings

app = typer.Typer()
Id = Annotated[str, typer.Argument(help="An experiment's id.", show_default=False)]
ExperimentIds = Annotated[list[str], typer.Argument(help="Ids of experiments.", show_default=False)]
Json = Annotated[bool, typer.Option("--json", help="Print JSON instead.")]


def _open(experiment: Experiment) -> int:
    """Count the runs that have not ended."""
    return sum(not run.final for run in experiment.runs)


def _records(experiments: Sequence[Experiment]) -> str:
    """Write what `--json` prints of experiments; `blockhf runs --json` has their runs."""
    return json.dumps([one.model_dump(mode="json", exclude={"spec", "runs"}) for one in experiments], indent=2)


@app.command()
def experiments(
    tag: Annotated[str | None, typer.Option(help="Only those with this tag.")] = None,
    archived: Annotated[bool, typer.Option("--archived", help="Archived ones too.")] = False,
    deleted: Annotated[bool, typer.Option("--deleted", help="Deleted ones too.")] = False,
    limit: Annotated[int, typer.Option(min=1, max=1000, help="At most so many, newest first.")] = 50,
    as_json: Json = False,
) -> None:
    """List comparisons: id, name, runs, tags, and whether they are archived or deleted."""
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
        counts = (str(len(one.runs)), str(_open(one)))
        table.add_row(one.id, Text(one.name), *counts, " ".join(one.tags), state)
    Console().print(table)


@app.command()
def edit(
    experiment: Id,
    name: Annotated[str | None, typer.Option(help="Call it so.")] = None,
    note: Annotated[str | None, typer.Option(help="Its note, plain text; an empty one removes it.")] = None,
    tag: Annotated[list[str] | None, typer.Option("--tag", help="All its tags. May be repeated.")] = None,
    no_tags: Annotated[bool, typer.Option("--no-tags", help="Take its tags away.")] = False,
    archived: Annotated[
        bool | None, typer.Option("--archive/--unarchive", help="Leave it out of lists, or not.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Rename a comparison, write its note, tag it, archive it; what is not given stays."""
    with Client.of() as client:
        tags = [] if no_tags else tag or None
        changed = client.edit(experiment, name=name, note=note, tags=tags, archived=archived)
    typer.echo(_records([changed]) if as_json else f"{changed.id} {changed.name}")


@app.command()
def delete(
    ids: ExperimentIds,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    as_json: Json = False,
) -> None:
    """Delete comparisons; `restore` takes it back. Runs that have not ended are cancelled."""
    with Client.of() as client:
        found = [client.experiment(name) for name in ids]
        count = sum(_open(one) for one in found)
        if count and not yes:
            typer.confirm(f"{count} of their runs wait or train and will be cancelled. Delete?", abort=True, err=True)
        deleted = []
        for one in found:
            deleted.append(client.delete(one.id))
            if not as_json:
                typer.echo(f"{one.id} deleted: blockhf restore {one.id} takes it back")
    if as_json:
        typer.echo(_records(deleted))


@app.command()
def restore(ids: ExperimentIds, as_json: Json = False) -> None:
    """Take deletions back; `blockhf retry` lets the cancelled runs go on from their checkpoints."""
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
    """List the saved presets, which `blockhf launch --preset SLUG` starts from."""
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
    days: Annotated[float, typer.Option(min=0, help="Only what was deleted at least so long ago.")] = 30,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
) -> None:
    """Remove deleted comparisons with their rows for good, on the backend's own machine; nothing else ever does."""
    if not yes:
        typer.confirm(f"What was deleted {days:g} or more days ago cannot be restored after this. Go on?", abort=True)
    typer.echo(f"{purge(Settings(), days)} comparisons removed")


def preset_fields(client: Client, slug: str) -> dict[str, object]:
    """Return the settings of a preset, to launch from; raises InvalidInput where there is none of this slug."""
    known = {preset.slug: preset.spec for preset in client.presets()}
    if slug not in known:
        raise InvalidInput([FieldError("preset", slug, f"must be one of {', '.join(known) or 'none: none is saved'}")])
    return known[slug].model_dump(mode="json")
