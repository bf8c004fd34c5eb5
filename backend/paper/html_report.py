"""An experiment as a self-contained HTML file: figure, verdicts, configurations, machine."""

import json
from collections.abc import Sequence
from html import escape
from importlib.resources import files

from backend.schemas.experiments import RunConfig
from backend.schemas.paper import Answer, ClaimResult, Evidence, PaperView, PlotlyFigure

_STYLE = """
body { font: 16px/1.5 system-ui, sans-serif; color: #1b2330; max-width: 1100px; margin: 2rem auto; padding: 0 1rem }
table { border-collapse: collapse; margin: .5rem 0 1.5rem; display: block; overflow-x: auto }
th, td { border-bottom: 1px solid #d9dee6; padding: .3rem .7rem; text-align: left; vertical-align: top }
td.number { text-align: right; font-variant-numeric: tabular-nums }
.verdict { font-weight: 650 } .rule { color: #5a6473 } pre { background: #f3f5f8; padding: 1rem; overflow-x: auto }
"""


def report(view: PaperView, configurations: Sequence[RunConfig], answers: Sequence[Answer] = ()) -> str:
    """Return the figure and verdicts of an experiment, or the answers of a sweep, as HTML; texts are escaped."""
    parts = [
        f"<h1>{escape(view.title)}</h1>",
        f"<p>{view.ended} of {view.total} runs have ended. Lines are medians over seeds, bands reach from the lowest "
        "seed to the highest.</p>",
        _chart("figure", view.figure),
        *(_answer(answer) for answer in answers),
        *([] if answers else ["<h2>Claims of the paper and verdicts from these runs</h2>"]),
        *([] if answers else map(_claim, view.findings)),
        _notes(view.notes),
        "<h2>Machine and versions</h2>",
        _table(["", ""], [[name, value] for name, value in view.made_with.items()]),
        "<h2>Experiment</h2>",
        f"<pre>{escape(view.spec.model_dump_json(indent=2))}</pre>",
        f"<details><summary>Every run's configuration ({len(configurations)})</summary>",
        *(f"<pre>{escape(config.model_dump_json(indent=1))}</pre>" for config in configurations),
        "</details>",
    ]
    script = (files("plotly") / "package_data" / "plotly.min.js").read_text().replace("</script", "<\\/script")
    return (
        f'<!doctype html><html lang="en"><head><meta charset="utf-8"><title>{escape(view.title)}</title>'
        f'<meta name="viewport" content="width=device-width"><style>{_STYLE}</style>'
        f"<script>{script}</script></head><body>{''.join(parts)}</body></html>"
    )


def _notes(notes: Sequence[str]) -> str:
    items = "".join(f"<li>{escape(note)}</li>" for note in notes)
    return f"<h2>Notes</h2><ul>{items}</ul>" if notes else ""


def _chart(name: str, figure: PlotlyFigure) -> str:
    """Return a figure as HTML; `<` is escaped so that no text can end the script."""
    whole = json.dumps(figure.model_dump(mode="json")).replace("<", "\\u003c")
    return (
        f'<div id="{name}"></div><script>{{ const it = {whole}; Plotly.newPlot("{name}", it.data, it.layout, '
        "{responsive: true}); }</script>"
    )


def _claim(result: ClaimResult) -> str:
    return (
        f'<h3>{result.number}. {escape(result.claim)}</h3><p><span class="verdict">{escape(result.verdict.value)}'
        f'</span>: {escape(result.text)}</p><p class="rule">{escape(result.rule)}</p>'
        + _table(["What", "median", "smallest", "largest", "seeds"], [_row(row) for row in result.evidence], numbers=1)
    )


def _row(row: Evidence) -> list[str]:
    unit = f" [{row.unit}]" if row.unit else ""
    return [row.what + unit, *(_number(value) for value in (row.middle, row.low, row.high)), str(row.n)]


def _number(value: float | None) -> str:
    return "\N{EN DASH}" if value is None else f"{value:.4g}"


def _answer(answer: Answer) -> str:
    return (
        f"<h2>{escape(answer.title)}</h2>{_chart(f'study-{answer.question}', answer.figure)}"
        f"<p>{escape(answer.text)}</p><p><strong>{escape(answer.advice)}</strong></p>"
    )


def _table(head: Sequence[str], rows: Sequence[Sequence[str]], *, numbers: int | None = None) -> str:
    """Return a table as HTML; the columns from `numbers` on are numbers."""
    if not rows:
        return ""
    cells = [
        "".join(
            f'<td class="number">{escape(cell)}</td>'
            if numbers is not None and i >= numbers
            else f"<td>{escape(cell)}</td>"
            for i, cell in enumerate(row)
        )
        for row in rows
    ]
    heads = "".join(f"<th>{escape(name)}</th>" for name in head)
    return f"<table><thead><tr>{heads}</tr></thead><tbody>{''.join(f'<tr>{row}</tr>' for row in cells)}</tbody></table>"
