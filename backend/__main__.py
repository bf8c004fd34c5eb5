"""`python -m backend`: serve the API at BLOCKHF_HOST and BLOCKHF_PORT."""

import sys

import uvicorn

from backend.api import logging
from backend.api.app import create_app
from backend.security.tokens import Unsafe, check_address
from backend.settings import Settings, from_environment
from backend.storage.database import Unusable, reserved


def main() -> None:
    """Serve until a signal stops it."""
    settings = from_environment()
    try:
        check_address(settings)
        logging.configure(settings)
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
