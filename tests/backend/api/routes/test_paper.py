"""Tests of the routes on the paper's figures, through the client."""

import pytest

from backend.errors import NotFound
from backend.paper.specifications import PaperProblem, Question, Scale, reproduction, study
from backend.schemas.experiments import ExperimentSpec
from backend.schemas.optimizer_registry import Optimizer
from backend.schemas.optimizers import Adam, BlockHessianFree, HessianFree
from backend.schemas.paper import Verdict
from tests.backend.samples import INFO, spec
from tests.clients import BothClient
from worker.problems.registry import discover


def test_all_that_can_be_reproduced(client: BothClient) -> None:
    """Three problems at three scales, and the study's questions."""
    found = client.reproductions().reproductions
    assert {(r.subject, r.scale) for r in found if r.kind == "paper"} == {
        (subject, scale) for subject in ("autoencoder", "lstm", "cnn") for scale in ("quick", "laptop", "full")
    }
    assert [r.subject for r in found if r.kind == "study"] == [question.value for question in Question]


def test_what_was_launched_here_is_named(client: BothClient) -> None:
    """Each reproduction names its newest launch, also where that has another name by now."""
    client.register(INFO, discover().catalog())
    launched = client.launch(reproduction(PaperProblem.LSTM, Scale.QUICK))
    client.edit(launched.id, name="mine")
    found = {f"{r.subject} {r.scale}": r.own for r in client.reproductions().reproductions if r.own}
    assert {name: (own.experiment, own.name, own.total) for name, own in found.items()} == {
        "lstm quick": (launched.id, "mine", 24)
    }


def test_an_experiment_without_runs_that_ended(client: BothClient, worker: str) -> None:
    """Any experiment has a view; without data its verdicts say so."""
    assert worker
    view = client.paper(client.launch(spec()).id, axis="seconds", mode="dark")
    assert (view.ended, view.total, view.recorded) == (0, 2, False)
    assert {finding.verdict for finding in view.findings} == {Verdict.PENDING}


def test_an_unknown_experiment(client: BothClient) -> None:
    """It is said to be unknown."""
    with pytest.raises(NotFound):
        client.paper("aaaaaaaaaaaaaaaa")


def test_the_study_takes_own_sweeps_first(client: BothClient) -> None:
    """A sweep launched here replaces the recorded one, unless it is deleted."""
    client.register(INFO, discover().catalog())
    launched = client.launch(study(Question.WARM_START))
    answers = {answer.question: answer for answer in client.study().answers}
    assert (answers["warm_start"].experiment, answers["warm_start"].total) == (launched.id, 18)
    assert answers["damping"].experiment is None
    client.delete(launched.id)
    answers = {answer.question: answer for answer in client.study().answers}
    assert (answers["warm_start"].experiment, answers["warm_start"].recorded) == (None, True)
    assert list(answers) == [question.value for question in Question]


ODD = {
    "no cost": "update,train_loss\n1,0.5\n2,0.4\n",
    "no loss": "update,test_loss\n1,0.5\n",
    "below 0": "update,train_loss,cost\n1,-1,1\n2,-5,2\n",
    "zero": "update,train_loss,cost\n1,0.5,1\n2,0,2\n",
    "huge": "update,train_loss,test_loss,cost\n1,1e308,1e308,1\n2,1e308,1e308,1e300\n",
    "diverged": "update,train_loss,diverged\n1,,1\n",
}


@pytest.mark.parametrize("history", ODD.values(), ids=ODD)
@pytest.mark.parametrize("optimizer", [Adam(), HessianFree(), BlockHessianFree()], ids=lambda one: one.kind)
@pytest.mark.parametrize("mark", [True, False], ids=["by mark", "by name"])
def test_odd_runs_break_no_page(client: BothClient, optimizer: Optimizer, history: str, mark: bool) -> None:
    """Whatever is launched or imported under a reproduction's mark or name, its pages are answered."""
    for question in Question:
        whole = study(question)
        fields = {"name": whole.name, "optimizers": [optimizer]} | ({"reproduces": whole.reproduces} if mark else {})
        run = client.import_run(ExperimentSpec.model_validate(fields), history)
        client.paper(run.experiment_id)
    assert len(client.study().answers) == len(Question)
    assert client.reproductions().reproductions


def test_one_of_a_reproductions_name_is_none(client: BothClient) -> None:
    """A comparison that was cloned from a sweep and changed does not stand in for it."""
    client.register(INFO, discover().catalog())
    whole = study(Question.WARM_START)
    changed = [Adam(), *whole.optimizers]
    client.launch(whole.model_copy(update={"reproduces": None, "optimizers": changed}))
    answers = {answer.question: answer for answer in client.study().answers}
    assert (answers["warm_start"].experiment, answers["warm_start"].recorded) == (None, True)
