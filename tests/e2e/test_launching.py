"""Launches beyond the plain one: a sweep, a clone, the same with the other optimizer; and what a run tells then."""

import re

import pytest
from playwright.sync_api import Page, expect

from backend.schemas import Adam, BlockHessianFree, BlockStats, HessianFree, Run, StopReason
from tests.e2e.conftest import Service, settled
from tests.e2e.samples import SPEC, claims, register, row

pytestmark = pytest.mark.browser


@pytest.fixture
def run(quiet: Service) -> Run:
    """Launch a run of HF with settings of its own, and let it train for three updates."""
    worker = register(quiet.client)
    spec = SPEC.model_copy(update={"name": "First", "optimizers": [HessianFree(damping=0.25)], "seeds": [7]})
    [made] = quiet.client.launch(spec).runs
    token = dict(claims(quiet.client, worker))[made.id]
    solve = BlockStats(cg_iterations=4, stop_reason=StopReason.PROGRESS, residual=0.1, model_decrease=1.0)
    rows = [row(update).model_copy(update={"blocks": [solve]}) for update in (1, 2, 3)]
    quiet.client.append(made.id, token, rows)
    return made


def newest(service: Service, page: Page, label: str) -> list[Run]:
    """Press the launch button and return what was queued, once its page is there."""
    settled(page)
    page.get_by_role("button", name=label).click()
    expect(page.locator(".bhf-live")).to_be_visible()
    return service.client.experiments()[0].runs


def test_a_sweep_is_launched(page: Page, quiet: Service) -> None:
    """Three dampings from one to the other, with two seeds, are six runs beside Adam's two, as the page says before."""
    register(quiet.client)
    page.goto(f"{quiet.dashboard_url}/launch")
    page.get_by_text("Sweep: one configuration").click()
    page.get_by_label("Optimizer", exact=True).click()
    page.get_by_role("option", name="Hessian-free (HF)").click()
    settled(page)
    settings = page.locator(".st-key-launch0-sweep-knobs-hf input")
    settings.click()
    page.get_by_role("option", name="Damping", exact=True).click()
    settings.press("Tab")  # closes the list, which hides what is around it
    values = page.get_by_role("textbox", name="Values of Damping")
    values.fill("0..1/3")
    values.press("Tab")
    page.get_by_role("button", name="Add 2 configurations").click()
    expect(page.locator(".bhf-plan")).to_contain_text("4 runs")
    page.get_by_label("Seeds", exact=True).fill("0, 1")
    page.get_by_label("Seeds", exact=True).press("Tab")
    expect(page.locator(".bhf-plan")).to_contain_text("8 runs")
    runs = newest(quiet, page, "Launch 8 runs")
    found = sorted((one.config.seed, one.config.optimizer.damping) for one in runs if one.config.optimizer.kind == "hf")
    assert found == [(seed, damping) for seed in (0, 1) for damping in (0, 0.5, 1)]
    assert sum(one.config.optimizer == Adam() for one in runs) == 2


def test_a_run_is_cloned(page: Page, quiet: Service, run: Run) -> None:
    """Everything is filled in as it was, and what is launched is the same run again."""
    page.goto(f"{quiet.dashboard_url}/run?id={run.id}")
    settled(page)
    page.get_by_role("button", name="Clone").click()
    expect(page.get_by_label("Seeds", exact=True)).to_have_value("7")
    [again] = newest(quiet, page, "Launch 1 run")
    assert again.id != run.id
    assert again.config == run.config
    assert again.experiment_name == "First, again"


def test_the_same_is_launched_with_the_other_optimizer(page: Page, quiet: Service, run: Run) -> None:
    """One press fills the form, one launches; both runs are then compared."""
    page.goto(f"{quiet.dashboard_url}/run?id={run.id}")
    settled(page)
    page.get_by_role("button", name="The same with BHF").click()
    expect(page.locator(".bhf-plan")).to_contain_text("1 run")
    [other] = newest(quiet, page, "Launch 1 run")
    assert other.config == run.config.model_copy(update={"optimizer": BlockHessianFree(damping=0.25)})
    page.wait_for_url(re.compile(f"experiments={run.experiment_id}%2C{other.experiment_id}"))
    expect(page.locator(".bhf-legend")).to_contain_text("BHF")


def test_a_runs_log_tells_its_last_updates(page: Page, quiet: Service, run: Run) -> None:
    """Newest first, as reported, with what each solve did; the table of the comparison does not stand there."""
    page.goto(f"{quiet.dashboard_url}/run?id={run.id}")
    lines = page.locator(".bhf-log tbody tr")
    expect(lines).to_have_count(3)
    expect(lines.first.locator("td").first).to_have_text("3")
    expect(lines.first).to_contain_text(f"{row(3).train_loss:.4g}")
    expect(lines.first).to_contain_text("4 iterations, progress")
    expect(page.locator(".bhf-targets")).to_be_hidden()
