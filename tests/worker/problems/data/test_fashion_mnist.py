"""Tests of Fashion-MNIST, which fetch it from Debian's archive once."""

import shutil
from pathlib import Path

import pytest
import torch

from worker.problems.data import fashion_mnist
from worker.problems.data.fetching import ensure


def test_fallback_holds_the_published_images(tmp_path: Path) -> None:
    """Debian's package holds the files: right checksums, 6,000 + 1,000 images of each class, mean pixel 72.94."""
    if shutil.which("apt-get") is None:
        pytest.skip("apt-get is not installed, so the fallback cannot be tested")
    ensure(tmp_path / "fashion-mnist", fashion_mnist.FILES, fashion_mnist.DEBIAN)
    data = fashion_mnist.load(tmp_path)
    assert torch.bincount(data.train.labels).tolist() == [6000] * 10
    assert torch.bincount(data.test.labels).tolist() == [1000] * 10
    assert float(data.train.images.double().mean()) == pytest.approx(72.94, abs=0.005)
