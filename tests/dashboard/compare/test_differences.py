"""Differences of compared runs, comparability and outcomes."""

from typing import Any

import pytest

from backend.schemas.optimizers import Adam, BlockHessianFree, CgStop, HessianFree
from dashboard.compare import differences, groups
from tests.dashboard.compare.test_groups import with_optimizers
from tests.dashboard.samples import SPEC, experiment


def test_differences_list_what_is_not_alike() -> None:
    """Only settings that differ are listed. A setting that an optimizer lacks is a dash, not a difference."""
    found = groups.group_runs([experiment(with_optimizers(HessianFree(), HessianFree(damping=0.5), Adam()))])
    rows = {row.setting: row.values for row in differences.differences(found)}
    assert rows["damping"] == ["0", "0.5", "\u2013"]
    assert "\u03b2\u2081" not in rows
    assert "gradient batch" not in rows
    assert "budget: updates" not in rows
    assert "optimizer" not in rows


def test_blocks_are_named_where_they_differ() -> None:
    """The layers of each block of the runs that have started are a row of their own."""
    found = groups.group_runs([experiment(with_optimizers(HessianFree(), BlockHessianFree()))])
    for group, blocks in zip(found, ([["first", "second"]], [["first"], ["second"]]), strict=True):
        group.runs[:] = [run.model_copy(update={"blocks": blocks}) for run in group.runs]
    rows = {row.setting: row.values for row in differences.differences(found)}
    assert rows["blocks that were trained"] == ["1: first+second", "2: first | second"]


def test_comparable_runs_have_no_warning() -> None:
    """Optimizers on the same problem, data, seeds and batch are comparable."""
    found = groups.group_runs([experiment(with_optimizers(Adam(), HessianFree()))])
    assert differences.comparability_warnings(found) == []


def test_the_reasons_are_listed() -> None:
    """Different seeds, batches, subsets and problems are named."""
    one = with_optimizers(Adam())
    other = with_optimizers(Adam(gradient_batch=500)).model_copy(
        update={
            "seeds": [5],
            "evaluation": SPEC.evaluation.model_copy(update={"train_subset": 10}),
            "problem": SPEC.problem.model_copy(update={"options": {"hidden": 3}}),
        }
    )
    found = groups.group_runs([experiment(one), experiment(other, id_="e0000002")])
    reasons = "; ".join(differences.comparability_warnings(found))
    for part in ("seeds", "gradient batch", "evaluation subset", "problem"):
        assert f"different {part}" in reasons


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"precision": "float64"}, "precision"),
        ({"device": "cuda"}, "requested device"),
        ({"threads": 3}, "number of threads"),
        ({"problem": SPEC.problem.model_copy(update={"train_size": 10})}, "data"),
        ({"problem": SPEC.problem.model_copy(update={"test_size": 10})}, "data"),
        ({"evaluation": SPEC.evaluation.model_copy(update={"polyak_decay": 0.9})}, "evaluated weights"),
    ],
)
def test_each_difference_is_one_reason(changes: dict[str, Any], words: str) -> None:
    """Device, precision, threads, split and averaging each give one reason and no other."""
    one = with_optimizers(Adam())
    found = groups.group_runs([experiment(one), experiment(one.model_copy(update=changes), id_="e0000002")])
    [reason] = differences.comparability_warnings(found)
    assert words in reason


@pytest.mark.parametrize("name", ["device", "torch"])
def test_different_environments_are_a_reason(name: str) -> None:
    """The reported devices and versions of torch are compared if both runs report them."""
    one = experiment(with_optimizers(Adam(), HessianFree()))
    runs = [run.model_copy(update={"environment": {name: f"{name} {i}"}}) for i, run in enumerate(one.runs)]
    assert (
        f"different {name}: {name} 0, {name} 1"
        in differences.comparability_warnings(groups.group_runs([one.model_copy(update={"runs": runs[:2]})]))[0]
    )


def test_a_sweeps_settings_are_those_that_vary_within_an_optimizer() -> None:
    """A setting in which two optimizers differ by nature is not swept; one with two values for HF is."""
    one = experiment(with_optimizers(HessianFree(), HessianFree(damping=0.5), Adam()))
    summary = one.runs[0].summary.model_copy(update={"updates": 3, "best_train_loss": 7.0})
    done = one.model_copy(update={"runs": [run.model_copy(update={"summary": summary}) for run in one.runs]})
    rows = differences.outcomes(groups.group_runs([done]), "best_train_loss")
    assert len(rows) == 6
    assert differences.swept(rows) == ["damping"]
    assert {row.value for row in differences.outcomes(groups.group_runs([done]), "updates")} == {3.0}
    assert differences.outcomes(groups.group_runs([one]), "best_train_loss") == []
    assert differences.outcomes(groups.group_runs([one]), "updates") == []


def test_a_setting_that_is_no_number_is_swept_too() -> None:
    """A choice takes its name as its value, and a switch is on or off."""
    spec = with_optimizers(HessianFree(), HessianFree(cg_stop=CgStop.MARTENS), HessianFree(preconditioner=True))
    one = experiment(spec)
    summary = one.runs[0].summary.model_copy(update={"updates": 1, "best_train_loss": 7.0})
    done = one.model_copy(update={"runs": [run.model_copy(update={"summary": summary}) for run in one.runs]})
    rows = differences.outcomes(groups.group_runs([done]), "best_train_loss")
    assert differences.swept(rows) == ["CG stop criterion", "preconditioner"]
    assert {row.settings["CG stop criterion"] for row in rows} == {"iterations", "martens"}
    assert {row.settings["preconditioner"] for row in rows} == {"off", "on"}


def test_all_settings_are_listed_where_asked_for() -> None:
    """Those that are alike stand there too, and each row knows whether it differs."""
    found = groups.group_runs([experiment(with_optimizers(HessianFree(), HessianFree(damping=0.5)))])
    rows = {row.setting: row for row in differences.all_settings(found)}
    assert (rows["damping"].differs, rows["gradient batch"].differs) == (True, False)
    assert rows["gradient batch"].values == ["1000", "1000"]
