"""The routes beside the pages: a read-only proxy to the backend, scripts, QR codes, health."""

import gzip
from collections.abc import Sequence
from contextlib import aclosing
from functools import cache
from pathlib import Path
from typing import Any

import httpx
import plotly
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import FileResponse, JSONResponse, Response, StreamingResponse
from starlette.routing import BaseRoute, Mount, Route
from starlette.staticfiles import StaticFiles
from starlette.types import Receive, Scope, Send

from backend.errors import BackendUnavailable, BlockHFError
from dashboard.server.qr import qr_code
from dashboard.ui.theme import STATIC

PLOTLY = Path(plotly.__file__).parent / "package_data" / "plotly.min.js"
_LARGE = 2**20
_FILES = (".csv", ".json", ".parquet", ".safetensors")
_FILE_SECONDS = 600
_FORWARDED = ("content-type", "content-disposition", "cache-control")


class BackendProxy:
    """Forwards GET /api/... to the backend, so that the browser needs one origin and no token."""

    def __init__(self, http: httpx.AsyncClient) -> None:
        self.http = http

    async def __call__(self, request: Request) -> Response:
        """Return the backend's answer; 503 if it is unreachable."""
        url = httpx.URL(raw_path=request.scope["raw_path"] + b"?" + request.scope["query_string"])
        try:
            patience = _FILE_SECONDS if url.path.endswith(_FILES) else httpx.USE_CLIENT_DEFAULT
            answer = await self.http.send(self.http.build_request("GET", url, timeout=patience), stream=True)
            headers = {name: answer.headers[name] for name in _FORWARDED if name in answer.headers}
            length = answer.headers.get("content-length")
            if length is None or int(length) > _LARGE:
                return _Large(answer, headers)
            return Response(await answer.aread(), answer.status_code, headers)
        except httpx.HTTPError:
            return _problem(BackendUnavailable("the backend is unreachable"))


class _Large(StreamingResponse):
    """A large answer, forwarded in pieces: it is never in memory as a whole. It may have no length."""

    def __init__(self, answer: httpx.Response, headers: dict[str, str]) -> None:
        passed = () if "content-encoding" in answer.headers else ("content-length",)
        length = {name: answer.headers[name] for name in passed if name in answer.headers}
        super().__init__(answer.aiter_bytes(), answer.status_code, headers | length)
        self._answer = answer

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async with aclosing(self._answer):
            await super().__call__(scope, receive, send)


def _problem(error: BlockHFError) -> Response:
    return JSONResponse(error.body(), error.status, media_type="application/problem+json")


async def health(_: Request) -> Response:
    """Report that the dashboard's process serves."""
    return JSONResponse({"status": "ok"})


async def plotly_script(request: Request) -> Response:
    """Serve plotly.js from the installed plotly package, so that the pages work without the internet."""
    headers = {"cache-control": "public, max-age=86400", "vary": "accept-encoding"}
    if "gzip" not in request.headers.get("accept-encoding", ""):
        return FileResponse(PLOTLY, media_type="text/javascript", headers=headers)
    packed = await run_in_threadpool(_packed_plotly)
    return Response(packed, media_type="text/javascript", headers=headers | {"content-encoding": "gzip"})


@cache
def _packed_plotly() -> bytes:
    """Compress the script once; it takes a third of a second."""
    return gzip.compress(PLOTLY.read_bytes(), 6)


class Assets(StaticFiles):
    """The components' scripts; the browser revalidates them before each use, so that it notices an upgrade."""

    def file_response(self, *args: Any, **kwargs: Any) -> Response:
        """Serve a file that the browser must revalidate."""
        response = super().file_response(*args, **kwargs)
        response.headers["cache-control"] = "no-cache"
        return response


def create_routes(http: httpx.AsyncClient) -> Sequence[BaseRoute]:
    """Return the routes; the base URL of `http` is the backend's address."""
    return [
        Route("/healthz", health, methods=["GET"]),
        Route("/api/{path:path}", BackendProxy(http).__call__, methods=["GET"]),
        Route("/plotly.min.js", plotly_script, methods=["GET"]),
        Route("/qr.svg", qr_code, methods=["GET"]),
        Mount("/assets", Assets(directory=STATIC)),
    ]
