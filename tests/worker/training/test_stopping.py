"""Tests of the budget's rule."""

import pytest

from backend.schemas.experiments import Budget
from backend.schemas.measures import Update
from worker.training.stopping import StoppingRule


def row(update: int = 1, *, test_loss: float | None = None, test_accuracy: float | None = None) -> Update:
    """Make a row of a run with 4 updates per epoch and 0.5 s per update."""
    return Update(
        update=update, epoch=update / 4, samples=update * 10, seconds=update * 0.5, cost=update, batch_loss=1,
        gradient_norm=1, step_norm=1, test_loss=test_loss, test_accuracy=test_accuracy,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("budget", "last", "text"),
    [
        (Budget(updates=7), 7, "updates = 7 reached"),
        (Budget(updates=None, epochs=1.3), 6, "epochs = 1.3 reached"),
        (Budget(updates=None, seconds=2.2), 5, "seconds = 2.2 reached"),
        (Budget(updates=9, epochs=1, seconds=100), 4, "epochs = 1 reached"),
    ],
)
def test_first_limit_ends(budget: Budget, last: int, text: str) -> None:
    """The first update that reaches a limit ends the run, and the reason has the limit."""
    rule = StoppingRule(budget)
    texts = [rule.reached(row(update)) for update in range(1, 20)]
    assert texts.index(text) == last - 1
    assert not any(texts[: last - 1])


def test_patience_counts_evaluations_without_progress() -> None:
    """The run ends at the second evaluation in a row without progress."""
    rule = StoppingRule(Budget(patience=2))
    losses = [3.0, 2.0, 2.5, 1.9, 1.9, 2.0]
    texts = [rule.out_of_patience(row(test_loss=loss)) for loss in losses]
    assert texts[:-1] == [""] * 5
    assert "patience = 2" in texts[-1]


def test_patience_prefers_accuracy() -> None:
    """If there is an accuracy, it decides, although the loss improves."""
    rule = StoppingRule(Budget(patience=1))
    assert rule.out_of_patience(row(test_loss=3, test_accuracy=0.5)) == ""
    assert "accuracy" in rule.out_of_patience(row(test_loss=2, test_accuracy=0.5))


def test_without_patience_nothing_stalls() -> None:
    """Without patience a run continues, however high the test loss."""
    rule = StoppingRule(Budget())
    assert [rule.out_of_patience(row(test_loss=loss)) for loss in (1.0, 2.0, 3.0)] == ["", "", ""]
