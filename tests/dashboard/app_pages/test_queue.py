"""The queue page, without a browser."""

import pytest

from backend.client import Client
from backend.schemas import RunStatus
from tests.dashboard.conftest import OpenPage
from tests.dashboard.samples import SPEC


@pytest.fixture
def empty(api: Client) -> Client:
    """Cancel whatever waits."""
    for run in api.runs(status=RunStatus.QUEUED, limit=200):
        api.cancel(run.id)
    return api


def test_runs_stand_in_the_order_in_which_they_start(empty: Client, open_page: OpenPage) -> None:
    """The first run to start is the first of the list, and a worker that is idle is said to be."""
    empty.launch(SPEC)
    page = open_page("queue")
    lines = [found.proto.body for found in page.get("html")]
    waiting = [line for line in lines if "bhf-layer" in line]
    assert [line.split("<b>")[1].split("</b>")[0] for line in waiting][-3:] == [
        "1. Adam, seed 0",
        "2. HF, seed 0",
        "3. BHF, seed 0",
    ]
    assert any("<td>idle</td>" in line for line in lines)


def test_a_waiting_run_is_cancelled_at_once(empty: Client, open_page: OpenPage) -> None:
    """The button beside a run cancels that run alone."""
    first, second, third = empty.launch(SPEC).runs
    page = open_page("queue")
    page.button(key=f"cancel-{second.id}").click().run()
    statuses = [empty.run(run.id).status for run in (first, second, third)]
    assert statuses == [RunStatus.QUEUED, RunStatus.CANCELLED, RunStatus.QUEUED]


def test_an_empty_queue_says_what_to_do(empty: Client, open_page: OpenPage) -> None:
    """Where nothing waits there is one sentence and one button."""
    assert empty.runs(status=RunStatus.RUNNING) == []
    page = open_page("queue")
    assert [button.label for button in page.button] == ["Launch a comparison"]
