"""The dashboard's server: Streamlit's pages and the proxy's routes on the same origin."""

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import streamlit
from starlette.middleware import Middleware
from starlette.middleware.trustedhost import TrustedHostMiddleware

from backend.settings import Settings
from dashboard.server.proxy import create_routes
from dashboard.server.same_origin import SameOrigin
from dashboard.ui.theme import streamlit_theme

SCRIPT = Path(__file__).parent.parent / "pages" / "streamlit_app.py"


def streamlit_options(settings: Settings) -> dict[str, Any]:
    """Return all Streamlit settings, so that no configuration file is needed."""
    return {
        "server.address": settings.dashboard_host,
        "server.port": settings.dashboard_port,
        "server.headless": True,
        "server.fileWatcherType": "none",
        "server.allowedHosts": [name.strip("[]") for name in settings.names(settings.dashboard_host)],
        "server.enableAgentApi": False,
        "server.showEmailPrompt": False,
        "browser.gatherUsageStats": False,
        "client.toolbarMode": "minimal",
        "client.showErrorDetails": "type",
        "client.showErrorLinks": False,
        "logger.level": "warning",
        "logger.hideWelcomeMessage": True,
    } | streamlit_theme()


def create_app(settings: Settings) -> "streamlit.App":
    """Create the ASGI application: pages, routes and the same-origin check."""
    http = httpx.AsyncClient(base_url=settings.api, headers=settings.authorization, timeout=10, trust_env=False)

    @asynccontextmanager
    async def lifespan(_: "streamlit.App") -> AsyncIterator[None]:
        async with http:
            yield

    return streamlit.App(
        SCRIPT,
        routes=create_routes(http),
        middleware=[
            Middleware(
                TrustedHostMiddleware, allowed_hosts=settings.names(settings.dashboard_host), www_redirect=False
            ),
            Middleware(SameOrigin),
        ],
        lifespan=lifespan,
    )


def serve(settings: Settings) -> None:
    """Serve until SIGINT or SIGTERM; the pages read the backend's address from the environment."""
    os.environ["BLOCKHF_BACKEND_URL"] = settings.api
    create_app(settings).run(config=streamlit_options(settings))
