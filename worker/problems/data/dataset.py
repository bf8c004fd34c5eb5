"""Labelled images in memory, split into training and test set, and the source that loads them."""

from collections.abc import Callable
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

import torch
from torch import Tensor

from backend.schemas.catalog import DataSet


@dataclass(frozen=True)
class Split:
    """Images (n, channels, height, width), uint8 in 0..255 or floating point in [0, 1], with labels (n,), int64."""

    images: Tensor
    labels: Tensor

    def __len__(self) -> int:
        return len(self.labels)

    def head(self, size: int | None) -> "Split":
        """Return the first `size` images; None: all."""
        return Split(self.images[:size], self.labels[:size])

    def fingerprint(self) -> str:
        """Return a SHA-256 of the images and labels, their types and shapes."""
        digest = sha256()
        for tensor in (self.images, self.labels):
            digest.update(f"{tensor.dtype} {list(tensor.shape)} ".encode())
            digest.update(tensor.cpu().contiguous().flatten().view(torch.uint8).numpy().data)
        return digest.hexdigest()

    def to(self, device: torch.device) -> "Split":
        """Return the split on a device."""
        return Split(self.images.to(device), self.labels.to(device))

    def batch(self, rows: Tensor | slice, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
        """Return some images and labels.

        Args:
            rows: row numbers (n,), or a slice.
            dtype: floating-point type of the images.

        Returns:
            Images (n, channels, height, width) in [0, 1], and labels (n,).
        """
        images = self.images[rows]
        floats = images.to(dtype)
        return (floats.div_(255) if images.dtype == torch.uint8 else floats), self.labels[rows]


@dataclass(frozen=True)
class Dataset:
    """A loaded data set. Rows must not be sorted by class, because runs use prefixes of a split as subsets."""

    info: DataSet
    train: Split
    test: Split


@dataclass(frozen=True)
class DataSource:
    """Describes and loads a data set: `load(folder)` fetches missing files into the folder and verifies them.

    A plug-in registers an instance under the entry points `blockhf.data`.
    """

    info: DataSet
    load: Callable[[Path], Dataset]
