"""Polyak averaging of the weights."""

import pytest
import torch
from torch import nn

from worker.optim import EvaluationAverage


def moved(model: nn.Linear, value: float) -> None:
    """Set the weights."""
    with torch.no_grad():
        model.weight.fill_(value)


def test_mean_starts_at_the_first_weights() -> None:
    """w_avg <- 0.9 w_avg + 0.1 w from w_0 = 1 through 2 and 3 gives 1.1, then 1.29."""
    model = nn.Linear(1, 1, bias=False).double()
    moved(model, 1)
    average = EvaluationAverage(model, 0.9)
    for value, expected in ((2.0, 1.1), (3.0, 1.29)):
        moved(model, value)
        average.update()
        with average.evaluating():
            assert model.weight.item() == pytest.approx(expected)
        assert model.weight.item() == value


def test_weights_come_back_after_an_error() -> None:
    """An evaluation that fails leaves the model with its own weights, and the mean as it was."""
    model = nn.Linear(1, 1, bias=False)
    average = EvaluationAverage(model)
    moved(model, 5)
    with pytest.raises(RuntimeError, match="evaluation"), average.evaluating():
        raise RuntimeError("evaluation")
    assert model.weight.item() == 5


def test_resumes() -> None:
    """A stored mean goes on; one of another model is refused by name."""
    model = nn.Linear(1, 1, bias=False)
    first = EvaluationAverage(model, 0.5)
    moved(model, 5)
    first.update()
    second = EvaluationAverage(model, 0.9)
    second.load_state_dict(first.state_dict())
    with first.evaluating():
        expected = model.weight.item()
    with second.evaluating():
        assert model.weight.item() == expected
    with pytest.raises(ValueError, match="'bias' is not in both"):
        second.load_state_dict(EvaluationAverage(nn.Linear(1, 1)).state_dict())


@pytest.mark.parametrize("decay", [1.0, -0.1])
def test_decay_out_of_range_is_refused(decay: float) -> None:
    """The decay is at least 0 and below 1."""
    with pytest.raises(ValueError, match="decay is"):
        EvaluationAverage(nn.Linear(1, 1), decay)
