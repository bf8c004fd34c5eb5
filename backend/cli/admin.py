"""The operator's commands: tokens, doctor, backup. They work on the backend's own machine, on its files."""

from pathlib import Path
from typing import Annotated

import typer

from backend.operations.backup import backup
from backend.operations.doctor import examine, repair
from backend.security.tokens import Scope, Tokens
from backend.settings import Settings

app = typer.Typer()
tokens = typer.Typer(help="Make, list and delete tokens: who may read, launch, or work.", no_args_is_help=True)
app.add_typer(tokens, name="token")


@tokens.command("create")
def create_token(
    name: Annotated[str, typer.Argument(help="Whose it is, to delete it by.")],
    scope: Annotated[list[Scope], typer.Option("--scope", help="What it is good for. May be repeated.")],
) -> None:
    """Make a token and print it, this once; from now on requests need one."""
    typer.echo(Tokens(Settings()).create(name, frozenset(scope)))


@tokens.command("list")
def list_tokens() -> None:
    """List names and scopes; the tokens themselves are known to nobody."""
    for token in Tokens(Settings()).list():
        typer.echo(f"{token.name} {','.join(token.scopes)}")


@tokens.command("delete")
def delete_token(name: Annotated[str, typer.Argument(help="Whose it is.")]) -> None:
    """Delete a token: its next request is refused."""
    Tokens(Settings()).delete(name)


@app.command()
def doctor(
    mend: Annotated[bool, typer.Option("--repair", help="Repair what can be repaired without losing a row.")] = False,
) -> None:
    """Check database, disk, tokens, checkpoints, while the backend runs or not; exit code 1 if a fault is left."""
    settings = Settings()
    findings = examine(settings)
    for finding in findings:
        cure = "" if not finding.repairable else " (repaired)" if mend else " (--repair mends it)"
        typer.echo(f"{'note: ' if finding.note else ''}{finding.text}{cure}")
    left = repair(settings, findings) if mend else sum(not finding.note for finding in findings)
    if left:
        raise typer.Exit(1)
    typer.echo("all is well")


@app.command("backup")
def make_backup(target: Annotated[Path, typer.Argument(help="The file to write, replaced when it exists.")]) -> None:
    """Copy the database to a file while the backend works; to restore, stop it and put the file in its place."""
    typer.echo(f"{target}: {backup(Settings(), target):,} bytes")
