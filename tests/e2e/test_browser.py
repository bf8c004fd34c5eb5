"""The pages in a real browser, against real processes: launch, watch, zoom, cancel, refuse, recover."""

import json
import re
from contextlib import suppress
from pathlib import Path

import pytest
from playwright.sync_api import Locator, Page, expect
from playwright.sync_api import TimeoutError as TooLate

from backend.errors import InvalidInput
from backend.schemas import (
    Adam,
    BlockHessianFree,
    Budget,
    Experiment,
    ExperimentSpec,
    HessianFree,
    Problem,
    RunError,
    RunStatus,
)
from tests.e2e.conftest import Service, draws, ranges, running_service, seen, settled, wait_until, zoom
from tests.e2e.samples import SPEC, claims, register, row

pytestmark = pytest.mark.browser


def entry(page: Page, key: str) -> Locator:
    """Find a field's input by its path in the form."""
    return page.locator(f".st-key-launch0-{key.replace('.', '-')} input")


def fill(page: Page, key: str, value: object) -> None:
    """Type a value into a field and leave it."""
    entry(page, key).fill(str(value))
    entry(page, key).press("Tab")


def choose(page: Page, label: str, option: str) -> None:
    """Choose an option of a list; open it again where the page's redrawing has closed it."""
    field = page.get_by_label(label, exact=True)

    def chosen() -> bool:
        settled(page)
        with suppress(TooLate):
            field.click(timeout=5000)
            page.get_by_role("option", name=option).click(timeout=5000)
        return field.input_value() == option

    wait_until(chosen, f"{label} is {option}")


def launch_small(page: Page, service: Service, *, name: str, updates: int) -> Experiment:
    """Launch a comparison on a tiny network from the page."""
    page.goto(f"{service.dashboard_url}/launch")
    for option, width in {"hidden_1": 16, "hidden_2": 8, "hidden_3": 8, "code": 3}.items():
        fill(page, f"autoencoder.options.{option}", width)
    fill(page, "budget.updates", updates)
    fill(page, "name", name)
    expect(page.locator(".bhf-plan")).to_contain_text("3 runs of a network with 26,371 parameters")
    page.get_by_role("button", name="Launch 3 runs").click()
    expect(page.locator(".bhf-live")).to_be_visible()
    return next(found for found in service.client.experiments() if found.name == name)


def test_launches_watches_zooms_and_cancels(page: Page, service: Service) -> None:
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
    page.get_by_label("Smoothing").select_option("Light")
    page.wait_for_url(re.compile("smooth=0.6"))
    assert ranges(page) == zoomed
    page.get_by_text("Archived", exact=True).click()  # the whole script runs again
    page.wait_for_url(re.compile("archived=1"))
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


def test_refusals_stand_beside_the_field(page: Page, service: Service) -> None:
    """Bad input shows the API's own message under the field, and cannot be launched."""
    bad = ExperimentSpec.model_construct(
        optimizers=[Adam(), HessianFree.model_construct(curvature_batch=1000), BlockHessianFree()]
    )
    with pytest.raises(InvalidInput) as refused:
        service.client.check(bad)
    [message] = [str(error) for error in refused.value.errors]

    count = len(service.client.experiments())
    page.goto(f"{service.dashboard_url}/launch")
    fill(page, "hf1.curvature_batch", 1000)
    shown = page.locator(".bhf-error")
    expect(shown).to_have_text(message)
    field, line = entry(page, "hf1.curvature_batch").bounding_box(), shown.bounding_box()
    assert field is not None
    assert line is not None
    assert abs(field["x"] - line["x"]) < 40
    assert 0 < line["y"] - field["y"] < 90
    expect(page.get_by_role("button", name=re.compile("^Launch"))).to_be_disabled()

    fill(page, "hf1.curvature_batch", 200)
    fill(page, "autoencoder.options.hidden_1", 1_000_000_000)
    expect(shown).to_contain_text("problem.options.hidden_1 is 1000000000")
    assert len(service.client.experiments()) == count


def test_a_layer_without_a_block_is_refused(page: Page, service: Service) -> None:
    """A layer that stands in no block is named beside the block editor, and accepted once it has one."""
    page.goto(f"{service.dashboard_url}/launch")
    page.get_by_role("radio", name="Your own").or_(page.get_by_role("button", name="Your own")).first.click()
    choose(page, "Block of encoder.code", "no block")
    expect(page.locator(".bhf-error")).to_contain_text("without encoder.code")
    choose(page, "Block of encoder.code", "Block 2")
    expect(page.locator(".bhf-error")).to_have_count(0)
    expect(page.locator(".bhf-blocks")).to_contain_text("2 blocks")


