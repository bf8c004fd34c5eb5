"""What the compare page promises beyond the main path: shared views, exports, hostile names."""

import csv
import re
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect
from pyarrow import parquet

from backend.schemas.measures import BlockStats, StopReason
from backend.schemas.optimizers import Adam, HessianFree
from backend.schemas.runs import Experiment
from tests.e2e.conftest import draws, menu, ranges, seen, settled, zoom
from tests.e2e.samples import HOSTILE, SPEC, claims, register, row
from tests.processes import Processes, wait_until

pytestmark = pytest.mark.browser


@pytest.fixture(scope="module")
def finished(quiet: Processes) -> Experiment:
    """Report two runs of 50 updates each, to their end."""
    worker = register(quiet.client)
    experiment = quiet.client.launch(SPEC)
    tokens = dict(claims(quiet.client, worker))
    for number, run in enumerate(run.id for run in experiment.runs):
        quiet.client.append(run, tokens[run], [row(update, 0.05 * (1 + number)) for update in range(1, 51)])
        quiet.client.finish(run, tokens[run], "finished", ended_by="updates")
    return quiet.client.experiment(experiment.id)


def open_view(page: Page, url: str) -> None:
    """Open a view and wait for its picture."""
    page.goto(url)
    wait_until(lambda: page.locator(".bhf-live").count() and draws(page) > 0 and seen(page) == 50, "the chart is drawn")


def test_a_view_is_the_same_where_its_url_is_opened(
    page: Page, browser: Browser, quiet: Processes, finished: Experiment
) -> None:
    """Axis, scales, measures, zoom, hidden curves and target are the same in another browser's tab."""
    open_view(page, f"{quiet.dashboard_url}/?experiments={finished.id}")
    page.get_by_role("button", name="Cost", exact=True).click()
    menu(page, "View").get_by_label("log x").check()
    menu(page, "Metrics").get_by_role("button", name="Step norm", exact=True).click()
    page.keyboard.press("Escape")
    page.get_by_role("group", name="Curves").get_by_role("button", name="HF").click()
    page.get_by_role("spinbutton", name="Target").fill("50")
    page.get_by_role("spinbutton", name="Target").press("Enter")
    zoom(page)
    page.wait_for_function("() => ['zoom', 'target', 'hidden', 'logX'].every((name) => location.search.includes(name))")
    url = page.evaluate("() => location.href")
    other = browser.new_context().new_page()
    open_view(other, url)
    for tab in (page, other):
        expect(tab.get_by_role("button", name="Cost", exact=True)).to_have_attribute("aria-pressed", "true")
        expect(menu(tab, "View").get_by_label("log x")).to_be_checked()
        curve = tab.get_by_role("group", name="Curves").get_by_role("button", name="HF")
        expect(curve).to_have_attribute("aria-pressed", "false")
        expect(tab.get_by_role("spinbutton", name="Target")).to_have_value("50")
    for mine, theirs in zip(ranges(page), ranges(other), strict=True):
        assert theirs == pytest.approx(mine, rel=1e-5)
    other.context.close()


def test_zooming_fetches_finer_data(page: Page, quiet: Processes) -> None:
    """Of 3,000 updates a point is the mean of 8; of the 200 that are zoomed to each is one, exactly as reported."""
    worker = register(quiet.client)
    experiment = quiet.client.launch(SPEC.model_copy(update={"optimizers": [Adam()]}))
    [(run, token)] = claims(quiet.client, worker)[-1:]
    quiet.client.append(run, token, [row(update, 0.001) for update in range(1, 3001)])
    quiet.client.finish(run, token, "finished", ended_by="updates")
    page.goto(f"{quiet.dashboard_url}/?experiments={experiment.id}")
    expect(page.locator(".bhf-note").first).to_contain_text("mean of 8 updates")
    page.goto(f"{quiet.dashboard_url}/?experiments={experiment.id}&zoom=x:1000:1200")
    expect(page.locator(".bhf-note").first).to_contain_text("Each point is one update")
    drawn = """() => (document.querySelector(".bhf-chart").data ?? [])
      .flatMap(({ x, y }) => x.map((at, i) => [at, y[i]])).filter(([at]) => at === 1100).map(([, value]) => value)"""
    exact = pytest.approx(row(1100, 0.001).train_loss)
    wait_until(lambda: exact in page.evaluate(drawn), "finer lines are drawn")
    page.get_by_role("button", name="Reset zoom").click()
    expect(page.locator(".bhf-note").first).to_contain_text("mean of 8 updates")


