"""Which iterates are kept, and which is taken."""

import math

import pytest
import torch
from torch import Tensor

from worker.optim.solver.backtracking import Iterates, backtrack


def kept(count: int) -> Iterates:
    """Walk so many iterations: y = (i, i), phi = -i, from (100, 100)."""

    def add(y: Tensor, x: Tensor) -> None:
        x.add_(y)

    found = Iterates(torch.full((2,), 100.0), add)
    y = torch.zeros(2)
    for i in range(1, count + 1):
        y += 1
        found.collect(i, y, -float(i))
    found.end(count, 100 + y, -float(count))
    return found


def test_iterates_are_spaced_geometrically() -> None:
    """Kept are ceil(1.3^j), each its own copy, and the last."""
    found = kept(31).collected
    assert [k.iteration for k in found] == [1, 2, 3, 4, 5, 7, 9, 11, 14, 18, 24, 31]
    assert [k.x.tolist() for k in found] == [[100.0 + k.iteration] * 2 for k in found]
    assert [k.model for k in found] == [-k.iteration for k in found]


def test_last_iterate_is_kept_once() -> None:
    """The last one is there whatever its number, and once."""
    assert [k.iteration for k in kept(6).collected] == [1, 2, 3, 4, 5, 6]
    assert [k.iteration for k in kept(7).collected] == [1, 2, 3, 4, 5, 7]
    assert [k.iteration for k in kept(0).collected] == [0]


@pytest.mark.parametrize(("limit", "iteration"), [(1, 1), (6, 5), (8, 7), (10, 10), (50, 10)])
def test_iterate_at_a_limit_is_the_last_before_it(limit: int, iteration: int) -> None:
    """A block that ended early gives its last one at any later limit."""
    assert kept(10).at(limit).iteration == iteration
    assert kept(0).at(limit).iteration == 0


@pytest.mark.parametrize(
    ("losses", "taken", "tried"),
    [
        ({1: 9.0, 2: 1.0, 3: 2.0}, 2, 3),
        ({1: 0.0, 2: 3.0, 3: 2.0}, 3, 2),
        ({1: 2.0, 2: 2.0, 3: 2.0}, 3, 2),
        ({1: 1.0, 2: 2.0, 3: 3.0}, 1, 3),
        ({1: 1.0, 2: math.inf, 3: math.inf}, 1, 3),
        ({3: 5.0}, 3, 1),
    ],
)
def test_goes_back_while_the_loss_falls(losses: dict[int, float], taken: int, tried: int) -> None:
    """The first earlier iterate that is no better ends the search; infinite losses do not."""
    seen: list[int] = []

    def loss(iteration: int) -> float:
        seen.append(iteration)
        return losses[iteration]

    assert backtrack(sorted(losses), loss) == (taken, losses[taken])
    assert len(seen) == tried