def hostile(service: Service) -> Experiment:
    """Launch a comparison with a hostile name, and report updates of one run that end in a divergence."""
    worker = register(service.client)
    changes = {"name": "<img src=x onerror=alert(1)><b>bold</b>", "optimizers": [Adam(), Adam(learning_rate=0.1)]}
    experiment = service.client.launch(SPEC.model_copy(update=changes))
    (run, token), *_ = claims(service.client, worker)
    service.client.append(run, token, [row(update, diverged=update == 12) for update in range(1, 13)])
    return experiment


def test_survives_hostile_names_and_a_lost_backend(page: Page, tmp_path: Path) -> None:
    """Markup in a name stays text; a lost backend is said, what was shown stays, and the page recovers by itself."""
    dialogs: list[str] = []
    page.on("dialog", lambda dialog: dialogs.append(dialog.message))
    with running_service(tmp_path, "backend", "dashboard") as service:
        experiment = hostile(service)
        page.goto(f"{service.dashboard_url}/?experiments={experiment.id}&x=cost")
        expect(page.locator(".bhf-runs")).to_contain_text("Diverged at update 12")
        expect(page.get_by_text("<b>bold</b>").first).to_be_visible()
        wait_until(lambda: seen(page) == 12 and draws(page) > 0, "the rows are drawn")
        texts = json.loads(
            page.evaluate("() => JSON.stringify(document.querySelector('.bhf-chart').data.map(t => t.name))")
        )
        assert any("diverged at update 12" in text for text in texts)

        service.stop("backend")
        banner = page.locator(".bhf-banner")
        expect(banner).to_contain_text("cannot be reached")
        expect(page.locator(".bhf-runs")).to_contain_text("12 / 50")
        service.start("backend")
        expect(banner).to_be_hidden()
    assert dialogs == []


def test_a_run_moves_to_a_place_in_line(page: Page, tmp_path: Path) -> None:
    """It is said and done, the others keep their order, and the page keeps its looks when the message has come."""
    with running_service(tmp_path, "backend", "dashboard") as service:
        register(service.client)
        service.client.launch(SPEC.model_copy(update={"optimizers": [Adam()], "seeds": [0, 1, 2, 3]}))
        page.goto(f"{service.dashboard_url}/queue")
        lines = page.locator(".bhf-layer b")
        expect(lines).to_have_count(4)
        page.get_by_role("button", name="Move").nth(3).click()
        page.get_by_text("To place 2", exact=True).click()
        order = [f"{place}. Adam, seed {seed}" for place, seed in enumerate([0, 3, 1, 2], 1)]
        expect(lines).to_have_text(order)
        expect(page.get_by_test_id("stToast")).to_contain_text("Moved to place 2")
        looks = page.locator(".bhf-layer").first.evaluate("(line) => getComputedStyle(line).display")
        assert looks != "block"


def test_the_queue_follows_without_a_press(page: Page, tmp_path: Path) -> None:
    """Counts of updates grow in place; a run that waits, starts or ends is moved, with what can be asked of it."""
    with running_service(tmp_path, "backend", "dashboard") as service:
        worker = register(service.client)
        page.goto(f"{service.dashboard_url}/queue")
        expect(page.get_by_text("Nothing runs and nothing waits.")).to_be_visible()
        [run] = service.client.launch(SPEC.model_copy(update={"optimizers": [Adam()]})).runs
        expect(page.get_by_role("heading", name="Waiting: 1")).to_be_visible()
        [(_, token)] = claims(service.client, worker)
        expect(page.get_by_role("heading", name="Running: 1")).to_be_visible()
        line = page.locator(".bhf-layer")
        expect(line).to_contain_text("0 of 50 updates")
        service.client.heartbeat(run.id, token)  # else the worker is soon said to be gone, which draws the page anew
        page.evaluate("() => { document.querySelector('.bhf-layer').marked = true; }")
        service.client.append(run.id, token, [row(update) for update in range(1, 8)])
        expect(line).to_contain_text("7 of 50 updates")
        expect(page.get_by_role("region", name="Workers")).to_contain_text("5")
        assert page.evaluate("() => document.querySelector('.bhf-layer').marked")
        service.client.finish(run.id, token, "failed", error=RunError(message="out of memory"))
        expect(page.get_by_role("button", name="Try again")).to_be_visible()


