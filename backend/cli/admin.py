"""Commands for the operator: token, doctor, backup. They work on the files of the backend's machine."""

from pathlib import Path
from typing import Annotated

import typer

from backend.operations.backup import backup
from backend.operations.doctor import examine, repair
from backend.schemas.api import Scope
from backend.security.tokens import Tokens
from backend.settings import Settings

app = typer.Typer()
tokens = typer.Typer(help="Create, list and delete API tokens.", no_args_is_help=True)
app.add_typer(tokens, name="token")


@tokens.command("create")
def create_token(
    name: Annotated[str, typer.Argument(help="Token name.")],
    scope: Annotated[list[Scope], typer.Option("--scope", help="What the token allows. May be repeated.")],
) -> None:
    """Create a token and print it (shown only once). Requests then require a token."""
    typer.echo(Tokens(Settings()).create(name, frozenset(scope)))
    typer.echo("Restart a running `blockhf up`, so that its worker and dashboard get a token.", err=True)


@tokens.command("list")
def list_tokens() -> None:
    """List token names and scopes (tokens are stored hashed)."""
    for token in Tokens(Settings()).list():
        typer.echo(f"{token.name} {','.join(token.scopes)}")


@tokens.command("delete")
def delete_token(name: Annotated[str, typer.Argument(help="Token name.")]) -> None:
    """Delete a token: its next request is refused."""
    Tokens(Settings()).delete(name)


@app.command()
def doctor(
    repair_now: Annotated[
        bool, typer.Option("--repair", help="Repair what can be repaired without losing rows.")
    ] = False,
) -> None:
    """Check database, disk, tokens and checkpoints. The backend may run. Exit code 1 if problems are left."""
    settings = Settings()
    findings = examine(settings)
    for finding in findings:
        suffix = "" if not finding.repairable else " (repaired)" if repair_now else " (can be fixed with --repair)"
        typer.echo(f"{'note: ' if finding.note else ''}{finding.text}{suffix}")
    left = repair(settings, findings) if repair_now else sum(not finding.note for finding in findings)
    if left:
        raise typer.Exit(1)
    typer.echo("no problems found")


@app.command("backup")
def make_backup(
    target: Annotated[Path, typer.Argument(help="The file to write; an existing file is replaced.")],
) -> None:
    """Copy the database to a file; the backend may run. To restore, stop the backend and replace its database."""
    typer.echo(f"{target}: {backup(Settings(), target):,} bytes")
