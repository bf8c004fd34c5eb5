"""The paper's figures and claims in a browser: recorded results, a reproduction of one's own, advice."""

import re
from collections.abc import Iterator

import pytest
from playwright.sync_api import Page, expect

from backend.schemas.catalog import WorkerInfo
from tests.e2e.conftest import settled
from tests.e2e.samples import row
from tests.processes import Processes, wait_until
from worker.problems.registry import discover

pytestmark = pytest.mark.browser
FIGURE = ".st-key-paper-figure .js-plotly-plot"


@pytest.fixture(scope="module")
def quiet(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Processes]:
    """Backend and dashboard, and a worker that announces the paper's problems but trains nothing."""
    with Processes(tmp_path_factory.mktemp("paper"), "backend", "dashboard") as running:
        yield running


def announce(service: Processes) -> None:
    """Announce what can be trained."""
    service.client.register(WorkerInfo(name="by hand", device="cpu", threads=1), discover().catalog())


def test_recorded_figure_and_verdicts_are_seen(page: Page, quiet: Processes) -> None:
    """The page shows curves and a verdict in words for each claim; rule and numbers open; choices stand in the URL."""
    announce(quiet)
    view = quiet.client.recorded_paper("autoencoder")
    page.goto(f"{quiet.dashboard_url}/paper")
    expect(page.locator(f"{FIGURE} .trace").first).to_be_attached()
    page.evaluate(f"document.querySelector('{FIGURE}').marked = true")
    for finding in view.findings:
        claim = page.locator(f".st-key-claim-{finding.number}")
        expect(claim.locator(".bhf-state")).to_contain_text(finding.verdict.value)
        expect(claim).to_contain_text(finding.claim)
    page.get_by_text("Claim 1: rule and numbers").click()
    expect(page.get_by_role("region", name="Numbers of claim 1")).to_contain_text(view.findings[0].evidence[0].what)
    settled(page)
    page.get_by_role("radio", name="Epochs").click()
    page.wait_for_url(re.compile("source=recorded.*axis=epoch"))
    expect(page.locator(FIGURE)).to_contain_text("epochs")
    expect(page.locator(".js-plotly-plot")).to_have_count(1)
    assert page.evaluate(f"document.querySelector('{FIGURE}').marked"), "the figure was not changed in place"


def test_a_reproduction_is_launched_and_followed(page: Page, quiet: Processes) -> None:
    """One press queues the quick scale; the page counts by itself how many runs have ended."""
    announce(quiet)
    page.goto(f"{quiet.dashboard_url}/paper")
    page.get_by_role("button", name="Reproduce Deep autoencoder").click()
    wait_until(quiet.client.experiments, "the runs are queued")
    (made,) = quiet.client.experiments()
    page.wait_for_url(re.compile(f"source={made.id}"))
    expect(page.locator(".st-key-card-autoencoder")).to_contain_text(f"quick: {len(made.runs)} runs, 0 ended")
    for run in made.runs:
        quiet.client.cancel(run.id)
    expect(page.locator(".st-key-card-autoencoder")).to_contain_text(f"quick: {len(made.runs)} runs, all ended")
    settled(page)
    page.get_by_role("button", name="Show curves").click()
    page.wait_for_url(re.compile(f"/\\?experiments={made.id}"))
    quiet.client.delete(made.id)


def test_the_figure_fills_in_place(page: Page, quiet: Processes) -> None:
    """While a run trains its curve grows in the one figure, and what is zoomed stays."""
    worker = quiet.client.register(WorkerInfo(name="hand", device="cpu", threads=1), discover().catalog()).worker_id
    shipped = next(one for one in quiet.client.reproductions().reproductions if one.subject == "autoencoder")
    made = quiet.client.launch(shipped.spec)
    claim = quiet.client.claim(worker)
    assert claim is not None
    quiet.client.append(claim.run.id, claim.claim_number, [row(update) for update in range(1, 11)])
    page.goto(f"{quiet.dashboard_url}/paper?source={made.id}")
    longest = f"() => Math.max(...document.querySelector('{FIGURE}').data.map((trace) => trace.x.length))"
    expect(page.locator(f"{FIGURE} .trace").first).to_be_attached()
    wait_until(lambda: page.evaluate(longest) == 10, "ten updates are drawn")
    page.evaluate(f"Plotly.relayout(document.querySelector('{FIGURE}'), {{ 'yaxis.range': [1, 1.5] }})")
    quiet.client.append(claim.run.id, claim.claim_number, [row(update) for update in range(11, 21)])
    wait_until(lambda: page.evaluate(longest) == 20, "twenty updates are drawn")
    assert page.evaluate(f"document.querySelector('{FIGURE}')._fullLayout.yaxis.range") == [1, 1.5]
    expect(page.locator(".js-plotly-plot")).to_have_count(1)
    quiet.client.delete(made.id)


def test_every_question_has_its_advice(page: Page, quiet: Processes) -> None:
    """The guide has one answer for each question of the study; the address of the former page leads there."""
    announce(quiet)
    page.goto(f"{quiet.dashboard_url}/choose")
    for one in quiet.client.study().answers:
        expect(page.locator(f".st-key-answer-{one.question}")).to_contain_text("Recorded results")
    assert page.url == f"{quiet.dashboard_url}/guide"
