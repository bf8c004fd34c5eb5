"""The queue page, without a browser."""

from datetime import UTC, datetime

import pytest
from streamlit.testing.v1 import AppTest

from backend.client import Client
from backend.errors import Forbidden
from backend.schemas.api import Worker
from backend.schemas.catalog import WorkerInfo
from backend.schemas.runs import RunStatus
from dashboard.pages.queue import worker_state
from tests.clients import BothClient
from tests.dashboard.conftest import OpenPage
from tests.dashboard.samples import CATALOG, SPEC
from tests.processes import Processes


@pytest.fixture(scope="module")
def backend(own: Processes) -> Processes:
    """Stand in for the backend of all modules: here no other test's run may train."""
    return own


@pytest.fixture
def empty(api: BothClient) -> BothClient:
    """Cancel whatever is queued or paused."""
    for status in (RunStatus.QUEUED, RunStatus.PAUSED):
        for run in api.runs(status=status, limit=200):
            api.cancel(run.id)
    return api


def headings(page: AppTest) -> dict[str, int]:
    """Return how many runs each section of the page says it has."""
    return {name: int(count) for name, count in (found.value.rsplit(": ", 1) for found in page.subheader[1:])}


def names(page: AppTest) -> list[str]:
    """Return the runs on the page, in their order."""
    lines = [found.proto.body for found in page.get("html")]
    return [line.split("_self'>")[1].split("</a>")[0] for line in lines if "bhf-layer" in line]


def test_runs_stand_in_the_order_in_which_they_start(empty: BothClient, open_page: OpenPage) -> None:
    """The first run to start is the first of the list, and a worker that is idle is said to be."""
    empty.launch(SPEC)
    empty.register(WorkerInfo(name="large", device="cpu", threads=1, memory=3 * 2**30), CATALOG)
    page = open_page("queue")
    assert any("<td>3 GiB</td>" in found.proto.body for found in page.get("html"))
    assert names(page)[:3] == ["1. Adam · seed 0", "2. HF · seed 0", "3. BHF · seed 0"]
    assert any("<td>idle</td>" in found.proto.body for found in page.get("html"))


def test_a_run_of_higher_priority_stands_first(empty: BothClient, open_page: OpenPage) -> None:
    """The line is by priority, and a priority other than the usual is said."""
    runs = empty.launch(SPEC).runs
    empty.prioritize(runs[2].id, 1)
    page = open_page("queue")
    assert names(page)[:3] == ["1. BHF · seed 0", "2. Adam · seed 0", "3. HF · seed 0"]
    assert "priority 1" in "".join(found.proto.body for found in page.get("html"))


def test_a_run_can_be_paused_and_resumed(empty: BothClient, open_page: OpenPage) -> None:
    """A paused run has its own section, and stands in line again when it is resumed."""
    run = empty.launch(SPEC).runs[1]
    page = open_page("queue")
    page.button(key=f"pause-{run.id}").click().run()
    assert empty.run(run.id).status is RunStatus.PAUSED
    assert (headings(page)["Queued"], headings(page)["Paused"]) == (2, 1)
    page.button(key=f"resume-{run.id}").click().run()
    assert empty.run(run.id).status is RunStatus.QUEUED
    assert headings(page)["Queued"] == 3


def test_selected_runs_are_cancelled_together(empty: BothClient, open_page: OpenPage) -> None:
    """The button under the list concerns the selected runs, or all if none is selected; it asks twice."""
    first, second, third = empty.launch(SPEC).runs
    page = open_page("queue")
    assert page.button(key="cancel-Queued").label == "Really cancel 3 runs"
    page.checkbox(key=f"tick-{first.id}").check().run()
    page.checkbox(key=f"tick-{third.id}").check().run()
    page.button(key="cancel-Queued").click().run()
    statuses = [empty.run(run.id).status for run in (first, second, third)]
    assert statuses == [RunStatus.CANCELLED, RunStatus.QUEUED, RunStatus.CANCELLED]


def test_a_cancelled_run_is_tried_again(empty: BothClient, open_page: OpenPage) -> None:
    """Recently failed runs can be queued again."""
    run = empty.launch(SPEC).runs[0]
    empty.cancel(run.id)
    page = open_page("queue")
    page.button(key=f"retry-{run.id}").click().run()
    assert empty.run(run.id).status is RunStatus.QUEUED


