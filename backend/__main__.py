"""`python -m backend`: serve the API on the address that the settings give."""

import sys

import uvicorn

from backend import heap, logs
from backend.app import create_app
from backend.database import Unusable, reserved
from backend.settings import Settings, from_environment
from backend.tokens import Unsafe, check_address


def main() -> None:
    """Serve until a signal ends it."""
    settings = from_environment()
    try:
        check_address(settings)
        logs.configure(settings)
        heap.tighten()
        with reserved(settings.url):
            _serve(settings)
    except (Unsafe, Unusable) as error:
        sys.exit(f"error: {error}")


def _serve(settings: Settings) -> None:
    uvicorn.run(
        create_app(settings),
        host=settings.host,
        port=settings.port,
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,
        timeout_graceful_shutdown=5,
    )


if __name__ == "__main__":
    main()
