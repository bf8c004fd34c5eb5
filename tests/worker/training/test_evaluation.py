"""Tests of the evaluation and its unit."""

from pathlib import Path

import pytest
import torch
from torch import nn

from tests.worker.problems.plugin import CLASSIFIER
from worker.problems.autoencoder import PROBLEM, AutoencoderOptions
from worker.problems.data import Split, mnist_5k
from worker.training.evaluation import measure


@pytest.fixture(scope="module")
def test_digits() -> Split:
    """Load the embedded test set."""
    return mnist_5k.load(Path("nowhere")).test


def test_unit_is_the_published_one(test_digits: Split) -> None:
    """Predicting zero costs the mean over images of the sum over pixels of the squared pixel, between 85 and 92."""
    model = PROBLEM.build(AutoencoderOptions(hidden_1=2, hidden_2=2, hidden_3=2, code=2), mnist_5k.INFO)
    for parameter in model.parameters():
        nn.init.zeros_(parameter)
    pixels = test_digits.images.double() / 255
    direct = float(pixels.square().sum()) / len(pixels)
    assert measure(PROBLEM, model, test_digits, torch.float32).loss == pytest.approx(direct, rel=1e-6)
    assert 85 < direct < 92


@pytest.mark.parametrize("size", [7, 1000, 1300])
def test_chunks_do_not_matter(size: int) -> None:
    """The mean over chunks, the last one smaller, is the mean over the whole subset."""
    train = mnist_5k.load(Path("nowhere")).train.head(size)
    torch.manual_seed(0)
    model = PROBLEM.build(AutoencoderOptions(hidden_1=4, hidden_2=3, hidden_3=3, code=2), mnist_5k.INFO).double()
    images, _ = train.batch(slice(None), torch.float64)
    with torch.no_grad():
        whole = (model(images.flatten(1)) - images.flatten(1)).square().sum(1).mean()
    assert measure(PROBLEM, model, train, torch.float64).loss == pytest.approx(float(whole), rel=1e-12)


def test_accuracy_is_the_share_of_right_classes(test_digits: Split) -> None:
    """A network with the highest score always for digit 3 classifies a tenth of the stratified test set correctly."""
    model = CLASSIFIER.build(CLASSIFIER.options(), mnist_5k.INFO)
    for parameter in model.parameters():
        nn.init.zeros_(parameter)
    with torch.no_grad():
        model.get_parameter("scores.bias")[3] = 1
    assert measure(CLASSIFIER, model, test_digits, torch.float32).accuracy == 0.1


def test_there_is_no_accuracy_without_classes(test_digits: Split) -> None:
    """The autoencoder has no accuracy."""
    model = PROBLEM.build(AutoencoderOptions(hidden_1=2, hidden_2=2, hidden_3=2, code=2), mnist_5k.INFO)
    assert measure(PROBLEM, model, test_digits.head(5), torch.float32).accuracy is None


def test_model_keeps_its_mode(test_digits: Split) -> None:
    """A model in training mode is evaluated in evaluation mode, and is in training mode afterwards."""
    seen: list[bool] = []
    model = CLASSIFIER.build(CLASSIFIER.options(), mnist_5k.INFO)
    model.register_forward_pre_hook(lambda module, _: seen.append(module.training))
    model.train()
    measure(CLASSIFIER, model, test_digits.head(5), torch.float32)
    assert seen == [False]
    assert model.training


def test_frozen_parts_stay_frozen(test_digits: Split) -> None:
    """A part that its maker put into evaluation mode is still in it afterwards."""
    model = nn.Sequential(nn.Flatten(), nn.Linear(784, 8), nn.BatchNorm1d(8).eval(), nn.Linear(8, 10))
    modes = [module.training for module in model.modules()]
    measure(CLASSIFIER, model, test_digits.head(5), torch.float32)
    assert [module.training for module in model.modules()] == modes


class Merges(nn.Linear):
    """A layer that does something when its mode changes."""

    merged = False

    def train(self, mode: bool = True) -> "Merges":
        """Note the mode."""
        self.merged = not mode
        super().train(mode)
        return self


def test_layers_that_watch_their_mode_are_told(test_digits: Split) -> None:
    """A layer that changes with its mode changes back."""
    model = nn.Sequential(nn.Flatten(), Merges(784, 10))
    measure(CLASSIFIER, model, test_digits.head(5), torch.float32)
    assert not model[1].merged
