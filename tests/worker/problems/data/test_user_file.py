"""Tests of a user's own data sets."""

import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from backend.errors import RunFailed
from worker.problems.data.user_file import read, slug, sources
from worker.problems.registry import discover

GOOD: dict[str, Any] = {
    "x_train": np.arange(2 * 3 * 4 * 5, dtype=np.uint8).reshape(6, 4, 5),
    "y_train": np.array([0, 1, 2, 0, 1, 2]),
    "x_test": np.zeros((2, 4, 5), dtype=np.uint8),
    "y_test": np.array([3, 0], dtype=np.uint8),
}


def write(folder: Path, name: str = "mine.npz", **changes: Any) -> Path:
    """Write a data set, with something changed."""
    path = folder / name
    np.savez(path, **{key: value for key, value in (GOOD | changes).items() if value is not None})
    return path


def test_sizes_shape_and_classes_come_from_the_arrays(tmp_path: Path) -> None:
    """The description has the sizes, shape and classes of the arrays."""
    info = read(write(tmp_path)).info
    assert (info.name, info.train_size, info.test_size, info.shape, info.classes) == ("mine", 6, 2, [1, 4, 5], 4)


def test_images_keep_their_labels(tmp_path: Path) -> None:
    """The fixed order moves images and labels together, and is the same each time."""
    train = read(write(tmp_path)).train
    expected = {
        tuple(image.ravel().tolist()): int(y) for image, y in zip(GOOD["x_train"], GOOD["y_train"], strict=True)
    }
    found = {tuple(image.flatten().tolist()): int(y) for image, y in zip(train.images, train.labels, strict=True)}
    assert found == expected
    assert torch.equal(train.images, read(write(tmp_path)).train.images)


@pytest.mark.parametrize(("shape", "seen"), [((6, 7), [1, 1, 7]), ((6, 2, 2), [1, 2, 2]), ((6, 3, 2, 2), [3, 2, 2])])
def test_rows_planes_and_channels_are_read(tmp_path: Path, shape: tuple[int, ...], seen: list[int]) -> None:
    """Images may have 1, 2 or 3 dimensions; floating-point values are not changed."""
    x_test = np.full((2, *shape[1:]), 0.25)
    data = read(write(tmp_path, x_train=np.random.default_rng(0).random(shape), x_test=x_test))
    assert data.info.shape == seen
    images, _ = data.test.batch(slice(None), torch.float64)
    assert torch.equal(images, torch.full((2, *seen), 0.25, dtype=torch.float64))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"y_test": None}, "x_train, y_train, x_test, y_test"),
        ({"x_train": np.array([{}] * 6)}, "mine.npz"),
        ({"x_train": np.zeros(6)}, "x_train .*1 dim"),
        ({"x_train": np.full((6, 4, 5), 1.5)}, r"x_train .*\[0, 1\]"),
        ({"x_train": np.full((6, 4, 5), np.nan)}, r"x_train .*\[0, 1\]"),
        ({"x_train": np.zeros((6, 4, 5), dtype=np.int64)}, "x_train .*int64"),
        ({"y_train": np.array([0, 1])}, "y_train .* 6 images"),
        ({"y_train": np.zeros(6)}, "y_train "),
        ({"y_train": np.full(6, -1)}, "y_train "),
        ({"x_test": np.zeros((2, 4, 6), dtype=np.uint8)}, r"x_train .*\[1, 4, 5\]"),
    ],
)
def test_an_invalid_file_is_refused(tmp_path: Path, changes: dict[str, Any], message: str) -> None:
    """An invalid file is refused with the array and the reason; no pickle is loaded."""
    with pytest.raises(RunFailed, match=message):
        read(write(tmp_path, **changes))


def _bare_array(path: Path) -> None:
    with path.open("wb") as file:
        np.save(file, GOOD["x_train"])


def _damaged(path: Path) -> None:
    np.savez_compressed(path, **GOOD)
    whole = bytearray(path.read_bytes())
    at = whole.index(b"x_train.npy") + len(b"x_train.npy") + 20  # in the packed array, behind its name
    whole[at : at + 20] = b"\xff" * 20
    path.write_bytes(whole)


@pytest.mark.parametrize(
    "make",
    [lambda path: path.write_bytes(b"no archive"), lambda path: path.touch(), _bare_array, _damaged],
    ids=["no archive", "empty", "an array alone", "damaged"],
)
def test_bad_file_is_left_out(tmp_path: Path, caplog: pytest.LogCaptureFixture, make: Callable[[Path], None]) -> None:
    """An invalid file is skipped with a warning; the valid one is found."""
    write(tmp_path)
    make(tmp_path / "broken.npz")
    with caplog.at_level(logging.WARNING):
        assert [source.info.name for source in sources(tmp_path)] == ["mine"]
    assert "broken.npz" in caplog.text


def test_own_data_set_cannot_replace_a_built_in_one(tmp_path: Path) -> None:
    """A file named like a built-in data set does not hide it; another name is found beside it."""
    write(tmp_path, "mnist-5k.npz")
    write(tmp_path, "mine.npz")
    data = discover(folder=tmp_path).data
    assert data["mnist-5k"].info.train_size == 4000
    assert len(data["mine"].load(tmp_path).train) == 6


@pytest.mark.parametrize(("stem", "name"), [("My Digits (2)", "my-digits-2"), ("Ä", "data"), ("a" * 99, "a" * 64)])
def test_names_become_slugs(stem: str, name: str) -> None:
    """Any file name becomes a name that a configuration can hold."""
    assert slug(stem) == name
