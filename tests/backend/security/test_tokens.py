"""Tests of tokens: stored as hashes, limited by scope, and required if other machines can connect."""

import json
import os
import socket
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from pydantic import SecretStr

from backend.errors import Conflict, NotFound
from backend.operations.supervisor import Stack
from backend.schemas.api import Scope
from backend.security.tokens import EVERYTHING, Tokens, Unsafe, check_address
from backend.settings import Settings
from tests.processes import DEADLINE

OWN = "a-token-of-the-environment"


def test_without_any_token_none_is_needed(settings: Settings) -> None:
    """A backend on its own machine lets in everybody until it has a token."""
    tokens = Tokens(settings)
    assert not tokens.required
    tokens.create("me", frozenset({Scope.READ}))
    assert tokens.required


@pytest.mark.parametrize("host", ["127.0.0.1", "0.0.0.0"])
def test_the_last_tokens_end_opens_nothing(settings: Settings, host: str) -> None:
    """A backend that required a token continues to require one after the last token or the file is deleted."""
    chosen = settings.model_copy(update={"host": host})
    running, command = Tokens(chosen), Tokens(settings)
    secret = command.create("me", EVERYTHING)
    assert running.required
    command.delete("me")
    assert running.required
    assert running.scopes(secret) is None
    (settings.home / "tokens.json").unlink()
    assert running.required
    assert Tokens(chosen).required == (host == "0.0.0.0")


def test_a_token_is_good_for_its_scopes(settings: Settings) -> None:
    """Each token has the scopes it was made with, BLOCKHF_TOKEN has all, another has none."""
    tokens = Tokens(settings.model_copy(update={"token": SecretStr(OWN)}))
    reader, worker = tokens.create("r", frozenset({Scope.READ})), tokens.create("w", frozenset({Scope.WORKER}))
    assert tokens.scopes(reader) == frozenset({Scope.READ})
    assert tokens.scopes(worker) == frozenset({Scope.WORKER})
    assert tokens.scopes(OWN) == EVERYTHING
    for wrong in ("", "x", reader[:-1], reader + "x", reader.swapcase(), "\udcff", OWN.upper()):
        assert tokens.scopes(wrong) is None


def test_a_token_is_never_kept(settings: Settings) -> None:
    """The file has names, scopes and hashes, no token, and only its owner can read it."""
    secret = Tokens(settings).create("me", EVERYTHING)
    path = settings.home / "tokens.json"
    assert secret not in path.read_text()
    assert path.stat().st_mode & 0o777 == 0o600
    (row,) = json.loads(path.read_text())["tokens"]
    assert (row["name"], row["scopes"]) == ("me", ["launch", "read", "worker"])


def test_other_processes_tokens_count_at_once(settings: Settings) -> None:
    """What the command line makes or deletes is known to a backend that runs."""
    running, command = Tokens(settings), Tokens(settings)
    secret = command.create("me", EVERYTHING)
    assert running.scopes(secret) == EVERYTHING
    command.delete("me")
    assert running.scopes(secret) is None


def test_tokens_made_at_once_are_all_kept(settings: Settings) -> None:
    """Each command reads the file anew where another has written it meanwhile."""
    with ThreadPoolExecutor(8) as pool:
        made = list(pool.map(lambda n: Tokens(settings).create(f"t{n}", EVERYTHING), range(24)))
        assert all(Tokens(settings).scopes(token) == EVERYTHING for token in made)
        list(pool.map(lambda n: Tokens(settings).delete(f"t{n}"), range(24)))
    assert Tokens(settings).list() == []


def test_names_are_unique(settings: Settings) -> None:
    """A name cannot be given twice, nor a name deleted that was not given."""
    tokens = Tokens(settings)
    tokens.create("me", EVERYTHING)
    with pytest.raises(Conflict, match="me"):
        tokens.create("me", EVERYTHING)
    with pytest.raises(NotFound, match="you"):
        tokens.delete("you")


@pytest.mark.parametrize("content", ["", "{", "[]", '{"tokens": [{"name": "x"}]}', '{"tokens": null}', "{}"])
def test_a_broken_file_lets_nobody_in(settings: Settings, content: str) -> None:
    """A file that cannot be understood is an error, not an absence of tokens."""
    (settings.home / "tokens.json").write_text(content)
    with pytest.raises(Unsafe):
        _ = Tokens(settings).required


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.0.2.1", "example.org"])
def test_other_machines_need_a_token(settings: Settings, host: str) -> None:
    """Beyond loopback the backend starts with a token, or where the network is said to be closed."""
    outside = settings.model_copy(update={"host": host})
    with pytest.raises(Unsafe, match="BLOCKHF_TOKEN"):
        check_address(outside)
    check_address(outside.model_copy(update={"allow_unauthenticated_network": True}))
    check_address(outside.model_copy(update={"token": SecretStr(OWN)}))
    Tokens(settings).create("me", EVERYTHING)
    check_address(outside)


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "::1"])
def test_this_machine_needs_none(settings: Settings, host: str) -> None:
    """On loopback the backend needs no token; a short token is refused everywhere."""
    check_address(settings.model_copy(update={"host": host}))
    with pytest.raises(Unsafe, match="at least 20"):
        check_address(settings.model_copy(update={"host": host, "token": SecretStr("password")}))


def test_the_process_refuses_to_start(tmp_path: Path) -> None:
    """`python -m backend` on an open address without a token ends with one line and touches nothing."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    home = tmp_path / "home"
    environment = {name: value for name, value in os.environ.items() if not name.startswith("BLOCKHF_")}
    environment |= {"BLOCKHF_HOST": "0.0.0.0", "BLOCKHF_PORT": str(port), "BLOCKHF_HOME": str(home)}
    done = subprocess.run(
        [sys.executable, "-m", "backend"], env=environment, capture_output=True, text=True, timeout=DEADLINE
    )
    assert done.returncode == 1
    assert done.stderr.startswith("error: BLOCKHF_HOST is 0.0.0.0")
    assert done.stderr.count("\n") == 1
    assert not home.exists()


def test_up_gives_its_processes_a_token(settings: Settings) -> None:
    """Where a token is needed and none is set, backend, worker and dashboard share one drawn for them."""
    assert "BLOCKHF_TOKEN" not in Stack(settings, print).environment
    Tokens(settings).create("me", EVERYTHING)
    stack = Stack(settings, print)
    drawn = stack.environment["BLOCKHF_TOKEN"]
    assert stack.settings.authorization == {"Authorization": f"Bearer {drawn}"}
    assert Tokens(stack.settings).scopes(drawn) == EVERYTHING
