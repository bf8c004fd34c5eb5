"""Tests of the first comparison."""

import pytest

from backend.cli.demo import DEMO, launch_demo
from tests.backend.samples import INFO, spec
from tests.clients import BothClient
from worker.problems.registry import discover


@pytest.fixture(autouse=True)
def trained(client: BothClient) -> None:
    """Register a worker that can train it."""
    client.register(INFO, discover().catalog())


def test_it_is_launched_once(client: BothClient) -> None:
    """The demo is queued once, on an empty database, even if it is archived or deleted later."""
    made = launch_demo(client)
    assert made is not None
    assert made.spec == DEMO
    assert launch_demo(client) is None
    client.edit(made.id, archived=True)
    assert launch_demo(client) is None
    client.delete(made.id)
    assert launch_demo(client) is None
    assert [one.id for one in client.experiments(archived=True, deleted=True)] == [made.id]


def test_it_is_not_launched_beside_others(client: BothClient) -> None:
    """Whoever has launched anything needs no first comparison."""
    client.launch(DEMO.model_copy(update={"name": spec().name}))
    assert launch_demo(client) is None
