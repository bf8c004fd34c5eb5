"""The study's advice follows from its runs."""

import pytest

from backend.paper.curves import Curve, Results
from backend.paper.specifications import Question, study
from backend.paper.study import answer, empty
from backend.schemas.runs import RunStatus
from tests.backend.paper.samples import columns


def made(question: Question, ends: dict[str, list[float]], *, status: RunStatus = RunStatus.FINISHED) -> Results:
    """Give the runs of a question's sweep these losses at their end, by optimizer kind and order of values."""
    spec = study(question)
    left = {kind: list(values) for kind, values in ends.items()}
    loss = {o.model_dump_json(): left[o.kind].pop(0) for o in spec.optimizers}
    curves = []
    for config in spec.runs():
        place = spec.optimizers.index(config.optimizer)
        values = [60.0, loss[config.optimizer.model_dump_json()] + config.seed - 1]
        curves.append(Curve(config, status, columns(values, 1.0 + place)))
    return Results(spec, curves)


def test_the_lowest_is_advised() -> None:
    """The warm start with the lowest median loss is chosen, and lowest and highest losses are reported."""
    ends = {"bhf": [20.0, 15.0, 10.0], "hf": [30.0, 20.0, 15.0]}
    said = answer(Question.WARM_START, made(Question.WARM_START, ends), recorded=False)
    assert said.advice == "For BHF choose 0.95: it ends lowest."
    assert "BHF's train loss ends at 10 with 0.95 (lowest, 3 seeds) and at 20 with 0 (highest)." in said.text
    assert (said.ended, said.total) == (18, 18)


def test_a_cheaper_one_that_is_as_good_is_advised() -> None:
    """Within 5 % of the lowest the cheapest is chosen: the second costs 2 for the third's 3."""
    ends = {"bhf": [20.0, 10.3, 10.0], "hf": [30.0, 20.0, 15.0]}
    said = answer(Question.WARM_START, made(Question.WARM_START, ends), recorded=False)
    assert said.advice == "For BHF choose 0.5: it ends within 5 % of the lowest (0.95), at 0.67 times its cost."


def test_bhf_against_hf_with_small_batches() -> None:
    """The change that turns the order around is named."""
    ends = {"bhf": [12.0, 9.0, 12.0, 12.0, 12.0], "hf": [10.0, 10.0, 10.0, 10.0, 10.0]}
    said = answer(Question.SMALL_BATCH, made(Question.SMALL_BATCH, ends), recorded=False)
    assert "paper's settings: 20.0 % above (at or below until update 1); damping 0.1: 10.0 % below" in said.text
    assert said.advice == "BHF is furthest below HF with damping 0.1; BHF itself ends lowest with damping 0.1."


def test_no_advice_before_all_runs_have_ended() -> None:
    """While runs train, and without runs, there is no advice."""
    ends = {"bhf": [20.0, 15.0, 10.0], "hf": [30.0, 20.0, 15.0]}
    running = made(Question.WARM_START, ends, status=RunStatus.RUNNING)
    assert answer(Question.WARM_START, running, recorded=False).advice == "Not enough data yet."
    assert empty(Question.DAMPING).text == "No run has ended yet."


def test_settings_that_collapse_are_not_compared() -> None:
    """Where both end above what the best setting began with, 60, a ratio would mean nothing."""
    ends = {"bhf": [70.0, 9.0, 70.0, 70.0, 70.0], "hf": [80.0, 10.0, 80.0, 80.0, 80.0]}
    said = answer(Question.SMALL_BATCH, made(Question.SMALL_BATCH, ends), recorded=False)
    assert "paper's settings: both collapse (70 and 80); damping 0.1: 10.0 % below" in said.text
    assert said.advice == "BHF is furthest below HF with damping 0.1; BHF itself ends lowest with damping 0.1."


def test_the_figure_keeps_the_sweeps_order_and_what_diverged_outside() -> None:
    """HF is the first in the blocks' sweep; the axis ends at 1.5 times the first loss of the best, 60."""
    ends = {"hf": [20.0], "bhf": [15.0, 10.0, 1e30]}
    layout = answer(Question.BLOCKS, made(Question.BLOCKS, ends), recorded=False).figure.layout
    assert layout["xaxis"]["categoryarray"] == ["1 (HF)", "2", "4", "one per layer"]
    assert 10 ** layout["yaxis"]["range"][1] == pytest.approx(90)
    figure = answer(Question.BLOCKS, made(Question.BLOCKS, ends), recorded=False).figure
    (mark,) = [trace for trace in figure.data if trace["mode"] == "markers+text"]
    assert (mark["x"], mark["text"]) == (["one per layer"], ["3 of 3 diverged"])
    assert mark["y"] == pytest.approx([90])
