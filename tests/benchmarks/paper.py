"""Pictures and verdict table of the recorded reproductions, for docs/results/paper.md.

python -m tests.benchmarks.paper            prints the table
python -m tests.benchmarks.paper --pictures also draws tests/benchmarks/pictures/paper-*.svg, by Chromium
"""

import argparse
import json
from importlib.resources import files
from pathlib import Path
from urllib.parse import unquote

from playwright.sync_api import sync_playwright

from backend.paper.claims import judge_claims
from backend.paper.curves import Results
from backend.paper.figures import paper_figure
from backend.paper.results_catalog import recorded
from backend.paper.specifications import TITLES, PaperProblem
from tests.e2e.conftest import CHROMIUM, QUIET

PICTURES = Path(__file__).parent / "pictures"
WIDTH = 1100
# Plotly draws the ids within a picture by chance: with this, the same figure gives the same file.
SEEDED = "let state = 1; Math.random = () => (state = (state * 16807) % 2147483647) / 2147483647;"


def table() -> str:
    """Write each claim's verdict for each problem, with its reason, as Markdown."""
    lines = ["| claim | problem | verdict | what the runs say |", "|---|---|---|---|"]
    for problem, results in _all().items():
        for finding in judge_claims(results):
            claim = finding.claim if problem is PaperProblem.AUTOENCODER or finding.number > 4 else "the same"
            lines.append(
                f"| {finding.number}. {claim} | {problem.value} | **{finding.verdict.value}** | {finding.text} |"
            )
    head, body = lines[:2], lines[2:]
    return "\n".join([*head, *sorted(body, key=lambda line: int(line.removeprefix("| ").split(".")[0]))])


def draw(problem: PaperProblem, results: Results) -> str:
    """Draw a figure as SVG, on white."""
    figure = paper_figure(results)
    layout = figure.layout | {"width": WIDTH, "paper_bgcolor": "#ffffff", "title": {"text": TITLES[problem], "y": 0.99}}
    whole = json.dumps({"data": figure.data, "layout": layout})
    with sync_playwright() as play:
        browser = play.chromium.launch(executable_path=CHROMIUM, args=QUIET)
        page = browser.new_page()
        page.evaluate(SEEDED)
        page.add_script_tag(path=str(files("plotly") / "package_data" / "plotly.min.js"))
        size = json.dumps({"format": "svg", "width": WIDTH, "height": layout["height"]})
        url = page.evaluate(f"Plotly.toImage({whole}, {size})")
        browser.close()
    return unquote(url.partition(",")[2]) + "\n"


def _all() -> dict[PaperProblem, Results]:
    found = {problem: recorded(problem) for problem in PaperProblem}
    return {problem: results for problem, results in found.items() if results is not None}


def main() -> None:
    """Print the table, and draw where asked."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pictures", action="store_true", help="draw the figures, which needs Chromium")
    if parser.parse_args().pictures:
        for problem, results in _all().items():
            (PICTURES / f"paper-{problem.value}.svg").write_text(draw(problem, results), encoding="utf-8")
    print(table())


if __name__ == "__main__":
    main()
