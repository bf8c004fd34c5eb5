"""A fresh database, with and without the web around it."""

from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest
from typer.testing import CliRunner, Result

from backend.api.services import Services
from backend.cli.app import app
from backend.client import Client
from backend.errors import InvalidInput
from backend.schemas.api import Claim
from backend.settings import Settings
from backend.storage.database import Database
from tests.backend.samples import INFO, Clock, catalog, spec
from tests.backend.scene import Scene
from tests.clients import BothClient
from tests.inprocess import backend, create_tables
from tests.postgres import Cluster, cluster, lacking

Run = Callable[..., Result]
POSTGRES = pytest.param(
    "postgres",
    marks=[pytest.mark.postgres, pytest.mark.skipif(bool(lacking()), reason=f"PostgreSQL: {lacking()}")],
)


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Run the tests of a module marked so on each database."""
    if "settings" in metafunc.fixturenames and metafunc.definition.get_closest_marker("every_database"):
        metafunc.parametrize("settings", ["sqlite", POSTGRES], indirect=True)


@pytest.fixture(scope="session")
def server() -> Iterator[Cluster]:
    """Run PostgreSQL for the tests that ask for it, with a database whose tables are up to date to copy from."""
    with cluster(durable=False) as server:
        Database(server.create()).close()
        yield server


@pytest.fixture
def settings(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Settings]:
    """Put the database into the test's folder, or into a database of its own on the server."""
    chosen = Settings(home=tmp_path, lease_seconds=30, heartbeat_seconds=2)
    if getattr(request, "param", "sqlite") == "sqlite":
        yield chosen
        return
    server: Cluster = request.getfixturevalue("server")
    url = server.create(like="test0")
    yield chosen.model_copy(update={"database_url": url})
    server.drop(url)


@pytest.fixture
def clock() -> Clock:
    """Stand still until the test moves it."""
    return Clock()


@pytest.fixture
def services(settings: Settings, clock: Clock) -> Iterator[Services]:
    """Open the verbs over a fresh database."""
    create_tables(settings)
    services = Services(settings, clock=clock)
    yield services
    services.close()


@pytest.fixture
def scene(services: Services, clock: Clock, settings: Settings) -> Scene:
    """Set the scene."""
    return Scene(services, clock, settings)


@pytest.fixture
def http(settings: Settings, clock: Clock) -> Iterator[httpx.Client]:
    """Start the application over a fresh database."""
    with backend(settings, clock=clock) as http:
        yield http


@pytest.fixture
def client(http: httpx.Client) -> BothClient:
    """Speak to the application as the other packages do."""
    return BothClient(http=http)


@pytest.fixture
def worker(client: BothClient) -> str:
    """Register a worker; return its id."""
    return client.register(INFO, catalog()).worker_id


@pytest.fixture
def claim(client: BothClient, worker: str) -> Claim:
    """Launch a comparison and claim its first run."""
    client.launch(spec())
    claim = client.claim(worker)
    assert claim is not None
    return claim


class _Lasting(Client):
    """A client whose connections outlive a command."""

    def close(self) -> None:
        """Leave them open for the next command."""


@pytest.fixture
def run(http: httpx.Client, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Run the command line within this process, against the application."""
    monkeypatch.setenv("BLOCKHF_HOME", str(tmp_path))
    monkeypatch.setattr(Client, "of", lambda _settings=None: _Lasting(http=http))

    def invoke(*arguments: str, answer: str | None = None) -> Result:
        done = CliRunner().invoke(app, arguments, input=answer)
        if isinstance(done.exception, InvalidInput):
            raise done.exception
        return done

    return invoke