def test_a_waiting_run_is_cancelled_at_once(empty: BothClient, open_page: OpenPage) -> None:
    """The button beside a run cancels that run alone."""
    first, second, third = empty.launch(SPEC).runs
    page = open_page("queue")
    page.button(key=f"cancel-{second.id}").click().run()
    statuses = [empty.run(run.id).status for run in (first, second, third)]
    assert statuses == [RunStatus.QUEUED, RunStatus.CANCELLED, RunStatus.QUEUED]


def test_an_empty_queue_says_what_to_do(empty: BothClient, open_page: OpenPage) -> None:
    """Where nothing waits there is one sentence and one button."""
    assert empty.runs(status=RunStatus.RUNNING) == []
    page = open_page("queue")
    assert page.button[-1].label == "Launch a comparison"
    assert {button.label.split(" all ")[0] for button in page.button[:-1]} == {"Retry"}


def test_without_a_backend_nothing_is_said_of_the_queue(open_page: OpenPage) -> None:
    """What is not known is not told as nothing: the page says why, and no more."""
    page = open_page("queue", url="http://127.0.0.1:9")
    assert page.warning
    assert list(page.subheader) == []


def test_the_line_is_whole_however_long(
    empty: BothClient, open_page: OpenPage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first to start stands first, and all are counted, also where more wait than one answer holds."""
    monkeypatch.setattr("dashboard.pages.queue.PAGE", 5)
    first = empty.launch(SPEC.model_copy(update={"name": "older"}))
    for _ in range(3):
        empty.launch(SPEC)
    page = open_page("queue")
    assert headings(page)["Queued"] == 12
    line = [found.proto.body for found in page.get("html") if "bhf-layer" in found.proto.body]
    assert f"/run?id={first.runs[0].id}" in line[0]
    assert "older" in line[0]


def test_one_that_refuses_keeps_no_other_from_its_turn(empty: BothClient, open_page: OpenPage) -> None:
    """Where one of several runs has ended meanwhile, the others are cancelled, and it is said why it was not."""
    runs = empty.launch(SPEC).runs
    empty.cancel(runs[1].id)
    open_page("queue")
    ids = [runs[0].id, runs[1].id, runs[2].id]
    page = AppTest.from_string(f"from dashboard.runs.actions import perform\nperform('pause', {ids})\n").run()
    assert [empty.run(run.id).status for run in runs] == [RunStatus.PAUSED, RunStatus.CANCELLED, RunStatus.PAUSED]
    done, refused = (toast.value for toast in page.toast)
    assert done == "Pausing 2 runs"
    assert "cancelled" in refused


def test_what_is_refused_to_all_is_asked_once(
    empty: BothClient, open_page: OpenPage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where the dashboard's token is not good for it, no further run is asked."""
    ids = [run.id for run in empty.launch(SPEC).runs]
    open_page("queue")
    asked: list[str] = []

    def forbidden(_client: BothClient, run_id: str) -> None:
        asked.append(run_id)
        raise Forbidden("this needs a token with the scope launch")

    monkeypatch.setattr(Client, "cancel", forbidden)
    page = AppTest.from_string(f"from dashboard.runs.actions import perform\nperform('cancel', {ids})\n").run()
    assert asked == ids[:1]
    assert [toast.value for toast in page.toast] == ["this needs a token with the scope launch"]


@pytest.mark.parametrize(
    ("held", "state"), [([], "idle"), (["aaaaaaaaaaaaaaaa", "bbbbbbbbbbbbbbbb"], "training 2 runs")]
)
def test_a_workers_state_counts_its_runs(held: list[str], state: str) -> None:
    """A worker that races several runs is not shown as training one of them."""
    info, now = WorkerInfo(name="by hand", device="cpu", threads=1), datetime.now(UTC)
    worker = Worker(
        id="wwwwwwwwwwwwwwww", info=info, registered_at=now, seen_at=now, alive=True, silent=False, run_ids=held
    )
    assert worker_state(worker, None) == state


def test_a_run_that_is_claimed_meanwhile_is_listed_once(
    empty: BothClient, open_page: OpenPage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The lists are read one after another, so the same run may be in two of them."""
    runs = empty.launch(SPEC).runs
    begun = runs[0].model_copy(update={"status": RunStatus.RUNNING})
    lists = {"running": [begun], "queued": list(reversed(runs)), "paused": []}
    monkeypatch.setattr("dashboard.pages.queue._all", lambda _, status: lists[status])
    page = open_page("queue")
    assert (headings(page)["Running"], headings(page)["Queued"]) == (1, 2)
    assert [name.split(". ")[1] for name in names(page)[:3]] == [
        "Adam \u00b7 seed 0",
        "HF \u00b7 seed 0",
        "BHF \u00b7 seed 0",
    ]
