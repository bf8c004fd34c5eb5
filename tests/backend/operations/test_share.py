"""`blockhf share`: checks before the second dashboard starts."""

import socket
from pathlib import Path

import pytest

from backend.errors import Unauthorized
from backend.operations import share
from backend.operations.supervisor import PortTaken, StartError
from backend.schemas.api import Access
from backend.settings import Settings


def test_the_second_dashboard_has_its_own_address(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It keeps the backend; a port in use is refused."""
    monkeypatch.setattr(share.Client, "access", lambda _: Access(scopes=[]))
    settings = Settings(home=tmp_path, port=18999)
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        with pytest.raises(PortTaken):
            share.readable(settings, "127.0.0.1", taken.getsockname()[1])
        port = taken.getsockname()[1]
    shared = share.readable(settings, "127.0.0.1", port)
    assert (shared.dashboard, shared.api) == (f"http://127.0.0.1:{port}", settings.api)


def test_a_refused_token_is_explained(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The error names the command that creates a token."""

    def refuse(_: object) -> Access:
        raise Unauthorized("send a token")

    monkeypatch.setattr(share.Client, "access", refuse)
    with pytest.raises(StartError, match="token create"):
        share.readable(Settings(home=tmp_path), "127.0.0.1", 1)


def test_a_computer_without_network_is_told_so(monkeypatch: pytest.MonkeyPatch) -> None:
    """The error names the option that gives an address."""

    def unreachable(*_: object) -> None:
        raise OSError(101, "Network is unreachable")

    monkeypatch.setattr(socket.socket, "connect", unreachable)
    with pytest.raises(StartError, match="--host"):
        share.own_address()


def test_the_code_is_drawn_for_a_terminal() -> None:
    """Two addresses have two codes."""
    assert share.qr_text("http://192.0.2.5:8702") != share.qr_text("http://192.0.2.6:8702")
