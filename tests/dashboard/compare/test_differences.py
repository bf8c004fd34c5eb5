"""What is said of runs that are compared, and of what came of them."""

from typing import Any

import pytest

from backend.schemas.optimizers import Adam, CgStop, HessianFree
from dashboard.compare import differences, groups
from tests.dashboard.compare.test_groups import with_optimizers
from tests.dashboard.samples import SPEC, experiment


def test_differences_list_what_is_not_alike() -> None:
    """Only settings that differ are listed; one that an optimizer lacks is a dash."""
    found = groups.groups([experiment(with_optimizers(HessianFree(), HessianFree(damping=0.5), Adam()))])
    rows = {row.setting: row.values for row in differences.differences(found)}
    assert rows["damping"] == ["0", "0.5", "\u2013"]
    assert rows["\u03b2\u2081"] == ["\u2013", "\u2013", "0.9"]
    assert "gradient batch" not in rows
    assert "budget: updates" not in rows
    assert "optimizer" not in rows


def test_alike_runs_need_no_warning() -> None:
    """Optimizers on the same problem, data, seeds and batch are comparable."""
    assert differences.unlike(groups.groups([experiment(with_optimizers(Adam(), HessianFree()))])) == []


def test_what_makes_runs_unlike_is_said() -> None:
    """Different seeds, batches, subsets and problems are named."""
    one = with_optimizers(Adam())
    other = with_optimizers(Adam(gradient_batch=500)).model_copy(
        update={
            "seeds": [5],
            "evaluation": SPEC.evaluation.model_copy(update={"train_subset": 10}),
            "problem": SPEC.problem.model_copy(update={"options": {"hidden": 3}}),
        }
    )
    words = "; ".join(differences.unlike(groups.groups([experiment(one), experiment(other, id_="e0000002")])))
    for part in ("the same seeds", "the gradient batch", "the evaluation subset", "the problem"):
        assert part in words


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"precision": "float64"}, "the precision"),
        ({"device": "cuda"}, "the requested device"),
        ({"threads": 3}, "the number of threads"),
        ({"problem": SPEC.problem.model_copy(update={"train_size": 10})}, "the data"),
        ({"problem": SPEC.problem.model_copy(update={"test_size": 10})}, "the data"),
        ({"evaluation": SPEC.evaluation.model_copy(update={"polyak_decay": 0.9})}, "the evaluated weights"),
    ],
)
def test_each_respect_in_which_runs_are_unlike_is_said(changes: dict[str, Any], words: str) -> None:
    """Device, precision, threads, split and averaging each have their words, and nothing else is complained of."""
    one = with_optimizers(Adam())
    found = groups.groups([experiment(one), experiment(one.model_copy(update=changes), id_="e0000002")])
    [told] = differences.unlike(found)
    assert words in told


@pytest.mark.parametrize("name", ["device", "torch"])
def test_runs_that_were_made_with_something_else_are_unlike(name: str) -> None:
    """What a worker says of its device and its version of torch counts too, where both say it."""
    one = experiment(with_optimizers(Adam(), HessianFree()))
    runs = [run.model_copy(update={"environment": {name: f"{name} {i}"}}) for i, run in enumerate(one.runs)]
    assert (
        f"different {name}: {name} 0, {name} 1"
        in differences.unlike(groups.groups([one.model_copy(update={"runs": runs[:2]})]))[0]
    )


def test_a_sweeps_settings_are_those_that_vary_within_an_optimizer() -> None:
    """A setting in which two optimizers differ by nature is not swept; one with two values for HF is."""
    one = experiment(with_optimizers(HessianFree(), HessianFree(damping=0.5), Adam()))
    summary = one.runs[0].summary.model_copy(update={"updates": 3, "best_train_loss": 7.0})
    done = one.model_copy(update={"runs": [run.model_copy(update={"summary": summary}) for run in one.runs]})
    rows = differences.outcomes(groups.groups([done]), "best_train_loss")
    assert len(rows) == 6
    assert differences.swept(rows) == ["damping"]
    assert {row.value for row in differences.outcomes(groups.groups([done]), "updates")} == {3.0}
    assert differences.outcomes(groups.groups([one]), "best_train_loss") == []
    assert differences.outcomes(groups.groups([one]), "updates") == []


def test_a_setting_that_is_no_number_is_swept_too() -> None:
    """A choice takes its name as its value, and a switch is on or off."""
    spec = with_optimizers(HessianFree(), HessianFree(cg_stop=CgStop.MARTENS), HessianFree(preconditioner=True))
    one = experiment(spec)
    summary = one.runs[0].summary.model_copy(update={"updates": 1, "best_train_loss": 7.0})
    done = one.model_copy(update={"runs": [run.model_copy(update={"summary": summary}) for run in one.runs]})
    rows = differences.outcomes(groups.groups([done]), "best_train_loss")
    assert differences.swept(rows) == ["CG stop criterion", "preconditioner"]
    assert {row.settings["CG stop criterion"] for row in rows} == {"iterations", "martens"}
    assert {row.settings["preconditioner"] for row in rows} == {"off", "on"}


def test_all_settings_are_listed_where_asked_for() -> None:
    """Those that are alike stand there too, and each row knows whether it differs."""
    found = groups.groups([experiment(with_optimizers(HessianFree(), HessianFree(damping=0.5)))])
    rows = {row.setting: row for row in differences.settings_of(found)}
    assert (rows["damping"].differs, rows["gradient batch"].differs) == (True, False)
    assert rows["gradient batch"].values == ["1000", "1000"]
