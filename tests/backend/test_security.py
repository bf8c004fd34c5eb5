"""Tests of the guard: what another site or a careless sender may not do, on every route and method."""

from collections.abc import Iterator

import httpx
import pytest

from backend.app import create_app
from backend.security import Guard
from backend.settings import Settings
from tests.inprocess import backend

METHODS = ["GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "HEAD"]
PATHS = sorted(
    path.replace("{", "").replace("}", "")
    for path in [*create_app(Settings()).openapi()["paths"], "/", "/api/v1/openapi.json", "/docs", "/nowhere"]
)
FOREIGN = {
    "rebinding": {"Host": "evil.example"},
    "rebinding with port": {"Host": "evil.example:8700"},
    "suffix": {"Host": "localhost.evil.example"},
    "no host": {"Host": ""},
    "userinfo": {"Host": "localhost@evil.example"},
    "other site": {"Origin": "http://evil.example"},
    "other port": {"Origin": "http://127.0.0.1:3000"},
    "opaque origin": {"Origin": "null"},
    "hidden origin": {"Sec-Fetch-Site": "cross-site"},
}


@pytest.fixture(scope="module")
def http(tmp_path_factory: pytest.TempPathFactory) -> Iterator[httpx.Client]:
    """Start one application for all of these tests, which leave it as it is."""
    with backend(Settings(home=tmp_path_factory.mktemp("home"))) as http:
        yield http


def test_the_paths_are_those_of_the_application() -> None:
    """The walk over routes really finds them."""
    assert len(PATHS) >= 20
    assert "/api/v1/runs/run_id/updates" in PATHS


@pytest.mark.parametrize("headers", FOREIGN.values(), ids=FOREIGN)
def test_foreign_requests_are_refused_everywhere(http: httpx.Client, headers: dict[str, str]) -> None:
    """A foreign Host or Origin gets 403 on each route by each method, known or not."""
    answers = {(m, p): http.request(m, p, headers=headers).status_code for m in METHODS for p in PATHS}
    assert {place: status for place, status in answers.items() if status != 403} == {}


@pytest.mark.parametrize(
    "headers",
    [
        {"Host": "localhost:8700"},
        {"Host": "LOCALHOST"},
        {"Host": "[::1]:8700"},
        {"Host": "127.0.0.1:9", "Origin": "http://127.0.0.1:9"},
        {"Sec-Fetch-Site": "same-origin"},
        {"Sec-Fetch-Site": "none"},
    ],
)
def test_our_own_requests_pass(http: httpx.Client, headers: dict[str, str]) -> None:
    """The machine's own names, pages of the same origin and typed addresses are let in."""
    assert http.get("/health", headers=headers).status_code == 200


def test_other_names_can_be_allowed(settings: Settings) -> None:
    """The setting says by which names the backend may be called."""
    with backend(settings.model_copy(update={"allowed_hosts": "lab.example, other"})) as http:
        assert http.get("/health", headers={"Host": "lab.example:8700"}).status_code == 200
        assert http.get("/health").status_code == 403


@pytest.mark.parametrize("path", ["/health", "/api/v1/runs", "/api/v1/runs/nowhere0", "/nowhere"])
def test_browsers_are_told_to_be_careful(http: httpx.Client, path: str) -> None:
    """Every answer forbids sniffing, framing, caching and scripts, and does not name the server."""
    for headers in (http.get(path).headers, http.get(path, headers={"Host": "evil.example"}).headers):
        assert headers["X-Content-Type-Options"] == "nosniff"
        assert headers["X-Frame-Options"] == "DENY"
        assert headers["Cache-Control"] == "no-store"
        assert headers["Content-Security-Policy"].startswith("default-src 'none'")
        assert "Access-Control-Allow-Origin" not in headers
        assert "Server" not in headers


@pytest.fixture
def small(settings: Settings) -> Iterator[httpx.Client]:
    """Start an application that takes bodies of 1,000 bytes."""
    with backend(settings.model_copy(update={"max_body_bytes": 1000})) as http:
        yield http


def test_a_body_has_a_limit(small: httpx.Client) -> None:
    """A body over the limit is refused with the limit, announced or not; one at the limit is read."""

    def pieces(count: int) -> Iterator[bytes]:
        for _ in range(count):
            yield b" " * 100

    json = {"Content-Type": "application/json"}
    assert small.post("/api/v1/workers", content=b" " * 1000, headers=json).status_code == 422
    for content in (b" " * 1001, pieces(11)):
        answer = small.post("/api/v1/workers", content=content, headers=json)
        assert answer.status_code == 413
        assert answer.json()["title"] == "the body may hold at most 1000 bytes"


@pytest.mark.parametrize("length", ["-1", "1e3", "ten", "\u00b2"])
def test_a_length_must_be_a_number(small: httpx.Client, length: str) -> None:
    """A Content-Length that is no number is a bad request."""
    answer = small.post("/health", headers={b"Content-Length": length.encode("latin-1")})
    assert answer.status_code == 400


def test_a_page_cannot_post_as_plain_text(http: httpx.Client) -> None:
    """What a form can send without asking, text/plain, is never read as JSON."""
    answer = http.post("/api/v1/workers", content=b"{}", headers={"Content-Type": "text/plain"})
    assert answer.status_code == 422
    assert answer.json()["errors"][0]["field"] == "body"


@pytest.mark.anyio
async def test_websockets_are_closed() -> None:
    """There are no web sockets, so none gets past the guard."""
    sent = []

    async def send(message: object) -> None:
        sent.append(message)

    async def never() -> None:
        raise AssertionError

    guard = Guard(never, allowed_hosts=["localhost"], max_body_bytes=1000)  # type: ignore[arg-type] # is never called
    await guard({"type": "websocket"}, never, send)  # type: ignore[arg-type]
    assert sent == [{"type": "websocket.close", "code": 1008}]


@pytest.fixture
def anyio_backend() -> str:
    """Run coroutines on asyncio."""
    return "asyncio"
