"""Tests of the recorded results: complete, and of the right experiments."""

import pytest

from backend.client import Client
from backend.paper.claims import judge_claims
from backend.paper.results_catalog import recorded
from backend.paper.specifications import PaperProblem, Question, Scale, reproduction, study
from backend.paper.study import answer
from backend.schemas.paper import Verdict
from tests.benchmarks.paper import PICTURES


@pytest.mark.parametrize("problem", PaperProblem)
def test_recorded_results_are_the_laptop_experiments(problem: PaperProblem) -> None:
    """Each is the experiment that `blockhf reproduce --scale laptop` queues, every run ended, every verdict given."""
    results = recorded(problem)
    assert results is not None
    assert results.spec == reproduction(problem, Scale.LAPTOP)
    assert [curve.config for curve in results.curves] == results.spec.runs()
    assert results.ended == len(results.curves)
    assert Verdict.PENDING not in {finding.verdict for finding in judge_claims(results)}
    assert {"torch", "device"} <= results.environment.keys()
    assert (PICTURES / f"paper-{problem.value}.svg").is_file()


@pytest.mark.parametrize("question", Question)
def test_recorded_sweeps_are_the_studys(question: Question) -> None:
    """Each is the sweep that `blockhf reproduce study` queues, every run ended, with advice."""
    results = recorded(question)
    assert results is not None
    assert results.spec == study(question)
    assert results.ended == len(results.curves) == len(results.spec.runs())
    assert answer(question, results, recorded=True).advice != "Not enough data yet."


def test_recorded_results_are_served(client: Client) -> None:
    """Page and scripts get them without a run."""
    view = client.recorded_paper("lstm", axis="epoch")
    assert view.recorded
    assert view.findings == judge_claims(recorded(PaperProblem.LSTM) or pytest.fail("no results"))
    assert all(answer.recorded for answer in client.study().answers if recorded(Question(answer.question)))


def test_the_open_question_is_answered_in_float64_by_its_one_setting() -> None:
    """A sweep with one setting reports this setting and compares it with nothing."""
    results = recorded(Question.WHOLE_FLOAT64)
    assert results is not None
    assert answer(Question.WHOLE_FLOAT64, results, recorded=True).advice == "BHF ends below HF with paper's settings."
