"""The page of one run, without a browser."""

import pytest
from streamlit.testing.v1 import AppTest

from backend.schemas.catalog import WorkerInfo
from backend.schemas.optimizers import BlockHessianFree
from backend.schemas.runs import Checkpoint, RunError, RunStatus
from tests.clients import BothClient
from tests.dashboard.conftest import OpenPage
from tests.dashboard.samples import CATALOG, SPEC
from tests.e2e.samples import row


def texts(page: AppTest) -> str:
    """Return all that is written as HTML."""
    return "\n".join(found.proto.body for found in page.get("html"))


def test_it_tells_what_the_run_is(api: BothClient, open_page: OpenPage) -> None:
    """Title, state and every setting of a waiting run are shown."""
    run = api.launch(SPEC).runs[2]
    page = open_page("run", query={"id": run.id})
    assert "<h1 title='BHF · seed 0'>BHF · seed 0</h1>" in texts(page)
    for name in ("max CG iterations", "blocks", "budget: updates", "evaluation: train subset"):
        assert f"<th scope='row'>{name}</th>" in texts(page)
    assert page.caption[-1].value == "The run has not started."


def test_a_run_has_the_name_that_it_has_in_its_comparison(api: BothClient, open_page: OpenPage) -> None:
    """The settings that tell it apart from the others of its optimizer are in the title."""
    optimizers = [BlockHessianFree(damping=damping) for damping in (0, 0.1)]
    run = api.launch(SPEC.model_copy(update={"optimizers": optimizers})).runs[1]
    assert "<h1 title='BHF · damping 0.1 · seed 0'>" in texts(open_page("run", query={"id": run.id}))


def test_a_failure_is_told_with_its_reason(api: BothClient, open_page: OpenPage) -> None:
    """The error's message and the traceback's last lines are shown, markup in them as text."""
    worker = api.register(WorkerInfo(name="fails", device="cpu", threads=1), CATALOG)
    claim = None
    api.launch(SPEC)
    claim = api.claim(worker.worker_id)
    assert claim is not None
    api.start(
        claim.run.id, claim.claim_number, environment={"device": "<cpu>"}, blocks=[["first", "second"]], parameters=83
    )
    error = RunError(message="out of *memory* <b>", traceback="line 1\nMemoryError")
    api.finish(claim.run.id, claim.claim_number, RunStatus.FAILED, error=error)
    page = open_page("run", query={"id": claim.run.id})
    assert page.error[0].value == "out of \\*memory\\* \\<b\\>"
    assert page.code[0].value == "line 1\nMemoryError"
    assert "&lt;cpu&gt;" in texts(page)
    assert "<td>first, second</td>" in texts(page)


@pytest.mark.parametrize(("query", "words"), [({"id": "nothere0"}, "There is no such run"), ({}, "Choose a run")])
def test_an_unknown_run_offers_a_way_out(open_page: OpenPage, query: dict[str, str], words: str) -> None:
    """A URL that names no run says so, with one button."""
    page = open_page("run", query=query)
    assert words in page.markdown[0].value
    assert [button.label for button in page.button] == ["Compare"]


def test_a_run_can_be_paused_from_its_page(api: BothClient, open_page: OpenPage) -> None:
    """The page says what became of the run, and offers what can be asked of it next."""
    run = api.launch(SPEC).runs[0]
    page = open_page("run", query={"id": run.id})
    page.button(key=f"pause-{run.id}").click().run()
    assert api.run(run.id).status is RunStatus.PAUSED
    assert "bhf-state-paused" in texts(page)
    assert "It resumes from the start." in texts(page)
    page.button(key=f"resume-{run.id}").click().run()
    assert api.run(run.id).status is RunStatus.QUEUED


def test_weights_are_offered_where_there_are_some(api: BothClient, open_page: OpenPage) -> None:
    """A finished run's weights can be fetched, another's not; each run offers the same with the other optimizers."""
    worker = api.register(WorkerInfo(name="finishes", device="cpu", threads=1), CATALOG)
    api.launch(SPEC.model_copy(update={"name": "weights"}))
    claim = api.claim(worker.worker_id)
    assert claim is not None

    def links() -> list[str]:
        page = open_page("run", query={"id": claim.run.id})
        assert not page.exception
        kind = claim.run.config.optimizer.kind
        assert {f"with-{other}" for other in ("adam", "hf", "bhf") if other != kind} <= {one.key for one in page.button}
        return [found.proto.url for found in page.get("link_button")]

    path, state = (f"/api/v1/runs/{claim.run.id}/{name}.safetensors" for name in ("weights", "checkpoint"))
    assert not {path, state} & set(links())
    api.append(claim.run.id, claim.claim_number, [row(1)], checkpoint=Checkpoint(update=1, sha256="0" * 64))
    assert state in links()
    api.finish(claim.run.id, claim.claim_number, RunStatus.FINISHED, ended_by="updates", weights="0" * 64)
    assert path in links()
    assert state not in links()