def test_the_run_page_follows_a_pause_and_a_resumption(page: Page, service: Service) -> None:
    """The history of a run that really trains grows by itself: queued, started where, paused, waiting, gone on."""
    spec = SPEC.model_copy(
        update={
            "problem": Problem(options={"hidden_1": 16, "hidden_2": 8, "hidden_3": 8, "code": 3}),
            "optimizers": [Adam(gradient_batch=100)], "budget": Budget(updates=1_000_000), "name": "Paused",
        }
    )  # fmt: skip
    [run] = service.client.launch(spec).runs
    page.goto(f"{service.dashboard_url}/run?id={run.id}")
    history = page.locator(".bhf-history")
    expect(history).to_contain_text("Queued")
    expect(history).to_contain_text(re.compile(r"Started .* on worker .*, cpu"))
    page.evaluate("() => { window.notReloaded = true; }")
    press(page, "Pause")
    expect(history).to_contain_text(re.compile(r"Paused after [\d,]+ of 1,000,000 updates"))
    expect(history).to_contain_text("goes on from the checkpoint after update")
    kept = service.client.run(run.id).checkpoint
    assert kept is not None
    expect(page.locator(".bhf-state")).to_have_text("Paused")
    press(page, "Resume")
    expect(history).to_contain_text("(attempt 2)")
    expect(page.locator(".bhf-state")).to_have_text("Running")
    wait_until(lambda: seen(page) > kept.update, "the curves go on beyond the pause")
    press(page, "Cancel")
    expect(history).to_contain_text("Cancelled")
    assert page.evaluate("() => window.notReloaded")
    updates = service.client.series([run.id], fields=["cost"])[run.id]["update"]
    assert updates == list(range(1, len(updates) + 1))


def press(page: Page, name: str) -> None:
    """Click what can be asked of the run beside its state."""
    settled(page)
    page.get_by_role("main").get_by_role("button", name=name, exact=True).first.click()


def test_a_lost_backend_is_said_within_two_seconds(page: Page, tmp_path: Path) -> None:
    """By the page's own clock, from the last good answer to the words; then the page recovers by itself.

    The watch looks every 1.5 s. A busy machine delays the page's timers: what a second timer of the page was late by
    is allowed on top.
    """
    with running_service(tmp_path, "backend", "dashboard") as service:
        page.goto(f"{service.dashboard_url}/queue")
        page.get_by_role("heading", name="Queue").wait_for()
        page.locator(".bhf-gone").wait_for(state="attached")
        page.evaluate(WATCHED)
        wait_until(lambda: page.evaluate("() => window.good > 0"), "the page has seen the backend")
        service.stop("backend")
        expect(page.locator(".bhf-gone")).to_contain_text("cannot be reached")
        told, good, held_up = page.evaluate("() => [window.told, window.good, window.heldUp]")
        assert told - good < 2000 + held_up
        service.start("backend")
        expect(page.locator(".bhf-gone")).to_be_hidden()


WATCHED = """() => {
  window.good = window.told = window.heldUp = 0;
  const ask = window.fetch;
  window.fetch = async (...asked) => {
    const answer = await ask(...asked);
    if (String(asked[0]).includes("/ready") && answer.ok) [window.good, window.heldUp] = [performance.now(), 0];
    return answer;
  };
  const banner = document.querySelector(".bhf-gone");
  new MutationObserver(() => { if (!banner.hidden) window.told ||= performance.now(); })
    .observe(banner, { attributes: true, childList: true });
  let last = performance.now();
  setInterval(() => {
    const now = performance.now();
    window.heldUp += Math.max(0, now - last - 60);
    last = now;
  }, 50);
}"""


def test_the_launch_page_keeps_what_was_typed_while_the_backend_is_away(page: Page, tmp_path: Path) -> None:
    """The launch page says by itself that the backend has gone, keeps the form, and can launch when it is back."""
    with running_service(tmp_path, "backend", "dashboard") as service:
        register(service.client)
        page.goto(f"{service.dashboard_url}/launch")
        fill(page, "budget.updates", 7)
        service.stop("backend")
        banner = page.locator(".bhf-gone")
        expect(banner).to_contain_text("cannot be reached")
        fill(page, "seeds", "0, 1")
        expect(page.get_by_role("button", name="Launch", exact=True)).to_be_disabled()
        service.start("backend")
        wait_until(service.client.health, "the backend is back")
        register(service.client)
        expect(banner).to_be_hidden()
        page.get_by_role("button", name="Launch 4 runs").click()
        expect(page.locator(".bhf-runs tbody tr")).to_have_count(4)
        assert {run.config.budget.updates for run in service.client.experiments()[0].runs} == {7}
