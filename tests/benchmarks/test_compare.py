"""Tests of the comparison, on a smaller network with smaller batches."""

import json
from pathlib import Path
from xml.etree import ElementTree

import pytest

from backend.schemas.experiments import Problem
from backend.schemas.optimizer_registry import Optimizer
from backend.schemas.optimizers import Adam, BlockHessianFree, HessianFree
from tests.benchmarks import compare
from tests.benchmarks.compare import curves
from tests.benchmarks.picture import Line, draw

SMALL = Problem(options={"hidden_1": 200, "hidden_2": 100, "hidden_3": 50, "code": 20}, train_size=4000, test_size=100)
OPTIMIZERS: dict[str, Optimizer] = {
    "BHF": BlockHessianFree(gradient_batch=400, curvature_batch=100),
    "HF": HessianFree(gradient_batch=400, curvature_batch=100),
    "Adam": Adam(gradient_batch=400),
}


def test_second_order_is_far_below_adam_after_30_updates() -> None:
    """On real digits, after 30 updates, HF and BHF have at most 0.75 of Adam's train error."""
    last = {
        name: curves(optimizer, name=name, seeds=1, updates=30, threads=1, problem=SMALL)[0].values[-1]
        for name, optimizer in OPTIMIZERS.items()
    }
    assert last["HF"] < 0.75 * last["Adam"]
    assert last["BHF"] < 0.75 * last["Adam"]


def test_command_prints_figures_and_draws(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The command prints mean and range at the checkpoints, as a table or JSON, and writes a well-formed picture."""
    monkeypatch.setattr(compare, "OPTIMIZERS", {"Adam": Adam(gradient_batch=20), "HF": Adam(gradient_batch=30)})
    compare.main(["--updates", "5", "--seeds", "2", "--threads", "1", "--json", "--picture", str(tmp_path / "p.svg")])
    figures = json.loads(capsys.readouterr().out)
    at = figures["Adam"]["train_error"]["5"]
    assert at["min"] < at["mean"] < at["max"]
    assert ElementTree.parse(tmp_path / "p.svg").getroot().tag.endswith("svg")
    assert f"{at['mean']:.2f} ({at['min']:.2f} to {at['max']:.2f})" in compare.table(figures)


def test_picture_escapes_and_separates_labels() -> None:
    """Names are text, not markup, and two lines that end at one value have labels that do not overlap."""
    lines = [Line("a<b", "#000000", [[3, 2]]), Line("c", "#111111", [[4, 2]])]
    root = ElementTree.fromstring(draw(lines, title="t", x_title="x", y_title="y"))
    places = {e.text: float(e.get("y", 0)) for e in root.iter() if e.text and e.get("fill") in {"#000000", "#111111"}}
    assert set(places) == {"a<b 2.0", "c 2.0"}
    assert abs(places["a<b 2.0"] - places["c 2.0"]) >= 17
