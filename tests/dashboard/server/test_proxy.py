"""The routes beside the pages."""

from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
from anyio.from_thread import BlockingPortal, start_blocking_portal
from starlette.applications import Starlette

from backend.api.app import create_app
from backend.settings import Settings
from dashboard.server.proxy import create_routes


@dataclass
class Pages:
    """Sends requests to our routes, which ask `backend`."""

    portal: BlockingPortal
    backend: httpx.AsyncClient

    def request(self, method: str, path: str, **parts: Any) -> httpx.Response:
        """Send one request."""
        answer: httpx.Response = self.portal.call(self._request, method, path, parts)
        return answer

    def get(self, path: str) -> httpx.Response:
        """Send a GET."""
        return self.request("GET", path)

    async def _request(self, method: str, path: str, parts: dict[str, Any]) -> httpx.Response:
        transport = httpx.ASGITransport(Starlette(routes=create_routes(self.backend)))
        async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1:8701") as client:
            return await client.request(method, path, **parts)


@pytest.fixture
def pages(tmp_path: Path) -> Iterator[Pages]:
    """Our routes before a real backend in the same process."""
    app = create_app(Settings(home=tmp_path))
    http = httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://127.0.0.1:8700")
    with start_blocking_portal() as portal, portal.wrap_async_context_manager(app.router.lifespan_context(app)):
        yield Pages(portal, http)


def test_get_passes_through_with_its_query(pages: Pages) -> None:
    """A GET reaches the backend with its query, and the backend's answer and status come back."""
    answer = pages.get("/api/v1/experiments?limit=3")
    assert (answer.status_code, answer.json()) == (200, {"experiments": []})
    refused = pages.get("/api/v1/experiments?limit=-3")
    assert refused.status_code == 422
    assert refused.headers["content-type"] == "application/problem+json"


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE"])
def test_nothing_but_get_passes(pages: Pages, method: str) -> None:
    """The pass-through cannot change anything."""
    assert pages.request(method, "/api/v1/experiments", json={}).status_code == 405


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/api/%00", 404),
        ("/api/v1/runs?status=%FF", 422),
        ("/api/%2e%2e/metrics", 404),
        ("/api/v1/runs/%2F%2e%2e", 404),
    ],
)
def test_odd_addresses_reach_the_backend_as_they_are(pages: Pages, path: str, status: int) -> None:
    """What was encoded stays so: no path leads out of /api, and the backend says what is wrong with it."""
    answer = pages.get(path)
    assert answer.status_code == status
    assert answer.headers["content-type"] == "application/problem+json"


def test_a_lost_backend_is_said() -> None:
    """Where the backend does not answer, the pass-through says so as problem details."""
    http = httpx.AsyncClient(base_url="http://127.0.0.1:9", trust_env=False)
    with start_blocking_portal() as portal:
        answer = Pages(portal, http).get("/api/v1/runs")
    assert (answer.status_code, answer.json()["type"]) == (503, "urn:blockhf:unavailable")


def test_large_answers_pass_as_they_come() -> None:
    """A file is sent on piece by piece: the first leaves before the last has come; then the answer is closed."""
    happened: list[str] = []

    class Body(httpx.AsyncByteStream):
        async def __aiter__(self) -> AsyncIterator[bytes]:
            for n in range(3):
                happened.append(f"read {n}")
                yield bytes([n]) * 2**20

        async def aclose(self) -> None:
            happened.append("closed")

    answer = httpx.Response(
        200, headers={"content-length": str(3 * 2**20), "content-disposition": "attachment"}, stream=Body()
    )
    http = httpx.AsyncClient(transport=httpx.MockTransport(lambda _: answer), base_url="http://127.0.0.1:9")
    [route] = [route for route in create_routes(http) if getattr(route, "path", "") == "/api/{path:path}"]
    sent: list[bytes] = []
    headers: dict[bytes, bytes] = {}

    async def send(message: Any) -> None:
        headers.update(message.get("headers", ()))
        if message.get("body"):
            happened.append(f"sent {message['body'][0]}")
            sent.append(message["body"])

    async def receive() -> Any:
        return {"type": "http.request"}

    async def visit() -> None:
        scope = {
            "type": "http", "method": "GET", "path": "/api/v1/x", "raw_path": b"/api/v1/x", "query_string": b"",
            "headers": [], "asgi": {"spec_version": "2.4"}, "path_params": {},
        }  # fmt: skip
        await Starlette(routes=[route])(scope, receive, send)

    with start_blocking_portal() as portal:
        portal.call(visit)
    assert happened == ["read 0", "sent 0", "read 1", "sent 1", "read 2", "sent 2", "closed"]
    assert headers == {b"content-length": b"%d" % (3 * 2**20), b"content-disposition": b"attachment"}
    assert b"".join(sent) == b"".join(bytes([n]) * 2**20 for n in range(3))


def test_scripts_come_from_the_package(pages: Pages) -> None:
    """plotly.js and the component's script are served without any network."""
    packed = pages.get("/plotly.min.js")
    assert packed.headers["content-encoding"] == "gzip"
    assert packed.text[:200].count("plotly.js")
    plain = pages.request("GET", "/plotly.min.js", headers={"accept-encoding": "identity"})
    assert plain.content == packed.content
    script = pages.get("/assets/live.js")
    assert script.headers["content-type"].startswith("text/javascript")
    assert script.headers["cache-control"] == "no-cache"


@pytest.mark.parametrize("path", ["/assets/../theme.py", "/assets/%2e%2e/theme.py", "/assets/..%2ftheme.py"])
def test_nothing_outside_the_assets_is_served(pages: Pages, path: str) -> None:
    """A path that climbs out of the folder finds nothing."""
    assert pages.get(path).status_code == 404


def test_the_dashboard_says_that_it_serves(pages: Pages) -> None:
    """The health route answers without the backend."""
    assert pages.get("/healthz").json() == {"status": "ok"}
