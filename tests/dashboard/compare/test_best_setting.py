"""The answer of a sweep in words: the best configuration, and how sure it is."""

import pytest

from backend.schemas.optimizers import Adam, HessianFree
from backend.schemas.runs import Experiment, RunStatus, Summary
from dashboard.compare.best_setting import answers, configurations
from dashboard.compare.groups import group_runs
from tests.dashboard.samples import SPEC, experiment

LOSS = "best_train_loss"
DAMPINGS = (0.1, 1.0, 3.0)


def sweep(losses: list[list[float | None]], *, failed: int | None = None) -> Experiment:
    """Return a sweep over the damping; a row has the losses of one value's seeds, `failed` is the row that failed."""
    optimizers = [HessianFree(damping=damping) for damping in DAMPINGS[: len(losses)]]
    made = experiment(SPEC.model_copy(update={"optimizers": optimizers, "seeds": list(range(len(losses[0])))}))
    place = {damping: number for number, damping in enumerate(DAMPINGS)}
    for number, run in enumerate(made.runs):
        row = place[getattr(run.config.optimizer, "damping")]  # noqa: B009 - the union's other members have none
        loss = losses[row][run.config.seed]
        status = RunStatus.FAILED if row == failed else RunStatus.FINISHED
        summary = Summary(best_train_loss=loss, updates=0 if loss is None else 5)
        made.runs[number] = run.model_copy(update={"summary": summary, "status": status})
    return made


def answer(*given: list[float | None], failed: int | None = None) -> str:
    """Return the only answer."""
    (text,) = answers(group_runs([sweep(list(given), failed=failed)]), LOSS)
    return text


def test_the_best_has_the_lowest_mean_and_beats_the_others_in_every_seed() -> None:
    """With all seeds apart the answer is sure, and says how often chance would do that."""
    text = answer([5, 6, 7], [2, 3, 4], [8, 9, 9])
    assert text.startswith("HF \u00b7 damping 1 is best: best train loss 3, mean of 3 seeds.")
    assert "beats 2 of the 2 others in each of 3 seeds" in text
    assert "12 %" in text
    assert "Not sure" not in text


def test_one_that_wins_some_seeds_is_named_as_not_sure() -> None:
    """A lower mean is no proof where the order changes with the seed, or where values are equal."""
    text = answer([5, 6, 7], [2, 3, 9], [8, 3, 9])
    assert "beats 0 of the 2 others" in text
    assert "damping 0.1" in text.split("Not sure against: ")[1]
    assert "damping 3" in text.split("Not sure against: ")[1]


def test_one_seed_proves_nothing() -> None:
    """Then the answer asks for more seeds."""
    assert "one seed" in answer([5], [2])


def test_the_edge_of_a_sweep_is_named() -> None:
    """The best value may lie beyond the tried ones."""
    assert "largest value tried" in answer([5], [4], [3])
    assert "value tried" not in answer([5], [2], [3])


def test_failed_and_unmeasured_runs_are_not_best() -> None:
    """A configuration whose runs failed has no outcome, however low its best loss was."""
    found = group_runs([sweep([[1], [5], [None]], failed=0)])
    assert [row.label for row in configurations(found, LOSS)] == ["HF \u00b7 damping 1"]
    assert answers(found, LOSS) == []


@pytest.mark.parametrize("measure", ["best_test_accuracy", LOSS])
def test_accuracy_is_better_if_higher(measure: str) -> None:
    """The order of configurations depends on the measure."""
    made = experiment(SPEC.model_copy(update={"optimizers": [Adam(learning_rate=0.1), Adam(learning_rate=0.2)]}))
    for number, run in enumerate(made.runs):
        summary = Summary(updates=1, best_test_accuracy=0.5 + 0.1 * number, best_train_loss=1.0 + number)
        made.runs[number] = run.model_copy(update={"summary": summary, "status": RunStatus.FINISHED})
    best = configurations(group_runs([made]), measure)[0]
    assert ("0.2" in best.label) == (measure != LOSS)
