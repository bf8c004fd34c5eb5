"""Tests of the embedded digits."""

from pathlib import Path

import pytest
import torch

from backend.errors import RunFailed
from worker.problems.data import mnist_5k


def test_split_is_stratified() -> None:
    """400 training and 100 test digits of each class, and the first ten have each class once."""
    data = mnist_5k.load(Path("nowhere"))
    assert torch.bincount(data.train.labels).tolist() == [400] * 10
    assert torch.bincount(data.test.labels).tolist() == [100] * 10
    assert data.train.head(10).labels.tolist() == list(range(10))


def test_sizes_are_the_announced_ones() -> None:
    """The catalog's sizes and shape are those of the arrays."""
    data = mnist_5k.load(Path("nowhere"))
    assert (len(data.train), len(data.test)) == (data.info.train_size, data.info.test_size)
    assert list(data.train.images.shape[1:]) == data.info.shape


def test_predicting_zero_gives_the_published_error() -> None:
    """The sum of squares per image is what is known for MNIST: 87.8 over its training set."""
    images, _ = mnist_5k.load(Path("nowhere")).train.batch(slice(None), torch.float64)
    assert float(images.square().sum((1, 2, 3)).mean()) == pytest.approx(87.8, abs=1.5)


def test_another_file_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """A file with another checksum is not used."""
    monkeypatch.setattr(mnist_5k, "SHA256", "0" * 64)
    with pytest.raises(RunFailed, match="damaged"):
        mnist_5k.load(Path("nowhere"))
