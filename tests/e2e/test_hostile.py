"""Scripts where text is expected, in a real browser: notes, errors, tracebacks, what workers say, tags."""

from collections.abc import Iterator
from urllib.parse import urlencode

import pytest
from playwright.sync_api import Page, expect

from backend.errors import InvalidInput
from backend.schemas.optimizers import Adam
from backend.schemas.runs import RunError, RunStatus
from tests.e2e.conftest import draws, fill, settled
from tests.e2e.samples import HOSTILE, SPEC, claims, register, row
from tests.processes import Processes, wait_until

pytestmark = pytest.mark.browser

PAYLOADS = [text.format(f"alert({i})") for i, text in enumerate(HOSTILE)]
PAGES = [PAYLOADS[::2], PAYLOADS[1::2]]
ACTIVE = "[onerror], [onload], [srcdoc], a[href^='javascript'], img[src='x'], [data-testid=stApp] script"


@pytest.fixture
def silent(page: Page) -> Iterator[Page]:
    """Open a tab in which no dialog may open."""
    dialogs: list[str] = []

    def note(dialog: object) -> None:
        dialogs.append(str(dialog))

    page.on("dialog", note)
    yield page
    page.wait_for_timeout(200)
    assert dialogs == []


def failed(quiet: Processes, errors: list[RunError]) -> tuple[str, list[str]]:
    """Let a run fail by each error; return the experiment's id and the runs'."""
    worker = register(quiet.client)
    seeds = list(range(len(errors) // 2))
    optimizers = [Adam(), Adam(learning_rate=0.1)]
    made = quiet.client.launch(SPEC.model_copy(update={"optimizers": optimizers, "seeds": seeds}))
    own = {run.id for run in made.runs}
    taken = [claim for claim in claims(quiet.client, worker) if claim[0] in own]
    for (run, token), error in zip(taken, errors, strict=True):
        text = error.message[:500]
        quiet.client.start(run, token, environment={"device": text}, blocks=[], parameters=1, note=text)
        quiet.client.append(run, token, [row(1)])
        quiet.client.finish(run, token, RunStatus.FAILED, error=error, ended_by=text[:200])
    return made.id, [run for run, _ in taken]


def test_errors_on_the_compare_page_are_text(silent: Page, quiet: Processes) -> None:
    """The table shows messages and tracebacks as they are."""
    experiment, runs = failed(quiet, [RunError(message=text, traceback=text) for text in PAYLOADS])
    silent.goto(f"{quiet.dashboard_url}/?experiments={experiment}&refresh=0")
    expect(silent.locator(".bhf-runs .bhf-detail").nth(0)).to_be_attached()
    wait_until(lambda: draws(silent) > 0, "the chart is drawn")
    expect(silent.locator(".bhf-runs tbody tr[data-run]")).to_have_count(len(PAYLOADS))
    shown = {
        run: silent.locator(f"tr[data-run='{run}'] .bhf-detail").evaluate("node => [node.textContent, node.title]")
        for run in runs
    }
    assert shown == {run: [text, text] for run, text in zip(runs, PAYLOADS, strict=True)}
    assert silent.locator(ACTIVE).count() == 0


def test_errors_and_what_a_worker_says_on_the_run_page_are_text(silent: Page, quiet: Processes) -> None:
    """The run page shows payloads in message, traceback, note, device and reason."""
    _, runs = failed(quiet, [RunError(message=" ".join(some), traceback="\n".join(some)) for some in PAGES])
    for run, some in zip(runs, PAGES, strict=True):
        silent.goto(f"{quiet.dashboard_url}/run?id={run}&refresh=0")
        settled(silent)
        expect(silent.get_by_test_id("stAlert")).to_contain_text("alert(")
        assert silent.get_by_test_id("stAlert").inner_text().replace("\u2060", "").split() == " ".join(some).split()
        expect(silent.locator(".bhf-history")).to_contain_text(" ".join(some)[:500])
        silent.get_by_text("Traceback", exact=True).click()
        expect(silent.get_by_test_id("stCode")).to_contain_text(some[0])
        traceback = silent.get_by_test_id("stCode").locator("code").text_content() or ""
        assert traceback.split() == "\n".join(some).split()
        assert silent.locator(ACTIVE).count() == 0


def test_notes_are_text(silent: Page, quiet: Processes) -> None:
    """Payloads are notes of comparisons, on the page and in the dialog that changes them."""
    register(quiet.client)
    ids = []
    for some in PAGES:
        made = quiet.client.launch(SPEC.model_copy(update={"optimizers": [Adam()]}))
        quiet.client.edit(made.id, note="\n".join(some))
        ids.append(made.id)
    silent.goto(f"{quiet.dashboard_url}/?experiments={','.join(ids)}&refresh=0")
    expect(silent.locator(".bhf-about p")).to_have_count(len(ids))
    shown = silent.locator(".bhf-about p").all_text_contents()
    assert sorted(shown) == sorted("\n".join(some) for some in PAGES)
    assert silent.locator(ACTIVE).count() == 0
    settled(silent)
    silent.get_by_role("button", name="Edit").click()
    expect(silent.get_by_role("dialog").get_by_label("Note")).to_be_visible()
    assert silent.locator(ACTIVE).count() == 0


def test_tags_cannot_hold_a_script(silent: Page, quiet: Processes) -> None:
    """Each payload is refused as a tag; in the page's address and typed into the field it does nothing."""
    register(quiet.client)
    one = quiet.client.launch(SPEC.model_copy(update={"optimizers": [Adam()]}))
    for text in PAYLOADS:
        with pytest.raises(InvalidInput, match="tags"):
            quiet.client.edit(one.id, tags=[text])
    silent.goto(f"{quiet.dashboard_url}/?{urlencode({'experiments': one.id, 'tag': ','.join(PAYLOADS)})}")
    expect(silent.locator(".bhf-runs tbody tr")).to_have_count(1)
    settled(silent)
    assert silent.locator(ACTIVE).count() == 0
    silent.get_by_role("button", name="Edit").click()
    field = silent.get_by_role("dialog").get_by_label("Tags")
    for text in PAYLOADS[:4]:
        field.fill(text)
        field.press("Enter")
    field.press("Tab")
    silent.get_by_role("dialog").get_by_role("button", name="Save").click()
    wait_until(lambda: quiet.client.experiment(one.id).tags, "the tags are kept")
    tags = quiet.client.experiment(one.id).tags
    expect(silent.locator(".bhf-tag")).to_have_text(tags)
    assert all(set(tag) <= set("abcdefghijklmnopqrstuvwxyz0123456789_.-") for tag in tags)
    assert silent.locator(ACTIVE).count() == 0


def test_ten_kilobytes_are_a_note_and_no_name(silent: Page, quiet: Processes) -> None:
    """As a note they are shown whole and widen no page; as a name they are refused in words, beside the field."""
    register(quiet.client)
    text = "<b>\u05e9\U0001f4a5</b>" * 1000
    assert len(text.encode()) > 10_000
    made = quiet.client.launch(SPEC.model_copy(update={"optimizers": [Adam()]}))
    quiet.client.edit(made.id, note=text[:10_000])
    silent.goto(f"{quiet.dashboard_url}/?experiments={made.id}&refresh=0")
    expect(silent.locator(".bhf-about p")).to_have_text(text[:10_000])
    widths = silent.get_by_test_id("stMain").evaluate("(main) => [main.scrollWidth, main.clientWidth]")
    assert widths[0] == widths[1]
    silent.goto(f"{quiet.dashboard_url}/launch")
    fill(silent, "name", text)
    expect(silent.locator(".bhf-error")).to_contain_text("name is")
    expect(silent.get_by_role("button", name="Launch", exact=True)).to_be_disabled()
    assert silent.locator(ACTIVE).count() == 0
