"""A fresh database, with and without the web around it."""

from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from backend.client import Client
from backend.schemas import Claim
from backend.settings import Settings
from backend.store import Store
from tests.backend.samples import INFO, Clock, catalog, spec
from tests.inprocess import backend


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    """Put the database into the test's folder."""
    return Settings(home=tmp_path, lease_seconds=30, heartbeat_seconds=2)


@pytest.fixture
def clock() -> Clock:
    """Stand still until the test moves it."""
    return Clock()


@pytest.fixture
def store(settings: Settings, clock: Clock) -> Iterator[Store]:
    """Open the verbs over a fresh database."""
    store = Store(settings, clock=clock)
    yield store
    store.close()


@pytest.fixture
def http(settings: Settings, clock: Clock) -> Iterator[httpx.Client]:
    """Start the application over a fresh database."""
    with backend(settings, clock=clock) as http:
        yield http


@pytest.fixture
def client(http: httpx.Client) -> Client:
    """Speak to the application as the other packages do."""
    return Client(http=http)


@pytest.fixture
def worker(client: Client) -> str:
    """Register a worker; return its id."""
    return client.register(INFO, catalog()).worker_id


@pytest.fixture
def claim(client: Client, worker: str) -> Claim:
    """Launch a comparison and claim its first run."""
    client.launch(spec())
    claim = client.claim(worker)
    assert claim is not None
    return claim
