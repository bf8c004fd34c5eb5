"""The pictures of the pages that README.md and the tutorials show, from runs that really train.

python -m tests.benchmarks.pages [FOLDER]

Backend, worker and dashboard train the first comparison, 40 updates of each optimizer on the embedded digits. Chromium
films the race, and takes the compare page, light and dark, and the launch page, dark, into FOLDER (dashboard/pictures).
"""

import argparse
import io
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Literal

from PIL import Image
from playwright.sync_api import Browser, Page, expect, sync_playwright

from backend.cli.demo import DEMO
from tests.e2e.conftest import CHROMIUM, QUIET, draws, seen, settled
from tests.processes import DEADLINE, Processes, wait_until

PICTURES = Path(__file__).parents[2] / "dashboard" / "pictures"
WIDTH = 1280
FRAMES, FRAME_MS, LAST_MS = 24, 200, 1500
"""Frames of the moving picture, how long each is shown, and the last one"""
FILM_WIDTH = 960


def opened(browser: Browser, mode: Literal["light", "dark"], height: int) -> Page:
    """Open a tab that waits long, in one of the two looks."""
    page = browser.new_page(viewport={"width": WIDTH, "height": height}, color_scheme=mode)
    page.set_default_timeout(1000 * DEADLINE)
    return page


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


def film(page: Page, ended: Callable[[], bool], path: Path) -> None:
    """Save a moving picture of a page from now until the end, in FRAMES frames of equal distance."""
    taken = [page.screenshot()]
    while not ended():
        page.wait_for_timeout(300)
        taken.append(page.screenshot())
    chosen = [taken[round(n * (len(taken) - 1) / (FRAMES - 1))] for n in range(FRAMES)]
    frames = [Image.open(io.BytesIO(frame)).convert("RGB") for frame in chosen]
    size = (FILM_WIDTH, round(frames[0].height * FILM_WIDTH / frames[0].width))
    first, *others = [frame.resize(size, Image.Resampling.LANCZOS) for frame in frames]
    durations = [*[FRAME_MS] * len(others), LAST_MS]
    first.save(path, save_all=True, append_images=others, duration=durations, loop=0, quality=60, method=6)
    print(f"{path.name}: {path.stat().st_size / 1000:.0f} kB from {len(taken)} pictures")


def main() -> None:
    """Train, and take the pictures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", nargs="?", type=Path, default=PICTURES)
    folder: Path = parser.parse_args().folder
    folder.mkdir(parents=True, exist_ok=True)
    with (
        tempfile.TemporaryDirectory() as home,
        Processes(Path(home), "backend", "dashboard", "worker") as service,
        sync_playwright() as playwright,
    ):
        expect.set_options(timeout=1000 * DEADLINE)
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=QUIET)
        made = service.client.launch(DEMO)
        runs = [run.id for run in made.runs]

        def ended() -> bool:
            return all(service.client.run(run).status.final for run in runs)

        page = opened(browser, "light", 800)
        page.goto(f"{service.dashboard_url}/?experiments={made.id}")
        wait_until(lambda: page.locator(".bhf-live").count() and draws(page) > 0, "the chart is drawn")
        film(page, ended, folder / "race.webp")
        page.close()
        errors = [run.error for run in map(service.client.run, runs) if run.error]
        assert not errors, errors
        looks: tuple[Literal["light", "dark"], ...] = ("light", "dark")
        for mode in looks:
            page = opened(browser, mode, 1560)
            page.goto(f"{service.dashboard_url}/?experiments={made.id}")
            drawn(page, DEMO.budget.updates or 0)
            picture(page.screenshot(), folder / f"compare-{mode}.png")
            page.close()
        page = opened(browser, "dark", 900)
        page.goto(f"{service.dashboard_url}/launch")
        expect(page.locator(".bhf-bar").first).to_be_visible()
        settled(page)
        expect(page.get_by_test_id("stSkeleton")).to_have_count(0)
        picture(page.screenshot(), folder / "launch-dark.png")
        browser.close()


if __name__ == "__main__":
    main()
