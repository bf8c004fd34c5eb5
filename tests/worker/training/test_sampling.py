"""Tests of the data order."""

import torch

from worker.training.sampling import Sampler


def test_every_image_is_drawn_once_per_epoch() -> None:
    """Batches that do not divide the training set overlap epochs, and each epoch has every image once."""
    sampler = Sampler(10, 4, seed=3)
    rows = torch.cat([sampler.draw() for _ in range(5)])
    assert sorted(rows[:10].tolist()) == list(range(10))
    assert sorted(rows[10:].tolist()) == list(range(10))
    assert rows[:10].tolist() != rows[10:].tolist()


def test_order_depends_on_the_seed_alone() -> None:
    """What else draws random numbers does not change the order; another seed does."""
    first, second, other = Sampler(100, 30, seed=1), Sampler(100, 30, seed=1), Sampler(100, 30, seed=2)
    a = [first.draw().tolist() for _ in range(7)]
    torch.rand(5)
    assert [second.draw().tolist() for _ in range(7)] == a
    assert [other.draw().tolist() for _ in range(7)] != a


def test_batch_of_the_whole_set_is_a_permutation() -> None:
    """A batch of the size of the training set has every image."""
    assert sorted(Sampler(6, 6, seed=0).draw().tolist()) == list(range(6))
