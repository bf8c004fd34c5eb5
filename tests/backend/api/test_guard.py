"""Tests of the guard: what another site or a careless sender may not do, on every route and method."""

import logging
from collections.abc import Iterator

import httpx
import pytest
from pydantic import SecretStr

from backend.api import guard
from backend.api.guard import PUBLIC, FailedLogins, Guard, _network
from backend.api.logging import JsonLines, PlainLines
from backend.errors import TooManyFailedLogins
from backend.schemas.api import Scope
from backend.security.tokens import EVERYTHING, Tokens
from backend.settings import Settings
from tests.inprocess import api_description, backend

METHODS = ["GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "HEAD"]
PATHS = sorted(
    path.replace("{", "").replace("}", "")
    for path in [*api_description()["paths"], "/", "/api/v1/openapi.json", "/docs", "/nowhere"]
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
    """Start one application for all of these tests, which do not change it."""
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
    """The setting lists accepted host names in addition to the bind address."""
    with backend(settings.model_copy(update={"allowed_hosts": "lab.example, other"})) as http:
        assert http.get("/health", headers={"Host": "lab.example:8700"}).status_code == 200
        assert http.get("/health", headers={"Host": "localhost"}).status_code == 403
        assert http.get("/health", headers={"Host": "127.0.0.1"}).status_code == 200


@pytest.mark.parametrize(
    ("listens", "host", "status"),
    [
        ("192.0.2.7", "192.0.2.7:8700", 200),
        ("2001:db8::7", "[2001:db8::7]:8700", 200),
        ("lab.example", "lab.example", 200),
        ("0.0.0.0", "0.0.0.0:8700", 403),
        ("::", "[::]:8700", 403),
        ("0.0.0.0", "192.0.2.7", 403),
    ],
)
def test_its_own_address_is_allowed(settings: Settings, listens: str, host: str, status: int) -> None:
    """A backend may be called by the one address that it listens on; by all of them, none is its own."""
    with backend(settings.model_copy(update={"host": listens})) as http:
        assert http.get("/api/v1/ready", headers={"Host": host}).status_code == status


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


OWN = "a-token-of-the-environment"
PLACES = [(method, path) for method in METHODS for path in PATHS if not (method == "GET" and path in PUBLIC)]
OPERATIONS = {
    (method.upper(), path): operation
    for path, operations in api_description()["paths"].items()
    for method, operation in operations.items()
}
WORKERS = {"workers", "updates"}


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[httpx.Client, Tokens]]:
    """Start an application with tokens; the tests do not change it."""
    settings = Settings(home=tmp_path_factory.mktemp("guarded"), token=SecretStr(OWN))
    with pytest.MonkeyPatch.context() as patch, backend(settings) as http:
        patch.setattr(guard, "MAX_FAILURES", 10**9)
        yield http, Tokens(settings)


def test_failed_logins_are_limited(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    """After ten wrong tokens an address waits, though it sends a good one; one that was accepted before passes."""
    now = [1000.0]
    monkeypatch.setattr(guard, "FailedLogins", lambda: FailedLogins(lambda: now[0]))
    with backend(settings.model_copy(update={"token": SecretStr(OWN)})) as http:

        def ask(token: str) -> httpx.Response:
            return http.get("/api/v1/runs", headers={"Authorization": f"Bearer {token}"})

        fresh = Tokens(settings).create("fresh", EVERYTHING)
        assert ask(OWN).status_code == 200
        assert [ask(f"wrong {n}").status_code for n in range(12)] == [401] * 10 + [429] * 2
        refused = ask(fresh)
        assert (refused.status_code, refused.headers["Retry-After"]) == (429, "60")
        assert refused.json()["type"] == "urn:blockhf:too-many-failed-logins"
        assert refused.headers["X-Content-Type-Options"] == "nosniff"
        assert ask(OWN).status_code == 200
        assert http.get("/api/v1/runs").status_code == 401
        assert http.get("/health").status_code == 200
        now[0] += 60
        assert ask(fresh).status_code == 200
        assert ask("wrong").status_code == 401


def test_addresses_are_limited_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    """One address does not block another; memory is bounded, and the address that failed longest ago is forgotten."""
    monkeypatch.setattr(guard, "_MAX_ADDRESSES", 3)
    monkeypatch.setattr(guard, "MAX_FAILURES", 2)
    failed = FailedLogins(lambda: 5.0)
    for _ in range(2):
        failed.add("a")
    with pytest.raises(TooManyFailedLogins) as caught:
        failed.check("a")
    assert caught.value.retry_after == 60
    for address in "bcd":
        failed.check(address)
        failed.add(address)
    failed.check("a")
    assert len(failed._failures) == 3


@pytest.mark.parametrize(
    ("address", "network"),
    [
        ("127.0.0.1", "127.0.0.1/32"), ("2001:db8::1", "2001:db8::/64"), ("fe80::1%eth0", "fe80::/64"), ("a:b", "a:b"),
        ("", ""),
    ],
)  # fmt: skip
def test_an_ipv6_client_is_its_network(address: str, network: str) -> None:
    """One client can choose any address of its IPv6 network of 64 bits."""
    assert _network({"client": (address, 1)}) == network


@pytest.mark.parametrize(
    "given",
    ["", "Bearer ", "Bearer wrong", f"Bearer {OWN[:-1]}", f"Bearer {OWN}x", f"Basic {OWN}", OWN, "Bearer \u00ff"],
    ids=["none", "empty", "wrong", "shorter", "longer", "basic", "bare", "latin"],
)
def test_strangers_are_refused_everywhere(guarded: tuple[httpx.Client, Tokens], given: str) -> None:
    """Without a token, or with a wrong one, each route answers 401 to each method, known or not."""
    headers = {b"Authorization": given.encode("latin-1")} if given else {}
    answers = {place: guarded[0].request(*place, headers=headers) for place in PLACES}
    assert {place: a.status_code for place, a in answers.items() if a.status_code != 401} == {}
    assert {a.headers["WWW-Authenticate"] for a in answers.values()} == {"Bearer"}


def test_a_foreign_page_is_refused_though_it_has_a_token(guarded: tuple[httpx.Client, Tokens]) -> None:
    """A token does not open the door for a foreign Host or Origin."""
    for headers in FOREIGN.values():
        for place in PLACES:
            answer = guarded[0].request(*place, headers={"Authorization": f"Bearer {OWN}"} | headers)
            assert answer.status_code == 403, place


@pytest.mark.parametrize("scope", Scope)
def test_a_token_opens_what_it_is_for(guarded: tuple[httpx.Client, Tokens], scope: Scope) -> None:
    """Each call needs one scope: without it 403, with it alone anything else."""
    http, tokens = guarded
    has = {"Authorization": f"Bearer {tokens.create(f'has-{scope}', frozenset({scope}))}"}
    lacks = {"Authorization": f"Bearer {tokens.create(f'lacks-{scope}', EVERYTHING - {scope})}"}
    assert len(OPERATIONS) >= 20
    for (method, path), operation in OPERATIONS.items():
        if path in PUBLIC:
            continue
        needed = Scope.WORKER if WORKERS & set(operation["tags"]) else Scope.READ if method == "GET" else Scope.LAUNCH
        place = (method, path.replace("{", "").replace("}", ""))
        opened = http.request(*place, headers=has if needed is scope else lacks).status_code
        assert opened not in {401, 403}, place
        if needed is scope:
            assert http.request(*place, headers=lacks).status_code == 403, place


def test_a_deleted_token_opens_nothing(guarded: tuple[httpx.Client, Tokens]) -> None:
    """A token is let in until it is deleted, without a restart."""
    http, tokens = guarded
    header = {"Authorization": f"bearer {tokens.create('brief', EVERYTHING)}"}
    assert http.get("/api/v1/runs", headers=header).status_code == 200
    tokens.delete("brief")
    assert http.get("/api/v1/runs", headers=header).status_code == 401


def test_whether_it_answers_is_no_secret(guarded: tuple[httpx.Client, Tokens]) -> None:
    """Health can be requested without a token, by GET only."""
    assert {path: guarded[0].get(path).status_code for path in PUBLIC} == dict.fromkeys(PUBLIC, 200)
    assert guarded[0].post("/health").status_code == 401


def test_no_token_gets_into_a_log(guarded: tuple[httpx.Client, Tokens], caplog: pytest.LogCaptureFixture) -> None:
    """No log level shows a token, valid or not, in a header or in a query."""
    http, tokens = guarded
    made, wrong = tokens.create("watched", EVERYTHING), "a-wrong-token-that-is-long"
    with caplog.at_level(logging.DEBUG, logger="backend"):
        for token in (OWN, made, wrong):
            for place in PLACES:
                http.request(*place, headers={"Authorization": f"Bearer {token}"}, params={"token": token})
    assert len(caplog.records) >= len(PLACES)
    for formatter in (JsonLines(), PlainLines()):
        text = "\n".join(formatter.format(record) for record in caplog.records if record.name.startswith("backend"))
        assert not [token for token in (OWN, made, wrong) if token in text]
    tokens.delete("watched")


def test_an_error_that_nobody_foresaw_has_the_headers_too(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """A 500 forbids sniffing, framing, caching and scripts like every other answer, and no token gets into the log."""

    def broken(_store: object) -> None:
        raise RuntimeError

    monkeypatch.setattr("backend.queue.workers.Workers.catalog", broken)
    with backend(settings.model_copy(update={"token": SecretStr(OWN)})) as http:
        answer = http.get("/api/v1/catalog", headers={"Authorization": f"Bearer {OWN}"})
    assert answer.status_code == 500
    assert answer.headers["Content-Type"] == "application/problem+json"
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    assert answer.headers["Cache-Control"] == "no-store"
    assert "RuntimeError" in caplog.text
    assert OWN not in caplog.text


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
        assert answer.json()["type"] == "urn:blockhf:too-large"
        assert "1000 bytes" in answer.json()["title"]


@pytest.mark.parametrize("length", ["-1", "1e3", "ten", "\u00b2"])
def test_a_length_must_be_a_number(small: httpx.Client, length: str) -> None:
    """A Content-Length that is no number is a bad request."""
    answer = small.post("/health", headers={b"Content-Length": length.encode("latin-1")})
    assert answer.status_code == 400


def test_a_page_cannot_post_as_plain_text(http: httpx.Client) -> None:
    """text/plain, which a form can send without a preflight request, is never read as JSON."""
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

    guard = Guard(
        never,  # type: ignore[arg-type] # is never called
        allowed_hosts=["localhost"],
        tokens=Tokens(Settings()),
        max_body_bytes=1000,
        max_import_bytes=1000,
    )
    await guard({"type": "websocket"}, never, send)  # type: ignore[arg-type]
    assert sent == [{"type": "websocket.close", "code": 1008}]


@pytest.fixture
def anyio_backend() -> str:
    """Run coroutines on asyncio."""
    return "asyncio"
