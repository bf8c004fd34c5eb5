"""Comparisons are kept in order from the pages: name, note, tags, archive, deletion and its undo, presets."""

import re

import pytest
from playwright.sync_api import Locator, Page, expect

from backend.schemas.optimizers import Adam, HessianFree
from backend.schemas.runs import Experiment
from tests.e2e.conftest import choose, draws, settled
from tests.e2e.samples import SPEC, claims, register, row
from tests.processes import Processes, wait_until

pytestmark = pytest.mark.browser


@pytest.fixture(scope="module")
def swept(quiet: Processes) -> Experiment:
    """Report two seeds of Adam and of HF with two dampings, 40 updates each."""
    worker = register(quiet.client)
    optimizers = [Adam(), HessianFree(damping=0.1), HessianFree(damping=0.5)]
    made = quiet.client.launch(SPEC.model_copy(update={"name": "Swept", "seeds": [0, 1], "optimizers": optimizers}))
    own = {run.id for run in made.runs}
    for number, (run, token) in enumerate(claim for claim in claims(quiet.client, worker) if claim[0] in own):
        quiet.client.append(run, token, [row(update, 0.02 * (1 + number)) for update in range(1, 41)])
        quiet.client.finish(run, token, "finished", ended_by="updates")
    return made


def dialog(page: Page) -> Locator:
    """Open the dialog of the chosen comparison."""
    settled(page)
    page.get_by_role("button", name="Edit").click()
    opened = page.get_by_role("dialog")
    expect(opened.get_by_label("Name", exact=True)).to_be_visible()
    settled(page)
    return opened


def test_a_comparison_is_named_noted_tagged_and_archived(page: Page, quiet: Processes) -> None:
    """What is typed is kept and shown as text; an archived comparison is shown, and offered only where asked for."""
    register(quiet.client)
    one = quiet.client.launch(SPEC)
    page.goto(f"{quiet.dashboard_url}/?experiments={one.id}")
    expect(page.locator(".bhf-runs tbody tr")).to_have_count(2)
    opened = dialog(page)
    opened.get_by_label("Name", exact=True).fill("Figure <b>2</b>")
    opened.get_by_label("Note").fill("first line\n<img src=x onerror=alert(1)>")
    opened.get_by_label("Tags").fill("My Paper")
    opened.get_by_label("Tags").press("Enter")
    opened.get_by_label("Tags").press("Tab")  # closes the list of tags, which hides what is around it
    opened.get_by_role("button", name="Save").click()
    expect(page.get_by_role("dialog")).to_have_count(0)
    expect(page.locator(".bhf-about p")).to_have_text("first line\n<img src=x onerror=alert(1)>")
    expect(page.locator(".bhf-tag")).to_have_text("my-paper")
    kept = quiet.client.experiment(one.id)
    assert (kept.name, kept.tags) == ("Figure <b>2</b>", ["my-paper"])

    dialog(page).get_by_role("button", name="Archive").click()
    expect(page.locator(".bhf-about em")).to_have_text("archived")
    assert one.id not in {other.id for other in quiet.client.experiments()}
    page.goto(f"{quiet.dashboard_url}/?tag=my-paper&archived=1")
    expect(page.locator(".bhf-about em")).to_have_text("archived")
    page.wait_for_url(re.compile(f"experiments={one.id}.*tag=my-paper.*archived=1"))


def test_a_deletion_says_what_it_cancels_and_is_undone(page: Page, quiet: Processes, swept: Experiment) -> None:
    """The button names the runs that wait; the comparison leaves the view and its URL, and comes back by one press."""
    register(quiet.client)
    one = quiet.client.launch(SPEC.model_copy(update={"name": "Waiting"}))
    page.goto(f"{quiet.dashboard_url}/?experiments={one.id}")
    expect(page.locator(".bhf-runs tbody tr")).to_have_count(2)
    dialog(page).get_by_role("button", name="Delete and cancel 2 runs").click()
    expect(page.locator(".bhf-deleted")).to_have_text("Deleted: Waiting")
    page.wait_for_function("(id) => !location.search.includes(id)", arg=one.id)
    assert [run.status.value for run in quiet.client.experiment(one.id).runs] == ["cancelled", "cancelled"]
    settled(page)
    page.get_by_role("button", name="Undo").click()
    expect(page.locator(f"tr[data-run='{one.runs[0].id}']")).to_contain_text("Cancelled")
    page.wait_for_url(re.compile(one.id))
    assert quiet.client.experiment(one.id).deleted_at is None
    assert swept.id in {other.id for other in quiet.client.experiments()}


