"""Tests of the limits on requests: who asks too often waits, and nobody else does."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest
from pydantic import SecretStr

from backend.api.guard import _sender
from backend.client import Client
from backend.errors import TooManyRequests
from backend.limits import MAX_KEYS, RateLimit, network_of
from backend.schemas.api import Claim
from backend.schemas.optimizers import Adam
from backend.security.tokens import Scope, Tokens
from backend.settings import Settings
from tests.backend.samples import INFO, Clock, catalog, spec, updates
from tests.inprocess import api_description, backend

OWN = "a-token-of-the-environment"
RATE = 5


def limit(clock: Clock, rate: float = RATE) -> RateLimit:
    """Make a limit whose clock a test sets."""
    return RateLimit(rate, what="address", setting="BLOCKHF_ADDRESS_RATE", clock=clock)


def passed(limit: RateLimit, key: str, tries: int) -> int:
    """Count how many of some requests at one moment pass."""
    count = 0
    for _ in range(tries):
        try:
            limit.take(key)
        except TooManyRequests:
            continue
        count += 1
    return count


def test_a_burst_passes_and_then_the_rate() -> None:
    """Two seconds' requests pass at once, then as many per second as the rate; what is refused does not count."""
    clock = Clock()
    one = limit(clock)
    assert passed(one, "a", 100) == 2 * RATE
    assert passed(one, "b", 100) == 2 * RATE
    clock.now += 1
    assert passed(one, "a", 100) == RATE
    clock.now += 100
    assert passed(one, "a", 100) == 2 * RATE


def test_what_is_refused_says_how_long_to_wait() -> None:
    """After that long the next request passes, and a moment earlier it does not; the setting is named."""
    clock = Clock()
    one = limit(clock)
    passed(one, "a", 100)
    with pytest.raises(TooManyRequests, match=r"5 requests per second from one address \(BLOCKHF_ADDRESS_RATE\)") as e:
        one.take("a")
    assert e.value.retry_after == pytest.approx(1 / RATE)
    clock.now += e.value.retry_after - 0.01
    assert passed(one, "a", 1) == 0
    clock.now += 0.02
    assert passed(one, "a", 1) == 1


def test_slow_rates_and_none() -> None:
    """A rate under one per burst lets one pass; 0 is no limit."""
    assert passed(limit(Clock(), 0.1), "a", 10) == 1
    assert passed(limit(Clock(), 0), "a", 10_000) == 10_000


def test_memory_is_bounded() -> None:
    """Many addresses fill no memory: those at rest are forgotten, and of busy ones the first to come."""
    clock = Clock()
    one = limit(clock)
    for key in range(3 * MAX_KEYS):
        one.take(str(key))
    assert len(one._done_at) <= MAX_KEYS
    clock.now += 10
    one.take("late")
    one.take("later")
    assert len(one._done_at) == 2


@pytest.mark.parametrize(
    ("address", "network"),
    [
        ("127.0.0.1", "127.0.0.1"), ("2001:db8::1", "2001:db8::/64"), ("fe80::1%eth0", "fe80::/64"), ("a:b", "a:b"),
        ("", ""),
    ],
)  # fmt: skip
def test_an_address_is_what_one_client_has(address: str, network: str) -> None:
    """Of IPv6 the network of 64 bits counts, from which one client can take any address."""
    assert network_of(address) == network


@pytest.fixture
def slow(settings: Settings) -> Iterator[httpx.Client]:
    """Start an application that lets few requests pass, with and without a token."""
    with backend(settings.model_copy(update={"address_rate": RATE})) as http:
        yield http


def test_an_address_that_asks_too_often_is_refused(slow: httpx.Client) -> None:
    """It gets 429 with Retry-After and the usual headers; health answers all the same."""
    answers = [slow.get("/api/v1/runs") for _ in range(100)]
    refused = [answer for answer in answers if answer.status_code == 429]
    assert len(refused) >= 100 - 3 * RATE - RATE
    assert refused[0].headers["Retry-After"] == "1"
    assert refused[0].headers["Content-Type"] == "application/problem+json"
    assert refused[0].headers["X-Content-Type-Options"] == "nosniff"
    assert refused[0].json()["type"] == "urn:blockhf:too-many-requests"
    assert [slow.get(path).status_code for path in ("/health", "/ready") * 20] == [200] * 40


def test_workers_are_counted_apart(slow: httpx.Client) -> None:
    """While somebody reads far too much from the same address, a worker's rows come in without waiting."""
    while slow.get("/api/v1/runs").status_code != 429:
        pass
    assert slow.post("/api/v1/runs/somerun0/updates", json={}).status_code == 422
    assert slow.get("/api/v1/runs").status_code == 429


def test_every_call_of_workers_is_known() -> None:
    """The calls that count as workers' are those of the description."""
    for path, operations in api_description()["paths"].items():
        for method, operation in operations.items():
            scope = {"method": method.upper(), "path": path.replace("{", "").replace("}", "")}
            assert (_sender(scope) == "worker") is bool({"workers", "updates"} & set(operation["tags"])), scope


def test_each_token_has_its_own_rate(settings: Settings) -> None:
    """A token that asks too often is refused, another one from the same address is not; strangers stay strangers."""
    chosen = settings.model_copy(update={"token": SecretStr(OWN), "token_rate": RATE})
    with backend(chosen) as http:
        other = Tokens(chosen).create("other", frozenset({Scope.READ}))
        headers = {"Authorization": f"Bearer {OWN}"}
        while (answer := http.get("/api/v1/runs", headers=headers)).status_code == 200:
            pass
        assert answer.status_code == 429
        assert "BLOCKHF_TOKEN_RATE" in answer.json()["title"]
        assert http.get("/api/v1/runs", headers={"Authorization": f"Bearer {other}"}).status_code == 200
        assert {http.get("/api/v1/runs").status_code for _ in range(3 * RATE)} == {401}


def test_the_client_waits_as_it_is_told(slow: httpx.Client) -> None:
    """A script that asks as fast as it can gets every answer, though the backend refuses some requests meanwhile."""
    client = Client(http=slow)
    with ThreadPoolExecutor(4) as pool:
        answers = list(pool.map(lambda _: client.runs(), range(5 * RATE)))
    assert answers == [[]] * (5 * RATE)
    while (seen := slow.get("/metrics")).status_code == 429:
        pass
    assert 'status="429"' in seen.text


def test_the_client_gives_up_in_the_end(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where waiting does not help, the error says so, with the seconds to wait."""
    waited: list[float] = []
    monkeypatch.setattr("backend.client.transport.time.sleep", waited.append)
    with backend(settings.model_copy(update={"address_rate": 0.01})) as http:
        client = Client(http=http)
        client.runs()
        with pytest.raises(TooManyRequests) as refused:
            client.runs()
    assert refused.value.retry_after > 1
    assert len(waited) == 5
    assert max(waited) <= 60


def test_usual_clients_never_meet_the_limits(settings: Settings) -> None:
    """By default a worker that reports as fast as it can, beside readers, is not refused once."""
    with backend(settings) as http:
        client = Client(http=http)
        worker = client.register(INFO, catalog()).worker_id
        client.launch(spec(optimizers=[Adam(gradient_batch=10)]))
        claim = client.claim(worker)
        assert isinstance(claim, Claim)
        for n in range(100):
            client.append(claim.run.id, claim.token, updates(n + 1, n + 1))
            client.heartbeat(claim.run.id, claim.token)
            client.series([claim.run.id], after=[n])
        assert 'status="429"' not in http.get("/metrics").text
