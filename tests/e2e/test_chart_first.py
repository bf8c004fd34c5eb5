"""The compare page begins with its charts, and says on top what the runs show."""

import pytest
from playwright.sync_api import Page, expect

from backend.schemas.experiments import Budget
from backend.schemas.optimizers import Adam, BlockHessianFree, HessianFree
from backend.schemas.runs import Experiment, RunError
from tests.e2e.conftest import draws, seen
from tests.e2e.samples import SPEC, claims, register, row
from tests.processes import Processes, wait_until

pytestmark = pytest.mark.browser

FIRST = """() => {
  const chart = document.querySelector(".bhf-chart");
  const { top } = chart.getBoundingClientRect();
  const { y } = chart.querySelector(".nsewdrag").getBoundingClientRect();
  const above = [...document.querySelectorAll("[data-testid=stMain] :is(button, a, input, select, summary)")]
    .filter((node) => node.checkVisibility({ visibilityProperty: true }) && node.getBoundingClientRect().top < top);
  const title = document.querySelector(".bhf-chart .xtitle").getBoundingClientRect();
  return { top, plot: y, axis: title.bottom, controls: above.length };
}"""
"""where the first plot begins and its x axis ends, and how many controls are above it"""
MOST_CONTROLS = 14
LIT = """(key) => [...document.querySelectorAll(`.bhf-live [data-group="${key}"]`)]
  .map((node) => node.classList.contains("bhf-lit"))"""
OPACITIES = "() => [...document.querySelectorAll('.scatterlayer .trace')].map((node) => Number(node.style.opacity))"
SWEPT = [BlockHessianFree(damping=d, curvature_batch=q) for d in (0, 0.01, 0.1, 1) for q in (62, 125, 250)]


def reported(service: Processes, changes: dict[str, object], *, failed: int | None = None) -> Experiment:
    """Report 40 updates of each run; the one with the number `failed` diverges at update 8."""
    worker = register(service.client)
    made = service.client.launch(SPEC.model_copy(update={"budget": Budget(updates=40)} | changes))
    tokens = dict(claims(service.client, worker))
    for number, run in enumerate(run.id for run in made.runs):
        rows = [row(update, 0.03 * (1 + number % 13)) for update in range(1, 41)]
        if number == failed:
            high = {"train_loss": 1e20, "test_loss": 1e20}
            rows = [*rows[:6], row(7).model_copy(update=high), row(8, diverged=True)]
        service.client.append(run, tokens[run], rows)
        error = RunError(message="The loss is not finite.") if number == failed else None
        service.client.finish(run, tokens[run], "failed" if error else "finished", ended_by="updates", error=error)
    return made


def opened(page: Page, service: Processes, made: Experiment) -> None:
    """Open a comparison and wait for its picture."""
    page.goto(f"{service.dashboard_url}/?experiments={made.id}")
    wait_until(lambda: page.locator(".bhf-live").count() and draws(page) > 0 and seen(page) == 40, "the chart is drawn")
    page.locator(".bhf-chart .trace").first.wait_for()


def test_the_charts_come_first(page: Page, quiet: Processes) -> None:
    """With 3, 10 and 60 runs the first plot is wholly visible; on a phone it begins in the upper part of the screen."""
    three = reported(quiet, {"name": "Three", "optimizers": [Adam(), HessianFree(), BlockHessianFree()]}, failed=1)
    dampings = [BlockHessianFree(damping=damping) for damping in (0.1, 0.3, 1, 3)]
    ten = reported(quiet, {"name": "Ten", "optimizers": [Adam(), *dampings], "seeds": [0, 1]})
    sixty = reported(quiet, {"name": "Sixty", "optimizers": SWEPT, "seeds": [0, 1, 2, 3, 4]})
    for made in (three, ten, sixty):
        page.set_viewport_size({"width": 1280, "height": 720})
        opened(page, quiet, made)
        found = page.evaluate(FIRST)
        assert found["axis"] <= 720, (made.name, found)
        assert found["controls"] <= MOST_CONTROLS, (made.name, found)
        expect(page.get_by_role("heading", level=1)).to_have_text(made.name)
        page.wait_for_function("(name) => document.title.endsWith(`${name} \u2013 BlockHF`)", arg=made.name)
    expect(page.locator(".bhf-ranking tbody tr")).to_have_count(12)
    expect(page.locator(".bhf-ranking .bhf-best")).to_have_count(1)
    page.set_viewport_size({"width": 390, "height": 844})
    opened(page, quiet, three)
    assert page.evaluate(FIRST)["plot"] < 320

    expect(page.locator(".bhf-strip")).to_contain_text("To train loss")
    expect(page.locator(".bhf-failures")).to_contain_text("1 of 3 runs failed")
    expect(page.locator(".bhf-failures a")).to_have_attribute("href", f"/run?id={three.runs[1].id}")
    shown = page.evaluate("() => document.querySelector('.bhf-chart')._fullLayout.yaxis.range")
    assert 10 ** shown[1] < 200, "the diverged run does not stretch the axis"
    page.set_viewport_size({"width": 1280, "height": 720})
    page.get_by_role("button", name="Show all values").click()
    page.wait_for_url("**full=1**")


def test_a_curve_is_highlighted_everywhere(page: Page, quiet: Processes) -> None:
    """Focus of a legend's entry lights its rows and fades the other curves; a redraw keeps the focus."""
    made = reported(quiet, {"name": "Lit", "optimizers": [Adam(), HessianFree()]})
    opened(page, quiet, made)
    entry = page.get_by_role("group", name="Curves").get_by_role("button", name="HF")
    expect(entry).to_have_attribute("aria-pressed", "true")
    entry.focus()
    key = entry.get_attribute("data-group")
    wait_until(lambda: all(page.evaluate(LIT, key)), "all of its rows are lit")
    assert set(page.evaluate(OPACITIES)) >= {0.12, 1}
    page.keyboard.press("Space")
    expect(entry).to_have_attribute("aria-pressed", "false")
    expect(entry).to_be_focused()

    box = page.locator(".bhf-chart").bounding_box()
    assert box is not None
    page.keyboard.press("Space")
    page.mouse.move(box["x"] + 200, box["y"] + 150)
    page.mouse.move(box["x"] + 210, box["y"] + 150)
    panels = page.locator(".bhf-readout")
    expect(panels).to_have_count(3)
    expect(panels.first).to_contain_text("Updates")
    page.locator(".bhf-skip").focus()
    page.keyboard.press("Enter")
    expect(page.locator(".bhf-chart")).to_be_focused()
    values = [float(text) for text in panels.first.locator("td:nth-child(2)").all_text_contents()]
    assert values == sorted(values)