def test_values_at_an_update_are_exact(page: Page, quiet: Processes, swept: Experiment) -> None:
    """The table has each configuration's mean and range at the updates of the URL, and follows what is averaged."""
    page.goto(f"{quiet.dashboard_url}/?experiments={swept.id}&at=5,20")
    wait_until(lambda: page.locator(".bhf-live").count() and draws(page) > 0, "the chart is drawn")
    rows = page.locator(".bhf-steps tbody tr")
    values = [[row(step, 0.02 * (1 + number)).train_loss or 0 for number in (0, 3)] for step in (5, 20)]
    for cell, (low, high) in zip((1, 2), values, strict=True):
        shown = rows.first.locator("td").nth(cell)
        expect(shown).to_have_text(f"{(low + high) / 2:.4g} ({high:.4g}\u2013{low:.4g})")
    expect(rows).to_have_count(3)
    page.get_by_label("Updates", exact=True).fill("40 7")
    page.get_by_label("Updates", exact=True).press("Enter")
    page.wait_for_url(re.compile("at=7%2C40"))
    expect(page.locator(".bhf-steps th").nth(2)).to_have_text("Update 40")
    page.goto(f"{quiet.dashboard_url}/?experiments={swept.id}&at=5,20&over=seed,damping")
    expect(rows).to_have_count(2)
    expect(page.locator(".bhf-legend")).to_contain_text("4 runs")
    expect(page.locator(".bhf-runs")).to_contain_text("damping 0.5")


PLACES = """() => {
  window.places = new Set();
  const note = () => {
    const undo = document.querySelector('.st-key-undo-preset button');
    if (undo) window.places.add(Math.round(undo.getBoundingClientRect().x));
    requestAnimationFrame(note);
  };
  note();
}"""
"""Notes where the button that takes a deletion back stands in each picture that is drawn."""


def test_settings_are_saved_picked_and_deleted(page: Page, quiet: Processes) -> None:
    """What the form holds is offered under its name, fills the form in again, and can be deleted and had back."""
    register(quiet.client)
    page.goto(f"{quiet.dashboard_url}/launch")
    expect(page.locator(".bhf-plan")).to_contain_text("2 runs")
    page.get_by_label("Seeds", exact=True).fill("3-5")
    page.get_by_label("Seeds", exact=True).press("Tab")
    expect(page.locator(".bhf-plan")).to_contain_text("6 runs")
    page.get_by_role("button", name="Save").click()
    page.get_by_role("textbox", name="Save as preset").fill("Three <seeds>")
    page.get_by_role("textbox", name="Save as preset").press("Tab")
    page.get_by_role("button", name="Save preset").click()
    wait_until(lambda: quiet.client.presets(), "the preset is saved")
    assert quiet.client.preset("three-seeds").spec.seeds == [3, 4, 5]

    page.goto(f"{quiet.dashboard_url}/launch")
    expect(page.locator(".bhf-plan")).to_contain_text("2 runs")
    choose(page, page.get_by_label("Start from"), "Mine: Three <seeds>")
    expect(page.locator(".bhf-plan")).to_contain_text("6 runs")
    settled(page)
    page.get_by_role("button", name="My presets").click()
    page.evaluate(PLACES)
    page.get_by_role("button", name="Delete").click()
    page.get_by_role("button", name="Undo").wait_for()
    settled(page)
    assert len(page.evaluate("() => [...window.places]")) == 1, "it moves meanwhile: a quick press misses it"
    page.get_by_role("button", name="Undo").click()
    wait_until(lambda: [preset.title for preset in quiet.client.presets()] == ["Three <seeds>"], "it is back")