@pytest.mark.parametrize("measure", ["ritz_max", "block_step_norm"])
def test_a_blocks_own_measures_are_drawn(page: Page, quiet: Processes, measure: str) -> None:
    """Each block of a run has its line, which says why its solve stopped and which way it went."""
    worker = register(quiet.client)
    experiment = quiet.client.launch(SPEC.model_copy(update={"optimizers": [HessianFree()]}))
    [(run, token)] = claims(quiet.client, worker)[-1:]
    solves = [
        BlockStats(
            cg_iterations=3, stop_reason=StopReason.PROGRESS, residual=0.1, model_decrease=1.0, ritz_max=value,
            step_norm=value, product_method="samples",
        )
        for value in (4.0, 7.0)
    ]  # fmt: skip
    quiet.client.append(run, token, [row(update).model_copy(update={"blocks": solves}) for update in (1, 2)])
    page.goto(f"{quiet.dashboard_url}/?experiments={experiment.id}&panels={measure}")
    drawn = """() => (document.querySelector(".bhf-chart").data ?? [])
      .map(({ name, y, customdata }) => [name, y, customdata])"""
    words = ["progress, samples"] * 2
    lines = [["HF \u00b7 block 1", [4, 4], words], ["HF \u00b7 block 2", [7, 7], words]]
    wait_until(lambda: page.locator(".bhf-chart").count() and page.evaluate(drawn) == lines, "both blocks are drawn")


def test_decreases_and_times_have_their_panels(page: Page, quiet: Processes) -> None:
    """The blocks' model decreases stand beside the loss's; the bars' shares are those of the rows; nothing zooms."""
    worker = register(quiet.client)
    experiment = quiet.client.launch(SPEC.model_copy(update={"optimizers": [HessianFree()]}))
    [(run, token)] = claims(quiet.client, worker)[-1:]
    solve = BlockStats(cg_iterations=3, stop_reason=StopReason.PROGRESS, residual=0.1, model_decrease=4.0)
    told = {"blocks": [solve], "loss_decrease": 3.0, "gradient_seconds": 0.05, "curvature_seconds": 0.1}
    quiet.client.append(run, token, [row(update).model_copy(update=told) for update in (1, 2)])
    page.goto(f"{quiet.dashboard_url}/?experiments={experiment.id}&panels=decreases,time")
    drawn = """() => (document.querySelector(".bhf-chart").data ?? []).map(({ name, x, y }) => [name, x, y])"""
    expected = [
        ["HF \u00b7 model", [1, 2], [4, 4]],
        ["HF \u00b7 loss, whole step", [1, 2], [3, 3]],
        ["gradient", [pytest.approx(0.25)], [0]],
        ["curvature", [pytest.approx(0.5)], [0]],
        ["evaluation", [0], [0]],
        ["rest", [pytest.approx(0.25)], [0]],
    ]
    wait_until(lambda: page.locator(".bhf-chart").count() and page.evaluate(drawn) == expected, "both are drawn")
    assert "zoom" not in page.url


def test_a_target_is_reached_as_computed_by_hand(page: Page, quiet: Processes, finished: Experiment) -> None:
    """10 + 90 exp(-r u) <= 50 first at u = 17 for r = 0.05 and at u = 9 for r = 0.1: 2 and 1.8 s a fifth each."""
    open_view(page, f"{quiet.dashboard_url}/?experiments={finished.id}&target=50")
    rows = page.locator(".bhf-targets tbody tr")
    expect(rows.nth(0)).to_contain_text("reached174.253.434baseline")
    expect(rows.nth(1)).to_contain_text("reached92.251.818")
    expect(rows.nth(1)).to_contain_text("0.53 \u00d7 the updates")


