"""Tests of labelled images in memory."""

import pytest
import torch

from worker.problems.data.dataset import Split

LABELS = torch.arange(6)


def split(images: torch.Tensor) -> Split:
    """Make a split of six images."""
    return Split(images, LABELS)


def test_the_same_content_has_the_same_fingerprint() -> None:
    """The layout in memory does not matter."""
    images = torch.rand(6, 1, 4, 5)
    turned = images.transpose(2, 3).contiguous().transpose(2, 3)
    assert not turned.is_contiguous()
    assert split(images).fingerprint() == split(images.clone()).fingerprint() == split(turned).fingerprint()


def test_other_content_has_another_fingerprint() -> None:
    """One number, one label, the shape or the type make the difference."""
    images = torch.zeros(6, 1, 4, 5)
    one = images.clone()
    one[5, 0, 3, 4] = 1
    splits = [
        split(images),
        split(one),
        split(images.reshape(6, 1, 5, 4)),
        split(images.double()),
        split(images.to(torch.int32)),
        Split(images, LABELS.flip(0)),
        split(images).head(5),
    ]
    assert len({one.fingerprint() for one in splits}) == len(splits)


@pytest.mark.parametrize("dtype", [torch.uint8, torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_every_type_has_a_fingerprint(dtype: torch.dtype) -> None:
    """Bytes and all floating-point types; an empty split too."""
    assert len(split(torch.ones(6, 1, 2, 2).to(dtype)).fingerprint()) == 64
    assert len(split(torch.ones(6, 1, 2, 2).to(dtype)).head(0).fingerprint()) == 64
