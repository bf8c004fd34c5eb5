"""Tests that pages of other sites get nothing from ours."""

from collections.abc import Iterator

import httpx
import pytest
from anyio.from_thread import BlockingPortal, start_blocking_portal
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.responses import PlainTextResponse
from starlette.routing import Route, WebSocketRoute
from starlette.types import Message
from starlette.websockets import WebSocket

from dashboard.server.same_origin import HEADERS, SameOrigin

URL = "http://127.0.0.1:8701"
FOREIGN = [
    {"Origin": "http://evil.example"}, {"Origin": "null"}, {"Origin": "http://127.0.0.1:8700"}, {"Origin": ""},
    {"Sec-Fetch-Site": "cross-site"}, {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "no-cors"},
    {"Origin": "http://127.0.0.1:8701.evil.example"},
]  # fmt: skip
OURS: list[dict[str, str]] = [
    {}, {"Origin": URL}, {"Origin": "HTTP://127.0.0.1:8701"}, {"Sec-Fetch-Site": "same-origin"},
    {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate"}, {"Sec-Fetch-Site": "none"},
]  # fmt: skip


async def _accept(socket: WebSocket) -> None:
    await socket.accept()
    await socket.close()


APP = Starlette(
    routes=[Route("/", lambda _: PlainTextResponse("ours"), methods=["GET", "POST"]), WebSocketRoute("/ws", _accept)],
    middleware=[Middleware(SameOrigin)],
)


@pytest.fixture
def portal() -> Iterator[BlockingPortal]:
    """Run coroutines."""
    with start_blocking_portal() as portal:
        yield portal


def ask(portal: BlockingPortal, method: str, path: str, headers: dict[str, str]) -> httpx.Response:
    """Send a request."""

    async def send() -> httpx.Response:
        async with httpx.AsyncClient(transport=httpx.ASGITransport(APP), base_url=URL) as client:
            return await client.request(method, path, headers=headers)

    return portal.call(send)


@pytest.mark.parametrize("method", ["GET", "POST"])
@pytest.mark.parametrize("headers", FOREIGN)
def test_other_sites_are_refused(portal: BlockingPortal, method: str, headers: dict[str, str]) -> None:
    """Whatever a page of another site, port or no site sends is a 403, on paths that are not there, too."""
    for path in ("/", "/nowhere"):
        answer = ask(portal, method, path, headers)
        assert (answer.status_code, answer.json()["type"]) == (403, "urn:blockhf:forbidden")
        assert {name: answer.headers.get(name) for name in HEADERS} == HEADERS


@pytest.mark.parametrize("method", ["GET", "POST"])
@pytest.mark.parametrize("headers", OURS)
def test_our_pages_and_links_pass(portal: BlockingPortal, method: str, headers: dict[str, str]) -> None:
    """Our own pages, scripts and typed addresses pass, and links from elsewhere; no page may show the answer."""
    answer = ask(portal, method, "/", headers)
    assert (answer.status_code, answer.text) == (200, "ours")
    assert {name: answer.headers.get(name) for name in HEADERS} == HEADERS


@pytest.mark.parametrize(("headers", "first"), [(FOREIGN[0], "websocket.close"), (OURS[1], "websocket.accept")])
def test_streams_of_other_sites_are_refused(portal: BlockingPortal, headers: dict[str, str], first: str) -> None:
    """A page of another site opens no websocket."""
    sent: list[Message] = []

    async def send(message: Message) -> None:
        sent.append(message)

    async def receive() -> Message:
        return {"type": "websocket.connect"}

    async def connect() -> None:
        lines = [(b"host", b"127.0.0.1:8701"), *((name.lower().encode(), v.encode()) for name, v in headers.items())]
        scope = {"type": "websocket", "path": "/ws", "query_string": b"", "headers": lines, "subprotocols": []}
        await APP(scope, receive, send)

    portal.call(connect)
    assert sent[0]["type"] == first
