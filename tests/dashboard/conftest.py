"""A real backend process that knows the sample catalog, and pages that ask it."""

from collections.abc import Callable, Iterator

import pytest
from streamlit.testing.v1 import AppTest

from backend.schemas.catalog import WorkerInfo
from dashboard.ui.backend import client
from tests.clients import BothClient
from tests.dashboard.samples import CATALOG
from tests.processes import DEADLINE, Processes
from worker.problems.registry import discover

OpenPage = Callable[..., AppTest]


@pytest.fixture(scope="session")
def backend(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Processes]:
    """Start a backend on a free port."""
    with Processes(tmp_path_factory.mktemp("backend")) as running:
        yield running


@pytest.fixture(scope="module")
def own(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Processes]:
    """Start a backend of a module's own, where no other test's runs are."""
    with Processes(tmp_path_factory.mktemp("own")) as running:
        yield running


@pytest.fixture
def able(own: Processes) -> BothClient:
    """Return a client of the module's own backend, where a worker has announced the paper's problems just now."""
    own.client.register(WorkerInfo(name="by hand", device="cpu", threads=1), discover().catalog())
    return own.client


@pytest.fixture
def api(backend: Processes) -> BothClient:
    """Return a client of the backend, where a worker has announced the sample catalog just now."""
    backend.client.register(WorkerInfo(name="by hand", device="cpu", threads=1), CATALOG)
    return backend.client


@pytest.fixture
def open_page(backend: Processes, monkeypatch: pytest.MonkeyPatch) -> Iterator[OpenPage]:
    """Run a page's script against the backend, or against the one at another URL."""

    def run(name: str, *, url: str = backend.backend_url, query: dict[str, str] | None = None) -> AppTest:
        monkeypatch.setenv("BLOCKHF_BACKEND_URL", url)
        client.clear()
        page = AppTest.from_string(f"from dashboard.pages import {name}\n{name}.page()\n", default_timeout=DEADLINE)
        for key, value in (query or {}).items():
            page.query_params[key] = value
        page.run()
        assert not page.exception, page.exception
        return page

    yield run
    client.clear()
