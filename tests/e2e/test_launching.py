"""Launches from the page: plain, refused, a sweep, a clone, with the other optimizer; and what a run tells then."""

import re

import pytest
from playwright.sync_api import Page, expect

from backend.errors import InvalidInput
from backend.schemas.experiments import ExperimentSpec
from backend.schemas.measures import BlockStats, StopReason
from backend.schemas.optimizers import Adam, BlockHessianFree, HessianFree
from backend.schemas.runs import Experiment, Run, RunStatus
from tests.e2e.conftest import draws, entry, fill, menu, ranges, seen, settled, zoom
from tests.e2e.samples import SPEC, claims, register, row
from tests.processes import Processes, wait_until

pytestmark = pytest.mark.browser


def launch_small(page: Page, service: Processes, *, name: str, updates: int) -> Experiment:
    """Launch a comparison on a tiny network from the page."""
    page.goto(f"{service.dashboard_url}/launch")
    for option, width in {"hidden_1": 16, "hidden_2": 8, "hidden_3": 8, "code": 3}.items():
        fill(page, f"autoencoder.options.{option}", width)
    fill(page, "budget.updates", updates)
    fill(page, "name", name)
    expect(page.locator(".bhf-plan")).to_contain_text("3 runs, 26,371 parameters each")
    page.get_by_role("button", name="Launch 3 runs").click()
    expect(page.locator(".bhf-live")).to_be_visible()
    return next(found for found in service.client.experiments() if found.name == name)


@pytest.fixture
def run(quiet: Processes) -> Run:
    """Launch a run of HF with settings of its own, and let it train for three updates."""
    worker = register(quiet.client)
    spec = SPEC.model_copy(update={"name": "First", "optimizers": [HessianFree(damping=0.25)], "seeds": [7]})
    [made] = quiet.client.launch(spec).runs
    token = dict(claims(quiet.client, worker))[made.id]
    solve = BlockStats(cg_iterations=4, stop_reason=StopReason.PROGRESS, residual=0.1, model_decrease=1.0)
    rows = [row(update).model_copy(update={"blocks": [solve]}) for update in (1, 2, 3)]
    quiet.client.append(made.id, token, rows)
    return made


def newest(service: Processes, page: Page, label: str) -> list[Run]:
    """Press the launch button and return what was queued, once its page is there."""
    settled(page)
    page.get_by_role("button", name=label).click()
    expect(page.locator(".bhf-live")).to_be_visible()
    return service.client.experiments()[0].runs


def test_launches_watches_zooms_and_cancels(page: Page, service: Processes) -> None:
    """A comparison launched from the page grows without a reload, keeps the zoom, and can be cancelled."""
    experiment = launch_small(page, service, name="From the page", updates=100_000)
    assert [run.config.optimizer.kind for run in experiment.runs] == ["adam", "hf", "bhf"]
    assert experiment.id in page.url
    page.evaluate("() => { window.notReloaded = true; }")
    wait_until(lambda: seen(page) > 20, "curves appear")
    before = seen(page)
    wait_until(lambda: seen(page) > before + 100, "curves grow")
    assert page.evaluate("() => document.querySelectorAll('.bhf-chart .scatterlayer .trace').length") > 0

    zoom(page)
    zoomed, drawn, grown = ranges(page), draws(page), seen(page)
    wait_until(lambda: draws(page) >= drawn + 5 and seen(page) > grown, "five refreshes")
    assert ranges(page) == zoomed
    menu(page, "View").get_by_label("Smoothing").select_option("Light")
    page.wait_for_url(re.compile("smooth=0.6"))
    assert ranges(page) == zoomed
    page.keyboard.press("Escape")
    page.get_by_role("button", name="Comparisons").click()
    page.get_by_text("Archived", exact=True).click()  # the whole script runs again
    page.wait_for_url(re.compile("archived=1"))
    page.keyboard.press("Escape")
    settled(page)
    drawn = draws(page)
    wait_until(lambda: draws(page) > drawn, "a refresh after the whole script has run")
    assert ranges(page) == zoomed
    page.get_by_role("button", name="Reset zoom").click()
    wait_until(lambda: ranges(page) != zoomed, "the zoom is reset")

    assert page.evaluate("() => window.notReloaded")
    for run in experiment.runs:
        line = page.locator(f"tr[data-run='{run.id}']")
        line.get_by_role("button", name="Cancel").click()
        expect(line).to_contain_text("Cancelled")
    statuses = {run.status for run in service.client.experiment(experiment.id).runs}
    assert statuses == {RunStatus.CANCELLED}


def test_refusals_stand_beside_the_field(page: Page, service: Processes) -> None:
    """Bad input shows the API's own message under the field, and cannot be launched."""
    bad = ExperimentSpec.model_construct(
        optimizers=[Adam(), HessianFree.model_construct(curvature_batch=1000), BlockHessianFree()]
    )
    with pytest.raises(InvalidInput) as refused:
        service.client.check(bad)
    [limit] = [error.limit for error in refused.value.errors]

    count = len(service.client.experiments())
    page.goto(f"{service.dashboard_url}/launch")
    fill(page, "hf1.curvature_batch", 1000)
    shown = page.locator(".bhf-error")
    expect(shown).to_have_text(f"HF: curvature batch is 1000: {limit}")
    field, line = entry(page, "hf1.curvature_batch").bounding_box(), shown.bounding_box()
    assert field is not None
    assert line is not None
    assert abs(field["x"] - line["x"]) < 40
    assert 0 < line["y"] - field["y"] < 90
    expect(page.get_by_role("button", name=re.compile("^Launch"))).to_be_disabled()
    settled(page)
    page.get_by_role("link", name="HF: curvature batch").click()
    expect(entry(page, "hf1.curvature_batch")).to_be_focused()

    fill(page, "hf1.curvature_batch", 200)
    fill(page, "autoencoder.options.hidden_1", 1_000_000_000)
    expect(shown).to_contain_text("hidden 1 is 1000000000")
    assert len(service.client.experiments()) == count


