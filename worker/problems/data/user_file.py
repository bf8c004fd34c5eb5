"""A user's data set: a file NAME.npz in the data folder, with the arrays x_train, y_train, x_test and y_test.

Images are (n, height, width), (n, channels, height, width) or (n, size); 8-bit integers, or floating point in [0, 1].
Labels are integers from 0. Rows are shuffled in a fixed order, so that every prefix is a random subset.
"""

import logging
import re
from collections.abc import Mapping
from functools import partial
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from backend.errors import RunFailed
from backend.schemas.catalog import DataSet
from worker.problems.data.dataset import Dataset, DataSource, Split

log = logging.getLogger(__name__)

ORDER_SEED = 0
NAMES = ("x_train", "y_train", "x_test", "y_test")

Array = NDArray[np.generic]


def sources(folder: Path) -> list[DataSource]:
    """List the data sets of a folder; skip invalid files with a warning."""
    found = []
    for path in sorted(folder.glob("*.npz")):
        try:
            info = read(path).info
        except RunFailed as error:
            log.warning("skipped the data set %s: %s", path.name, error)
        else:
            found.append(DataSource(info, partial(_load, path)))
    return found


def _load(path: Path, folder: Path) -> Dataset:  # noqa: ARG001 - a source's argument; the path is known
    return read(path)


def read(path: Path) -> Dataset:
    """Read and check a file.

    Raises:
        RunFailed: the file is invalid; the message names the array.
    """
    try:
        with np.load(path, allow_pickle=False) as arrays:
            named = {name: arrays[name] for name in NAMES}
    except Exception as error:  # numpy, zipfile and zlib raise many types for a damaged file
        needed = ", ".join(NAMES)
        raise RunFailed(f"cannot read {path.name}: it must have the arrays {needed} ({error})") from error
    train, test = (_split(named, part) for part in ("train", "test"))
    if train.images.shape[1:] != test.images.shape[1:]:
        raise RunFailed(
            f"the images of x_train and x_test must have one shape, but have {list(train.images.shape[1:])} and "
            f"{list(test.images.shape[1:])}"
        )
    info = DataSet(
        name=slug(path.stem),
        title=path.stem[:100],
        train_size=len(train),
        test_size=len(test),
        shape=list(train.images.shape[1:]),
        classes=int(max(train.labels.max(), test.labels.max())) + 1,
        embedded=False,
    )
    return Dataset(info, train, test)


def slug(stem: str) -> str:
    """Turn a file name into a name for configurations."""
    return re.sub(r"[^a-z0-9_.-]+", "-", stem.lower()).strip("-_.")[:64] or "data"


def _split(arrays: Mapping[str, Array], part: str) -> Split:
    images, labels = _images(f"x_{part}", arrays[f"x_{part}"]), arrays[f"y_{part}"]
    if labels.shape != images.shape[:1] or labels.dtype.kind not in "iu" or not len(labels) or labels.min() < 0:
        raise RunFailed(f"y_{part} must have one non-negative integer for each of the {len(images)} images of x_{part}")
    order = np.random.default_rng(ORDER_SEED).permutation(len(labels))
    return Split(torch.from_numpy(images[order]), torch.from_numpy(labels[order].astype(np.int64)))


def _images(name: str, array: Array) -> Array:
    """Convert images to (n, channels, height, width), uint8 or float32."""
    if array.ndim not in {2, 3, 4}:
        raise RunFailed(f"{name} has {array.ndim} dimensions; it must have 2, 3 or 4")
    images = array.reshape(len(array), *(1,) * (4 - array.ndim), *array.shape[1:])
    if images.dtype == np.uint8:
        return images
    if images.dtype.kind != "f":
        raise RunFailed(f"{name} has the type {images.dtype}; it must be uint8 or floating point")
    if not (np.isfinite(images).all() and images.min(initial=0) >= 0 and images.max(initial=0) <= 1):
        raise RunFailed(f"{name} has values outside [0, 1]; scale them, or store them as uint8")
    return images.astype(np.float32)
