"""A backend inside the test's own process: the real application over a real file, reached without a socket."""

import copy
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from time import time
from typing import Any

import httpx
from anyio.from_thread import BlockingPortal, start_blocking_portal
from fastapi import FastAPI

from backend.api.app import create_app
from backend.settings import Settings
from backend.storage.database import Database, parse


class _Transport(httpx.BaseTransport):
    """Runs each request of a synchronous httpx client through an ASGI application."""

    def __init__(self, app: FastAPI, portal: BlockingPortal) -> None:
        self._inner = httpx.ASGITransport(app, raise_app_exceptions=False)
        self._portal = portal

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        """Answer from the application, with the whole body."""
        request.read()
        return self._portal.call(self._answer, request)

    async def _answer(self, request: httpx.Request) -> httpx.Response:
        answer = await self._inner.handle_async_request(request)
        return httpx.Response(answer.status_code, headers=answer.headers, content=await answer.aread())


def api_description() -> dict[str, Any]:
    """Return a copy of the API's description: schemathesis changes the one that it gets."""
    return copy.deepcopy(_api_description())


@cache
def _api_description() -> dict[str, Any]:
    """Make the description, which takes a second and is needed by several modules."""
    return create_app(Settings()).openapi()


@cache
def _empty_database() -> bytes:
    """Return a SQLite file with all tables and no row."""
    with TemporaryDirectory() as home:
        settings = Settings(home=Path(home))
        Database(settings.url).close()
        return _file(settings).read_bytes()


def _file(settings: Settings) -> Path:
    return Path(str(parse(settings.url).database))


def create_tables(settings: Settings) -> None:
    """Create the tables of a SQLite database that does not exist yet: a copy is faster than all migrations."""
    if not settings.database_url and not _file(settings).exists():
        settings.home.mkdir(parents=True, exist_ok=True)
        _file(settings).write_bytes(_empty_database())


@contextmanager
def backend(settings: Settings, *, clock: Callable[[], float] = time) -> Iterator[httpx.Client]:
    """Start an application and give an httpx client of it (what `Client(http=...)` takes); stop it at the end."""
    create_tables(settings)
    app = create_app(settings, clock=clock)
    with (
        start_blocking_portal() as portal,
        portal.wrap_async_context_manager(app.router.lifespan_context(app)),
        httpx.Client(transport=_Transport(app, portal), base_url="http://127.0.0.1") as http,
    ):
        yield http
