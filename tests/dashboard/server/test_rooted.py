"""The script that tells a page where its server is."""

import httpx
import pytest
from anyio.from_thread import start_blocking_portal
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.middleware.gzip import GZipMiddleware
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, Response
from starlette.routing import Route

from dashboard.server.rooted import Rooted

PAGE = "<!doctype html><html><head><title>\u00e9</title></head></html>"


async def answer(request: Request) -> Response:
    """Answer as a page, as data, or with nothing."""
    if request.url.path == "/data":
        return JSONResponse({"text": "<head>"})
    return HTMLResponse(PAGE) if request.url.path == "/page" else Response(status_code=304)


@pytest.mark.parametrize(("path", "written"), [("/page", True), ("/data", False), ("/unchanged", False)])
def test_pages_alone_are_written_into(path: str, *, written: bool) -> None:
    """A page says where the server is, before any other script; its length is right; data stays as it is."""
    packing = [Middleware(GZipMiddleware, minimum_size=10)]
    app = Rooted(Starlette(routes=[Route(one, answer) for one in ("/page", "/data", "/unchanged")], middleware=packing))

    async def get() -> httpx.Response:
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://127.0.0.1") as client:
            return await client.get(path)

    with start_blocking_portal() as portal:
        got = portal.call(get)
    assert ("BACKEND_BASE_URL" in got.text) is written
    if written:
        assert int(got.headers["content-length"]) == len(got.content)
        assert got.text.startswith("<!doctype html><html><head><script>")
        assert got.text.endswith("</script><title>\u00e9</title></head></html>")
