"""The pictures of the pages that README.md and the page "Guide" show, from runs that really train.

python -m tests.benchmarks.pages [FOLDER] [--only VIEW ...]

Backend, worker and dashboard train the first comparison, 40 updates of each optimizer on the embedded digits, and HF
and BHF on a smaller network with Martens' stop; Chromium takes the compare page and some charts with their legend,
light and dark, and the launch page, dark, into FOLDER (dashboard/pictures).
"""

import argparse
import io
import tempfile
from pathlib import Path
from typing import Literal

from PIL import Image
from playwright.sync_api import Browser, Page, expect, sync_playwright

from backend.cli.demo import DEMO
from backend.schemas.experiments import Problem
from backend.schemas.optimizers import BlockHessianFree, CgStop, HessianFree
from tests.e2e.conftest import CHROMIUM, QUIET, draws, seen, settled
from tests.processes import DEADLINE, Processes, wait_until

PICTURES = Path(__file__).parents[2] / "dashboard" / "pictures"
TRAINING_SECONDS = 3600
WIDTH = 1280
SMALL = {"hidden_1": 300, "hidden_2": 150, "hidden_3": 75, "code": 20}
SOLVES = {
    "gradient_batch": 500, "curvature_batch": 125, "learning_rate": 0.2, "damping": 0.3, "max_cg_iterations": 60,
    "cg_stop": CgStop.MARTENS, "cg_tolerance": 0.002,
}  # fmt: skip
STOPPED = DEMO.model_copy(
    update={
        "name": "Martens' stop", "problem": Problem(options=SMALL),
        "optimizers": [BlockHessianFree(**SOLVES), HessianFree(**SOLVES)],
    }
)  # fmt: skip
VIEWS = {
    "compare": (DEMO, ""),
    "updates": (DEMO, "&panels=train_loss,test_loss"),
    "seconds": (DEMO, "&panels=train_loss,test_loss&x=seconds"),
    "blocks": (STOPPED, "&panels=cg_iterations,stop_reason,residual,decreases,ritz_max,block_step_norm"),
}
"""Pictures by name: of which comparison, and what its address has; with such a part, of the charts alone."""


def opened(browser: Browser, mode: Literal["light", "dark"], height: int) -> Page:
    """Open a tab that waits long, in one of the two looks."""
    page = browser.new_page(viewport={"width": WIDTH, "height": height}, color_scheme=mode)
    page.set_default_timeout(1000 * DEADLINE)
    return page


def shot(page: Page) -> bytes:
    """Take the charts with the legend above them."""
    parts = [page.locator(name).bounding_box() for name in (".bhf-legend", ".bhf-chart")]
    boxes = [box for box in parts if box]
    low, high = min(box["y"] for box in boxes), max(box["y"] + box["height"] for box in boxes)
    return page.screenshot(clip=boxes[-1] | {"y": low - 4, "height": high - low + 4})


def drawn(page: Page, updates: int) -> None:
    """Wait until a compare page shows everything."""
    wait_until(lambda: page.locator(".bhf-live").count() and draws(page) > 0, "the chart is drawn")
    wait_until(lambda: seen(page) == updates, "all updates are drawn")
    expect(page.locator(".bhf-steps tbody")).not_to_contain_text("\u2013")
    settled(page)


def picture(taken: bytes, path: Path) -> None:
    """Save a picture small: screens have few colours, so that a palette of 128 keeps them."""
    shot = Image.open(io.BytesIO(taken)).convert("RGB")
    shot.quantize(128, method=Image.Quantize.MEDIANCUT, dither=Image.Dither.NONE).save(path, optimize=True)
    print(f"{path.name}: {path.stat().st_size / 1000:.0f} kB")


def main() -> None:
    """Train, and take the pictures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", nargs="?", type=Path, default=PICTURES)
    parser.add_argument("--only", nargs="+", choices=VIEWS, help="take these alone, and train what they need")
    chosen = parser.parse_args()
    folder: Path = chosen.folder
    views = {name: view for name, view in VIEWS.items() if name in (chosen.only or VIEWS)}
    folder.mkdir(parents=True, exist_ok=True)
    with (
        tempfile.TemporaryDirectory() as home,
        Processes(Path(home), "backend", "dashboard", "worker") as service,
        sync_playwright() as playwright,
    ):
        expect.set_options(timeout=1000 * DEADLINE)
        specs = {spec.name: spec for spec, _ in views.values()}
        made = {name: service.client.launch(spec).id for name, spec in specs.items()}
        runs = [run.id for id_ in made.values() for run in service.client.experiment(id_).runs]
        wait_until(
            lambda: all(service.client.run(run).status.final for run in runs), "all runs end", seconds=TRAINING_SECONDS
        )
        errors = [run.error for run in map(service.client.run, runs) if run.error]
        assert not errors, errors
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=QUIET)
        looks: tuple[Literal["light", "dark"], ...] = ("light", "dark")
        for mode in looks:
            for name, (spec, view) in views.items():
                page = opened(browser, mode, 2200 if view else 1560)
                page.goto(f"{service.dashboard_url}/?experiments={made[spec.name]}{view}")
                drawn(page, spec.budget.updates or 0)
                picture(shot(page) if view else page.screenshot(), folder / f"{name}-{mode}.png")
                page.close()
        page = opened(browser, "dark", 1200)
        page.goto(f"{service.dashboard_url}/launch")
        expect(page.locator(".bhf-blocks").first).to_be_visible()
        settled(page)
        expect(page.get_by_role("button", name="Remove")).to_have_count(3)
        expect(page.get_by_test_id("stSkeleton")).to_have_count(0)
        picture(page.screenshot(), folder / "launch-dark.png")
        browser.close()


if __name__ == "__main__":
    main()