def test_the_target_can_be_dragged(page: Page, quiet: Processes, finished: Experiment) -> None:
    """The dotted line moves with the mouse; field, table and URL follow it."""
    open_view(page, f"{quiet.dashboard_url}/?experiments={finished.id}&target=50&refresh=0")
    settled(page)
    line = page.locator(".bhf-chart .shapelayer path").first.bounding_box()
    assert line is not None
    page.mouse.move(line["x"] + line["width"] / 2, line["y"] + line["height"] / 2)
    page.mouse.down()
    page.mouse.move(line["x"] + line["width"] / 2, line["y"] + 60, steps=6)
    page.mouse.up()
    page.wait_for_function("() => !location.search.includes('target=50')")
    target = float(page.get_by_role("spinbutton", name="Target").input_value())
    assert 10 < target < 45
    first = next(update for update in range(1, 51) if (row(update, 0.1).train_loss or 0) <= target)
    expect(page.locator(".bhf-targets tbody tr").nth(1).locator("td").nth(2)).to_have_text(str(first))


def test_what_is_chosen_is_chosen_in_charts_and_tables(page: Page, quiet: Processes, finished: Experiment) -> None:
    """One optimizer alone is drawn, listed and counted, and stays so where the URL is opened again."""
    open_view(page, f"{quiet.dashboard_url}/?experiments={finished.id}")
    page.get_by_role("combobox", name="Optimizer").select_option("HF")
    page.wait_for_url(re.compile("optimizer=hf"))
    names = "() => document.querySelector('.bhf-chart').data.filter((t) => t.name).map((t) => t.name)"
    for _ in range(2):
        for table in ("runs", "targets", "steps"):
            expect(page.locator(f".bhf-{table} tbody tr")).to_have_count(1)
        expect(page.locator(".bhf-count")).to_have_text("1 of 2 runs")
        wait_until(lambda: page.evaluate(names) == ["HF", "HF", "HF"], "HF alone is drawn")
        open_view(page, page.url)
    page.get_by_role("combobox", name="Status").select_option("Running")
    expect(page.get_by_text("No runs match the filter")).to_be_visible()


def test_processor_time_has_its_column_where_rows_tell_it(page: Page, quiet: Processes) -> None:
    """The target table has CPU seconds and their ratio: 17 x 0.5 = 8.5 against 9 x 2 = 18, 2.1 times as many."""
    worker = register(quiet.client)
    experiment = quiet.client.launch(SPEC)
    tokens = dict(claims(quiet.client, worker))
    for number, run in enumerate(run.id for run in experiment.runs):
        each = (row(update, 0.05 * (1 + number)) for update in range(1, 51))
        told = [one.model_copy(update={"cpu_seconds": one.update * (0.5 + 1.5 * number)}) for one in each]
        quiet.client.append(run, tokens[run], told)
    open_view(page, f"{quiet.dashboard_url}/?experiments={experiment.id}&target=50")
    expect(page.locator(".bhf-targets thead")).to_contain_text("SecondsCostCPU seconds")
    rows = page.locator(".bhf-targets tbody tr")
    expect(rows.nth(0)).to_contain_text("reached174.253.4348.5baseline")
    expect(rows.nth(1)).to_contain_text("reached92.251.81818")
    expect(rows.nth(1)).to_contain_text("2.1 \u00d7 the CPU time")


def test_the_table_can_be_filtered_and_sorted(page: Page, quiet: Processes, finished: Experiment) -> None:
    """Words narrow the table down to the runs that have them all; a column's head sorts, and again the other way."""
    open_view(page, f"{quiet.dashboard_url}/?experiments={finished.id}")
    rows = page.locator(".bhf-runs tbody tr")
    page.get_by_label("Filter runs").fill("hf finished")
    expect(rows).to_have_count(1)
    expect(rows).to_contain_text("HF")
    page.get_by_label("Filter runs").fill("running")
    expect(rows).to_have_count(0)
    page.get_by_label("Filter runs").fill("")
    page.get_by_role("button", name="Train loss, best").click()
    expect(rows.first).to_contain_text("HF")
    page.get_by_role("button", name="Train loss, best").click()
    expect(rows.first).to_contain_text("Adam")
    page.wait_for_url(re.compile("sort=-best_train_loss"))
    page.get_by_role("button", name="Updates to the target").click()
    expect(page.locator(".bhf-targets tbody tr").first).to_contain_text("HF")
    page.get_by_role("button", name="Update 50").click()
    expect(page.locator(".bhf-steps tbody tr").first).to_contain_text("HF")
    page.wait_for_url(re.compile("(?=.*targetSort=update)(?=.*atSort=50)"))  # it is written a little later
    open_view(page, page.url)
    expect(rows.first).to_contain_text("Adam")
    for table in ("targets", "steps"):
        expect(page.locator(f".bhf-{table} tbody tr").first).to_contain_text("HF")


