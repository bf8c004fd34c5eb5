"""Commands to start BlockHF, and to launch and follow comparisons: up, share, health, launch, settings, watch, runs."""

import json
import time
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from backend.cli import optimizer_arguments, run_table, spec_arguments
from backend.cli.demo import launch_demo
from backend.cli.runs import Ids, runs_of
from backend.client import Client
from backend.errors import Forbidden, Unauthorized
from backend.experiments import sweeps
from backend.operations.share import SHARED_PORT, at_address, own_address, qr_text, serve_read_only
from backend.operations.supervisor import ServiceName, Stack, StartError, answers, stop_signals
from backend.schemas.optimizer_registry import OPTIMIZERS
from backend.schemas.runs import RunStatus
from backend.settings import Settings

UNITS = (
    "Units: a loss is in the unit of its problem (autoencoder: squared error, sum over pixels, mean over images); "
    "seconds are training time without evaluation; cost is in gradients of one gradient batch."
)

app = typer.Typer()
Json = Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")]


@app.command()
def up() -> None:
    """Start backend, worker and dashboard; Ctrl-C stops them."""
    settings = Settings()
    stack = Stack(settings, lambda line: typer.echo(f"blockhf: {line}"))
    with stop_signals() as stopped:
        try:
            stack.start(stopped)
            if settings.queue_demo and not stopped():
                with Client.of(stack.settings) as client:
                    launch_demo(client)
            if not stopped():
                typer.echo(f"\n  BlockHF is ready: {settings.dashboard}\n\n  Press Ctrl-C to stop it.\n")
            while not stopped():
                stack.watch()
                time.sleep(0.5)
        finally:
            stack.stop()


@app.command("share")
def share_read_only(
    host: Annotated[
        str | None,
        typer.Option(help="Address of this computer in the network.", show_default="the one that others reach"),
    ] = None,
    port: Annotated[int, typer.Option(min=1, max=65535, help="Port of the address.")] = SHARED_PORT,
) -> None:
    """Show everything to the devices of this network; nobody can launch or change runs there. Ctrl-C stops it."""
    settings = at_address(Settings(), host or own_address(), port)
    try:
        with Client.of(settings) as client:
            client.access()
    except (Unauthorized, Forbidden) as error:
        raise StartError(
            "the backend needs a token: create one with `blockhf token create NAME --scope read`, "
            "and set BLOCKHF_TOKEN to it"
        ) from error
    typer.echo(f"\n{qr_text(settings.dashboard)}\n  {settings.dashboard}\n\n  Press Ctrl-C to stop it.\n")
    serve_read_only(settings)


SHARED = "shared"
SettingGroup = StrEnum("SettingGroup", [(name, name) for name in (SHARED, *OPTIMIZERS)])  # type: ignore[misc]  # mypy knows literals alone


@app.command()
def settings(
    group: Annotated[
        SettingGroup | None, typer.Argument(help="An optimizer, or shared: what all runs of a comparison share.")
    ] = None,
) -> None:
    """List settings with default, unit, limits and the paper's value, for --set, --optimizer and --grid."""
    groups = {SHARED: optimizer_arguments.shared_settings(), **optimizer_arguments.optimizer_settings()}
    for name, fields in groups.items():
        if group in {None, name}:
            typer.echo(f"{name} ({'--set' if name == SHARED else '--optimizer'})")
            for path, field in fields.items():
                typer.echo(f"  {optimizer_arguments.help_line(path, field)}")


