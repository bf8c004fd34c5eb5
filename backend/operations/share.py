"""`blockhf share`: a second dashboard, which only shows, for the devices of the network."""

import os
import socket
import sys
from io import StringIO

import segno

from backend.operations.supervisor import StartError, check_port
from backend.settings import Settings

SHARED_PORT = 8702


def own_address() -> str:
    """Return this computer's address in its network.

    Raises:
        StartError: it is in no network.
    """
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("192.0.2.1", 9))  # reserved for documentation; no packet is sent
        except OSError as error:
            raise StartError("this computer is in no network: connect it, or name its address with --host") from error
        address: str = probe.getsockname()[0]
    return address


def at_address(settings: Settings, host: str, port: int) -> Settings:
    """Return the settings of the second dashboard.

    Raises:
        PortTaken: the address cannot be used.
    """
    check_port(host, port, "--host or --port")
    return settings.model_copy(update={"dashboard_host": host, "dashboard_port": port})


def qr_text(text: str) -> str:
    """Return a text's QR code for a terminal."""
    drawn = StringIO()
    segno.make_qr(text).terminal(out=drawn, compact=True)
    return drawn.getvalue()


def serve_read_only(settings: Settings) -> None:
    """Become the second dashboard's process."""
    changes = {
        "BLOCKHF_BACKEND_URL": settings.api,
        "BLOCKHF_DASHBOARD_HOST": settings.dashboard_host,
        "BLOCKHF_DASHBOARD_PORT": str(settings.dashboard_port),
        "BLOCKHF_DASHBOARD_READ_ONLY": "1",
    }
    os.execve(sys.executable, [sys.executable, "-P", "-m", "dashboard"], os.environ | changes)
