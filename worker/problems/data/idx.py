"""IDX, the format of MNIST and Fashion-MNIST: a header of big-endian integers, then 8-bit numbers."""

import math
import struct
from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor

from backend.errors import RunFailed
from backend.schemas.catalog import DataSet
from worker.problems.data.dataset import Dataset, Split

UNSIGNED_BYTE = 8


def read_idx(path: Path) -> Tensor:
    """Read an uncompressed IDX file of 8-bit numbers.

    Raises:
        RunFailed: the file is not IDX, holds another type, or has another length than its header says.
    """
    content = bytearray(path.read_bytes())
    zero, kind, dimensions = struct.unpack_from(">HBB", content) if len(content) >= 4 else (1, 0, 0)
    start = 4 + 4 * dimensions
    if zero != 0 or kind != UNSIGNED_BYTE or len(content) < start:
        raise RunFailed(f"{path.name} is not an IDX file of 8-bit numbers")
    shape = struct.unpack_from(f">{dimensions}I", content, 4)
    if len(content) != start + math.prod(shape):
        raise RunFailed(f"{path.name} holds {len(content) - start} numbers, but its header says {math.prod(shape)}")
    return torch.frombuffer(content, dtype=torch.uint8, offset=start).reshape(shape)


def read_dataset(info: DataSet, folder: Path, names: Sequence[str]) -> Dataset:
    """Read four IDX files: train images, train labels, test images, test labels.

    Raises:
        RunFailed: a file is not what the data set's sizes and shape say.
    """
    train_images, train_labels, test_images, test_labels = (read_idx(folder / name) for name in names)
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
