"""The report is one file, and shows texts as text."""

import json
import re

from backend.paper.html_report import report
from backend.paper.results_catalog import view
from tests.backend.paper.samples import GOOD, results


def test_a_report_holds_figure_verdicts_and_configurations() -> None:
    """Each verdict, each run's configuration and the figure's values are in it; nothing is loaded from elsewhere."""
    made = results(GOOD)
    html = report(view(made), [curve.config for curve in made.curves])
    assert html.count('<span class="verdict">reproduced') == 4
    assert html.count("<pre>") == 1 + len(made.curves)
    body = html[html.index("<body>") :]
    figure = re.search(r"const it = (\{.*?\}); Plotly", body)
    assert figure is not None
    lines = [trace for trace in json.loads(figure[1])["data"] if trace.get("name") == "BHF, curvature batch 50"]
    assert lines[0]["y"] == [21, 10, 8.25]
    assert not re.search(r'(src|href)="http', body)


def test_a_hostile_name_stays_text() -> None:
    """Markup in the experiment's name neither ends the script nor becomes an element."""
    made = results(GOOD)
    name = "</script><script>alert(1)</script>"
    shown = view(made).model_copy(update={"title": name, "spec": made.spec.model_copy(update={"name": name})})
    html = report(shown, [])
    assert "alert(1)</script>" not in html
    assert "&lt;/script&gt;&lt;script&gt;alert(1)" in html
