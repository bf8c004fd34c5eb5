"""Labelled images in memory, split into training and test, and the source they are loaded from."""

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
        """Take the first images; None takes all."""
        return Split(self.images[:size], self.labels[:size])

    def fingerprint(self) -> str:
        """Return a SHA-256 of all that is in it."""
        digest = sha256()
        for tensor in (self.images, self.labels):
            digest.update(f"{tensor.dtype} {list(tensor.shape)} ".encode())
            digest.update(tensor.cpu().contiguous().flatten().view(torch.uint8).numpy().data)
        return digest.hexdigest()

    def to(self, device: torch.device) -> "Split":
        """Move to a device."""
        return Split(self.images.to(device), self.labels.to(device))

    def batch(self, rows: Tensor | slice, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
        """Gather images, as floating-point numbers in [0, 1], and labels."""
        images = self.images[rows]
        floats = images.to(dtype)
        return (floats.div_(255) if images.dtype == torch.uint8 else floats), self.labels[rows]


@dataclass(frozen=True)
class Dataset:
    """A loaded data set. Any prefix of a split serves as a subset, so rows are in no class order."""

    info: DataSet
    train: Split
    test: Split


@dataclass(frozen=True)
class Source:
    """Where a data set comes from: `load(folder)` fetches into the folder what is not there, and verifies it."""

    info: DataSet
    load: Callable[[Path], Dataset]