def test_a_layer_without_a_block_is_refused(page: Page, service: Processes) -> None:
    """A layer that is in no block is named beside the custom blocks, and accepted once it is in one."""
    page.goto(f"{service.dashboard_url}/launch")
    fill(page, "bhf2.blocks", "custom")
    blocks = page.locator(".st-key-launch0-bhf2-custom textarea")
    blocks.fill("encoder.hidden*\ndecoder.*")
    blocks.press("Tab")
    expect(page.locator(".bhf-error")).to_contain_text("without encoder.code")
    settled(page)
    blocks.fill("encoder.*\ndecoder.*")
    blocks.press("Tab")
    expect(page.locator(".bhf-error")).to_have_count(0)
    expect(page.get_by_role("img", name="2 blocks")).to_be_visible()


def test_the_form_fits_the_screen_and_is_reached_by_few_keys(page: Page, quiet: Processes) -> None:
    """At 1280 px it is at most 900 px high; at most 30 stops of the Tab key lead to Launch; optimizers are groups."""
    register(quiet.client)
    page.set_viewport_size({"width": 1280, "height": 720})
    page.goto(f"{quiet.dashboard_url}/launch")
    button = page.get_by_role("button", name=re.compile(r"^Launch \d+ run"))
    expect(button).to_be_in_viewport(ratio=1)  # the foot stays in sight
    settled(page)
    assert page.get_by_test_id("stMain").evaluate("(main) => main.scrollHeight") <= 900
    group = page.get_by_role("group", name="Hessian-free (HF)", exact=True)
    rate = group.get_by_label("Learning rate")
    expect(rate).to_have_accessible_description(re.compile("Step size"))
    stops = 0
    while stops < 31 and not button.evaluate("(button) => button === document.activeElement"):
        page.keyboard.press("Tab")
        stops += 1
    assert stops <= 30


def test_a_sweep_is_launched(page: Page, quiet: Processes) -> None:
    """Three dampings from one to the other, with two seeds, are six runs beside Adam's two, as the page says before."""
    register(quiet.client)
    page.goto(f"{quiet.dashboard_url}/launch")
    fill(page, "hf1.damping", "0..1/3")
    expect(page.locator(".bhf-plan")).to_contain_text("4 runs")
    expect(page.get_by_role("region", name="Configurations").locator("tbody tr")).to_have_count(4)
    fill(page, "seeds", "0, 1")
    expect(page.locator(".bhf-plan")).to_contain_text("8 runs")
    runs = newest(quiet, page, "Launch 8 runs")
    found = sorted(
        (one.config.seed, one.config.optimizer.damping) for one in runs if isinstance(one.config.optimizer, HessianFree)
    )
    assert found == [(seed, damping) for seed in (0, 1) for damping in (0, 0.5, 1)]
    assert sum(one.config.optimizer == Adam() for one in runs) == 2


def test_a_run_is_cloned(page: Page, quiet: Processes, run: Run) -> None:
    """Everything is filled in as it was, and what is launched is the same run again."""
    page.goto(f"{quiet.dashboard_url}/run?id={run.id}")
    settled(page)
    page.get_by_role("button", name="Clone").click()
    expect(page.get_by_label("Seeds", exact=True)).to_have_value("7")
    [again] = newest(quiet, page, "Launch 1 run")
    assert again.id != run.id
    assert again.config == run.config
    assert again.experiment_name == "First, again"


def test_the_same_is_launched_with_the_other_optimizer(page: Page, quiet: Processes, run: Run) -> None:
    """One press fills the form, one launches; both runs are then compared."""
    page.goto(f"{quiet.dashboard_url}/run?id={run.id}")
    settled(page)
    page.get_by_role("button", name="Repeat with BHF").click()
    expect(page.locator(".bhf-plan")).to_contain_text("1 run")
    [other] = newest(quiet, page, "Launch 1 run")
    assert other.config == run.config.model_copy(update={"optimizer": BlockHessianFree(damping=0.25)})
    page.wait_for_url(re.compile(f"experiments={run.experiment_id}%2C{other.experiment_id}"))
    expect(page.locator(".bhf-legend")).to_contain_text("BHF")


def test_a_runs_log_tells_its_last_updates(page: Page, quiet: Processes, run: Run) -> None:
    """Newest first, as reported, with what each solve did; the table of the comparison does not stand there."""
    page.goto(f"{quiet.dashboard_url}/run?id={run.id}")
    lines = page.locator(".bhf-log tbody tr")
    expect(lines).to_have_count(3)
    expect(lines.first.locator("td").first).to_have_text("3")
    expect(lines.first).to_contain_text(f"{row(3).train_loss:.4g}")
    expect(lines.first).to_contain_text("4 iterations, progress")
    expect(page.locator(".bhf-targets")).to_be_hidden()
