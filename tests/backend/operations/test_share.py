"""`blockhf share`: checks before the second dashboard starts."""

import socket
from pathlib import Path

import pytest

from backend.operations import share
from backend.operations.supervisor import PortTaken, StartError
from backend.settings import Settings


def test_the_second_dashboard_has_its_own_address(tmp_path: Path) -> None:
    """It keeps the backend; a port in use is refused."""
    settings = Settings(home=tmp_path, port=18999)
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port: int = taken.getsockname()[1]
        with pytest.raises(PortTaken):
            share.at_address(settings, "127.0.0.1", port)
    shared = share.at_address(settings, "127.0.0.1", port)
    assert (shared.dashboard, shared.api) == (f"http://127.0.0.1:{port}", settings.api)


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
