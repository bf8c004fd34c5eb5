"""What the browser's scripts draw of which runs, against figures and lists written by hand."""

from typing import Any

import pytest
from playwright.sync_api import Page

from tests.e2e.conftest import Call, Service

pytestmark = pytest.mark.browser

STATUS = {"a1": "finished", "a2": "finished", "b1": "finished", "b2": "running", "c1": "finished"}
GROUPS = {"A": ["a1", "a2"], "B": ["b1", "b2"], "C": ["c1"]}


def test_a_zoom_survives_its_text(call: Call) -> None:
    """What is written into the URL is read back; what makes no sense is left out."""
    zoom = {"x": [0.5, 30], "train_loss": [-1, 2.25]}
    assert call("plot/zoom", "readZoom", call("plot/zoom", "writeZoom", zoom)) == zoom
    assert call("plot/zoom", "readZoom", "x:1,y:NaN:2,<b>") == {}


VIEW = {
    "x": "update", "panels": ["train_loss"], "seeds": "both", "centre": "mean", "band": "range", "layout": "grid",
    "hidden": [], "smooth": 0, "logX": False, "logY": True, "zoom": "",
}  # fmt: skip


def traces(page: Page, view: dict[str, Any], runs: list[dict[str, Any]], blocks: dict[str, Any] | None = None) -> Any:
    """Return what is drawn of one group of runs whose train loss falls from 3 to 1; the first one has the blocks."""
    code = """async ([view, runs, blocks]) => {
      const { figure } = await import("/assets/plot/draw.js");
      const columns = { update: [1, 2, 3], train_loss: [3, 2, 1] };
      const series = new Map(runs.map(({ id }) => [id, columns]));
      const store = { series, runs: new Map(), blocks: new Map(blocks ? [[runs[0].id, blocks]] : []), bucket: 1 };
      const theme = { colours: { bhf: "#000000" }, others: ["#111111"], text: "#222222" };
      const groups = [{ key: "g", label: "BHF", kind: "bhf", variant: 0, runs }];
      return figure({ groups, store, view, theme, width: 900 });
    }"""
    return page.evaluate(code, [VIEW | view, runs, blocks])


@pytest.mark.parametrize("seeds", ["both", "band", "each"])
def test_smoothing_keeps_what_was_measured(page: Page, service: Service, seeds: str) -> None:
    """Beside each smoothed line stands the line as it was, and each seed's own line is never smoothed."""
    page.goto(f"{service.dashboard_url}/healthz")
    runs = [{"id": f"r{i}", "seed": i, "name": f"seed {i}"} for i in range(2)]
    drawn = traces(page, {"smooth": 0.9, "seeds": seeds}, runs)["traces"]
    smoothed = [trace for trace in drawn if trace["y"] != [3, 2, 1] and None not in trace["y"]]
    raw = [trace for trace in drawn if trace["y"][:3] == [3, 2, 1] and "fill" not in trace and trace["line"]["width"]]
    assert len(smoothed) == (2 if seeds == "each" else 1)
    assert len(raw) == (1 if seeds == "band" else 2)


def test_stop_reasons_are_marks_at_the_height_of_their_word(page: Page, service: Service) -> None:
    """Each reason has its tick; two blocks' marks stand apart, half a step at most; panels may stand in one column."""
    page.goto(f"{service.dashboard_url}/healthz")
    blocks: dict[str, Any] = {"update": [1, 2]} | {f"block{i}_cg_iterations": [3, 4] for i in range(2)}
    blocks |= {"block0_stop_reason": ["iterations", "progress"], "block1_stop_reason": ["progress", "progress"]}
    view = {"panels": ["train_loss", "stop_reason"], "layout": "stack"}
    figure = traces(page, view, [{"id": "r", "seed": 0, "name": "seed 0"}], blocks)
    marks = [(trace["name"], trace["y"], trace["customdata"]) for trace in figure["traces"][1:]]
    assert marks == [
        ("BHF \u00b7 block 1", [-0.25, 0.75], ["iterations", "progress"]),
        ("BHF \u00b7 block 2", [1.25, 1.25], ["progress", "progress"]),
    ]
    layout = figure["layout"]
    assert layout["yaxis2"]["ticktext"] == ["iterations", "progress"]
    assert layout["yaxis2"]["tickfont"] == {"color": "#222222"}, "as dark or light as all text"
    assert layout["xaxis"]["domain"] == layout["xaxis2"]["domain"]
    assert layout["yaxis2"]["domain"][1] < layout["yaxis"]["domain"][0]
    assert layout["xaxis2"]["matches"] == "x"


