"""What a browser is told to fetch early."""

import httpx
import pytest
from anyio.from_thread import start_blocking_portal
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, Response
from starlette.routing import Route

from dashboard.server.preload import Preload, imported
from dashboard.ui.theme import STATIC


async def page(request: Request) -> Response:
    """Answer as a page, or as data."""
    return JSONResponse({}) if "data" in request.query_params else HTMLResponse("<p>page</p>")


@pytest.mark.parametrize(("url", "told"), [("/", True), ("/run?id=a", True), ("/queue", False), ("/?data", False)])
def test_pages_with_curves_name_their_scripts(url: str, *, told: bool) -> None:
    """The header stands with those pages alone, and every file in it exists."""
    app = Preload(Starlette(routes=[Route(path, page) for path in ("/", "/run", "/queue")]))

    async def get() -> httpx.Response:
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://127.0.0.1") as client:
            return await client.get(url)

    with start_blocking_portal() as portal:
        links = portal.call(get).headers.get("link", "")
    assert ("</plotly.min.js>; rel=preload; as=script" in links) is told
    for link in links.split(", ") if told else []:
        name = link.partition(">")[0].removeprefix("</assets/")
        assert (STATIC / name).exists() or name == "</plotly.min.js"


def test_imports_are_followed() -> None:
    """A script's imports and theirs are found once each."""
    assert imported("watch.js") == ["watch.js", "dom.js", "store.js", "detail.js", "filter.js", "series.js"]