def test_saved_charts_can_be_opened(page: Page, quiet: Processes, finished: Experiment, tmp_path: Path) -> None:
    """The picture is one, the SVG names the curves, and the page draws them and has its tables without any server."""
    open_view(page, f"{quiet.dashboard_url}/?experiments={finished.id}")
    saved = {}
    for kind in ("PNG", "SVG", "HTML"):
        with page.expect_download() as download:
            menu(page, "Export").get_by_role("button", name=kind).click()
        saved[kind] = tmp_path / download.value.suggested_filename
        download.value.save_as(saved[kind])
    assert saved["PNG"].read_bytes().startswith(b"\x89PNG")
    texts = {text for node in ET.fromstring(saved["SVG"].read_text()).iter() for text in [node.text] if text}
    assert {"Adam", "HF"} <= texts
    page.goto(saved["HTML"].as_uri())
    page.wait_for_function("() => document.querySelectorAll('.scatterlayer .trace').length >= 2")
    found = page.locator("h2").all_text_contents()
    assert found == ["Runs", "Target", "Values at chosen updates", "What differs"]
    targets = page.locator("section", has_text="Compared with Adam").locator("tbody tr")
    expect(targets.first).to_contain_text("Adam")
    expect(targets.first).to_contain_text("baseline")


def test_a_run_is_paused_resumed_cancelled_and_tried_again(page: Page, quiet: Processes) -> None:
    """Each is one press beside the run, and the run then offers what can be asked of it next."""
    register(quiet.client)
    experiment = quiet.client.launch(SPEC)
    page.goto(f"{quiet.dashboard_url}/?experiments={experiment.id}")
    line = page.locator(f"tr[data-run='{experiment.runs[0].id}']")
    for verb, status in [
        ("Pause training", "Paused"),
        ("Resume", "Queued"),
        ("Cancel", "Cancelled"),
        ("Retry", "Queued"),
    ]:
        line.get_by_role("button", name=verb).click()
        expect(line.locator(".bhf-badge")).to_have_text(status)
    assert [run.status.value for run in quiet.client.experiment(experiment.id).runs] == ["queued", "queued"]


def test_the_data_is_complete(page: Page, quiet: Processes, finished: Experiment) -> None:
    """CSV and Parquet of a run, fetched as the page's links do, hold every update, with the same losses."""
    open_view(page, f"{quiet.dashboard_url}/?experiments={finished.id}")
    run = finished.runs[0].id
    link = page.locator(f"tr[data-run='{run}']").get_by_role("link", name="CSV").get_attribute("href")
    text = page.evaluate("async (url) => (await fetch(url)).text()", link)
    assert text == quiet.client.export(run)
    with page.expect_download() as download:
        page.locator(f"tr[data-run='{run}']").get_by_role("link", name="Parquet").click()
    held = parquet.read_table(download.value.path()).to_pydict()
    lines = list(csv.DictReader(text.splitlines()))
    expected = [row(update, 0.05).train_loss for update in range(1, 51)]
    assert held["train_loss"] == expected == [float(line["train_loss"]) for line in lines]
    assert held["update"] == list(range(1, 51)) == [int(line["update"]) for line in lines]


def test_hostile_names_are_text(page: Page, quiet: Processes) -> None:
    """Markup, scripts, directions, emoji and Markdown in names are shown as they are and do nothing."""
    dialogs: list[str] = []
    page.on("dialog", lambda dialog: dialogs.append(dialog.message))
    register(quiet.client)
    names = [text.format(f"alert({i})").strip()[:120] for i, text in enumerate(HOSTILE)]
    one = SPEC.model_copy(update={"optimizers": [Adam()]})
    ids = [quiet.client.launch(one.model_copy(update={"name": name})).id for name in names]
    page.goto(f"{quiet.dashboard_url}/?experiments={','.join(ids)}&refresh=0")
    expect(page.locator(".bhf-runs tbody tr")).to_have_count(len(names))
    wait_until(lambda: draws(page) > 0, "the chart is drawn")
    shown = page.locator(".bhf-runs tbody tr .bhf-eye").all_text_contents()
    assert shown == [f"Adam \u00b7 {name}" for name in names]
    assert page.locator(".bhf-live :is(script, img, iframe, b:not(.gtitle))").count() == 0
    assert dialogs == []