def picked(page: Page, **view: str) -> Any:
    """Return the ids of the sample's runs that a view picks."""
    code = """async ([status, groups, view]) => {
      const { picked } = await import("/assets/store/filter.js");
      const problem = (kind) => ({ name: kind === "hf" ? "cnn" : "tiny", data: "dots" });
      const config = (kind) => ({ optimizer: { kind }, problem: problem(kind) });
      const kind = (id) => (id[0] === "c" ? "hf" : "bhf");
      const state = (status) => ({ status, final: status !== "running" });
      const run = ([id, status]) => [id, { ...state(status), experiment_name: "E", config: config(kind(id)) }];
      const runs = new Map(Object.entries(status).map(run));
      const all = Object.entries(groups).map(([key, ids]) => ({ key, runs: ids.map((id) => ({ id, title: id })) }));
      return picked(all, runs, view).flatMap(({ runs }) => runs.map(({ id }) => id));
    }"""
    return page.evaluate(code, [STATUS, GROUPS, {"filter": "", "status": "", "optimizer": "", "problem": ""} | view])


def test_a_view_picks_runs(page: Page, service: Service) -> None:
    """By state, by optimizer (HF is not BHF), by problem, by words; a run must be of each kind that is asked for."""
    page.goto(f"{service.dashboard_url}/healthz")
    assert picked(page) == ["a1", "a2", "b1", "b2", "c1"]
    assert picked(page, status="open") == picked(page, status="running") == ["b2"]
    assert picked(page, status="ended", optimizer="hf") == ["c1"]
    assert picked(page, problem="tiny", filter="B1 finished") == ["b1"]
    assert picked(page, status="failed") == []


def test_rows_sort_either_way(page: Page, service: Service) -> None:
    """What is not there comes last in both directions; an order is named by its column."""
    page.goto(f"{service.dashboard_url}/healthz")
    code = """async ([rows, sort]) => {
      const { inOrder } = await import("/assets/panels/sortable_header.js");
      return inOrder(rows, sort, (row, key) => row[key]).map(({ cost }) => cost);
    }"""
    rows = [{"cost": 2}, {"cost": None}, {"cost": 3}]
    assert page.evaluate(code, [rows, "cost"]) == [2, 3, None]
    assert page.evaluate(code, [rows, "-cost"]) == [3, 2, None]
    assert page.evaluate(code, [rows, ""]) == [2, None, 3]


def test_many_lines_are_one_trace_for_each_group(page: Page, service: Service) -> None:
    """Beyond 16 lines a group's are one, with gaps between them, and each point knows whose it is."""
    page.goto(f"{service.dashboard_url}/healthz")
    runs = [{"id": f"r{i}", "seed": i, "name": f"seed {i}"} for i in range(20)]
    code = """async ([runs, view]) => {
      const { figure } = await import("/assets/plot/draw.js");
      const columns = { update: [1, 2], train_loss: [3, 2] };
      const series = new Map(runs.map(({ id }) => [id, columns]));
      const store = { series, runs: new Map(), blocks: new Map(), bucket: 1 };
      const theme = { colours: { adam: "#000000" }, others: ["#111111"] };
      const group = (runs) => [{ key: "g", label: "Adam", kind: "adam", variant: 0, runs }];
      const drawn = (some) => figure({ groups: group(some), store, view, theme, width: 900 }).traces;
      return [drawn(runs), drawn(runs.slice(0, 16))];
    }"""
    many, few = page.evaluate(code, [runs, VIEW | {"seeds": "each"}])
    assert len(few) == 16
    assert [trace["y"] for trace in many] == [([3, 2, None] * 20)[:-1]]
    assert many[0]["customdata"][:4] == ["seed 0", "seed 0", None, "seed 1"]


def test_the_fields_of_panels_are_asked_for(call: Call) -> None:
    """Panels made of several columns ask for those, and for the axis; blocks are asked for apart."""
    view = {"panels": ["time", "decreases", "residual", "scale"], "targetOf": "test_loss", "x": "update"}
    fields = ["gradient_seconds", "curvature_seconds", "evaluation_seconds", "loss_decrease", "scale", "test_loss"]
    assert call("store/measures", "fieldsOf", view) == fields
    assert call("store/measures", "fieldsOf", view | {"x": "cpu_seconds"}) == [*fields, "cpu_seconds"]


def test_ticks_of_a_logarithmic_axis(call: Call) -> None:
    """Within three decades the ticks are 1, 2 and 5 of each, beyond that the powers of ten."""
    near = call("plot/draw", "logTicks", [10, 100])
    assert [value for value in near["tickvals"] if 20 <= value <= 100] == [20, 50, 100]
    far = call("plot/draw", "logTicks", [1, 1e6])
    assert [value for value in far["tickvals"] if 1 <= value <= 100] == [1, 10, 100]


def test_markup_is_plain_for_plotly(call: Call) -> None:
    """Tags and entities in a name lose their meaning."""
    assert call("store/measures", "plain", "<b>&amp;</b>") == "&lt;b&gt;&amp;amp;&lt;/b&gt;"
