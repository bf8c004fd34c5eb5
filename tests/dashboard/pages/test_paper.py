"""The page "Paper", without a browser."""

import pytest
from streamlit.testing.v1 import AppTest

from backend.client import Client
from backend.schemas.paper import ClaimResult, Evidence, Reproduction, Verdict
from backend.schemas.runs import Experiment
from dashboard.pages.paper import VERDICTS, PaperPageView, evidence_row, read_view, summary
from tests.dashboard.conftest import OpenPage
from tests.processes import Processes


def shipped(client: Client, subject: str, scale: str) -> Reproduction:
    """Return one of the paper's experiments."""
    found = client.reproductions().reproductions
    return next(one for one in found if (one.subject, one.scale) == (subject, scale))


def written(page: AppTest) -> str:
    """Return all HTML of a page."""
    return "\n".join(found.proto.body for found in page.get("html"))


@pytest.fixture
def started(able: Client) -> Experiment:
    """Launch the smallest reproduction and cancel one of its runs."""
    made = able.launch(shipped(able, "autoencoder", "quick").spec)
    able.cancel(made.runs[0].id)
    return made


def test_what_a_url_says_is_shown() -> None:
    """A view comes back from its URL; what makes no sense in one is left out."""
    shown = PaperPageView("cnn", "recorded", "epoch")
    assert read_view(shown.query()) == shown
    assert read_view({"problem": "<b>", "source": "../x", "axis": "height"}) == PaperPageView()
    assert PaperPageView().query() == {}


def test_verdicts_are_told_by_word_and_sign() -> None:
    """Each verdict has its own sign, and the sentence above counts them."""
    assert len({sign for _, sign in VERDICTS.values()}) == len(VERDICTS) == len(Verdict)
    verdicts = [Verdict.REPRODUCED, Verdict.NOT, Verdict.REPRODUCED]
    findings = [ClaimResult(number=i, claim="c", rule="r", verdict=v, text="t") for i, v in enumerate(verdicts, 1)]
    assert summary(findings) == "Of 3 claims: 2 reproduced, 1 not reproduced."


def test_a_number_without_bound_is_said_to_be_so() -> None:
    """A median of diverged runs is no dash."""
    row = evidence_row(Evidence(what="loss", middle=None, low=1.23456, high=None, n=3, unit="nats"))
    assert row == ["loss", "unbounded", "1.235", "unbounded", "3", "nats"]


@pytest.mark.usefixtures("able")
def test_recorded_results_are_shown_at_first(own: Processes, open_page: OpenPage) -> None:
    """Without runs of one's own each problem's page shows figure and verdicts of the runs that ship."""
    for problem in ("autoencoder", "lstm", "cnn"):
        page = open_page("paper", url=own.backend_url, query={"problem": problem, "axis": "cost"})
        view = own.client.recorded_paper(problem, axis="cost")
        assert page.query_params["source"] in ("recorded", ["recorded"])
        assert len(page.get("bidi_component")) == 1
        for finding in view.findings:
            assert f"{finding.verdict.value}</span> <b>{finding.number}. " in written(page)
            assert f"Claim {finding.number}: rule and numbers" in [box.label for box in page.expander]


def test_own_runs_are_counted_and_shown(own: Processes, able: Client, started: Experiment, open_page: OpenPage) -> None:
    """The newest experiment is the source; its card counts runs that ended; the claims wait for more."""
    page = open_page("paper", url=own.backend_url)
    assert page.selectbox[0].value == started.id
    assert "quick: 24 runs, 1 ended" in written(page)
    assert "laptop: not run yet; recorded results" in written(page)
    assert Verdict.PENDING.value in written(page)
    assert any(f"blockhf report {started.id}" in caption.value for caption in page.caption)
    page.selectbox[0].set_value("recorded").run()
    assert page.query_params["source"] in ("recorded", ["recorded"])
    able.delete(started.id)


def test_a_press_queues_the_runs_once(own: Processes, able: Client, open_page: OpenPage) -> None:
    """Reproduce queues the experiment of the chosen scale and shows it."""
    before = {one.id for one in able.experiments()}
    page = open_page("paper", url=own.backend_url, query={"problem": "autoencoder"})
    page.button(key="reproduce-lstm").click().run()
    assert not page.exception
    (made,) = [one for one in able.experiments() if one.id not in before]
    assert made.spec == shipped(able, "lstm", "quick").spec
    assert page.selectbox[0].value == made.id
    assert page.query_params["problem"] in ("lstm", ["lstm"])
    able.delete(made.id)


@pytest.mark.usefixtures("able")
def test_an_unknown_source_is_said_to_be_none(own: Processes, open_page: OpenPage) -> None:
    """A URL that names no experiment says so and shows what there is."""
    page = open_page("paper", url=own.backend_url, query={"source": "nothere0"})
    assert "no experiment nothere0" in page.warning[0].value
    assert page.selectbox[0].value == "recorded"


def test_without_a_worker_nothing_is_queued(backend: Processes, api: Client, open_page: OpenPage) -> None:
    """Where no worker can train the problem, the press says why."""
    before = len(api.experiments())
    page = open_page("paper", url=backend.backend_url)
    page.button(key="reproduce-cnn").click().run()
    assert "Nothing was queued" in page.error[0].value
    assert len(api.experiments()) == before


def test_without_a_backend_the_page_says_so(open_page: OpenPage) -> None:
    """The page warns that the backend is unreachable."""
    page = open_page("paper", url="http://127.0.0.1:9")
    assert page.warning