@app.command(epilog="`blockhf settings` lists all settings.")
def launch(
    file: Annotated[
        Path | None, typer.Argument(help="YAML or JSON file with the fields of an experiment.", show_default=False)
    ] = None,
    preset: Annotated[
        str | None, typer.Option("--preset", "-p", help="Saved preset to start from; see `blockhf presets`.")
    ] = None,
    optimizer: Annotated[
        list[str] | None,
        typer.Option(
            "--optimizer", "-o", help=f"{', '.join(OPTIMIZERS)} with settings: 'bhf damping=0.1'. May be repeated."
        ),
    ] = None,
    setting: Annotated[
        list[str] | None,
        typer.Option("--set", "-s", help="Setting as path=value: 'budget.updates=50'. May be repeated."),
    ] = None,
    grid: Annotated[
        list[str] | None,
        typer.Option(
            "--grid",
            "-g",
            help="Sweep over values or ranges of a setting: 'bhf.damping=0,0.01..1/3', 'bhf.blocks=1,2,layers'. "
            "May be repeated.",
        ),
    ] = None,
    point: Annotated[
        list[str] | None,
        typer.Option(
            "--point", help="One combination of a sweep: 'bhf.damping=0.1 bhf.learning_rate=0.5'. May be repeated."
        ),
    ] = None,
    seed: Annotated[
        list[int] | None, typer.Option("--seed", help="Seed; each optimizer runs once per seed. May be repeated.")
    ] = None,
    name: Annotated[str | None, typer.Option(help="Name of the comparison.")] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only print what would be queued.")] = False,
    follow: Annotated[bool, typer.Option("--watch", help="Show the progress until all runs have ended.")] = False,
    as_json: Json = False,
) -> None:
    """Queue a comparison and print its id. It starts from FILE, a saved preset or the preset of the problem."""
    with Client.of() as client:
        chosen = spec_arguments.parse_settings(setting or [])
        fields = spec_arguments.base(client, file, preset)
        if fields is None:
            fields = spec_arguments.problem_fields(client, chosen.get("problem", {}))
        spec = spec_arguments.specify(fields, chosen, optimizers=optimizer or [], seeds=seed, name=name)
        spec = sweeps.expand(sweeps.parse(spec, grid or [], point or []))
        if dry_run:
            plan = client.check(spec)
            typer.echo(plan.model_dump_json(indent=2))
            return
        experiment = client.launch(spec)
        runs = [run.id for run in experiment.runs]
        typer.echo(json.dumps({"id": experiment.id, "runs": runs}) if as_json else experiment.id)
        if follow:
            _follow(client, [experiment.id], console=Console(stderr=as_json))


@app.command()
def health(
    name: Annotated[ServiceName, typer.Argument(help="Process to check.")],
) -> None:
    """Check whether a process is ready: exit code 0 if it is, otherwise 1."""
    if not answers(name, Settings()):
        raise typer.Exit(1)


@app.command(epilog=UNITS)
def watch(
    ids: Ids,
    interval: Annotated[float, typer.Option(min=0.1, help="Refresh interval in seconds.")] = 1.0,
    as_json: Annotated[bool, typer.Option("--json", help="Print only the runs as JSON at the end.")] = False,
) -> None:
    """Show the progress of runs until all have ended. Exit code 1 if one failed. Ctrl-C does not stop the runs."""
    with Client.of() as client:
        _follow(client, ids, interval, console=Console(quiet=as_json), as_json=as_json)


def _follow(client: Client, ids: list[str], interval: float = 1.0, *, console: Console, as_json: bool = False) -> None:
    try:
        runs = run_table.watch(lambda: runs_of(client, ids), console, interval=interval)
    except KeyboardInterrupt:
        raise typer.Exit(130) from None
    if as_json:
        typer.echo(run_table.records(runs))
    if any(run.status is RunStatus.FAILED for run in runs):
        raise typer.Exit(1)


@app.command("runs", epilog=UNITS)
def list_runs(
    experiment: Annotated[str | None, typer.Option(help="Only runs of this experiment.")] = None,
    status: Annotated[RunStatus | None, typer.Option(help="Only runs with this status.")] = None,
    limit: Annotated[int, typer.Option(min=1, max=1000, help="Maximum number, newest first.")] = 100,
    as_json: Json = False,
) -> None:
    """List runs: status, number of updates, last and best values."""
    with Client.of() as client:
        found = client.runs(experiment=experiment, status=status, limit=limit)
    if as_json:
        typer.echo(run_table.records(found))
    else:
        console = Console()
        console.print(run_table.shown(found, width=console.width))
