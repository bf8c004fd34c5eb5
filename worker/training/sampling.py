"""The order in which training images are drawn."""

import torch
from torch import Tensor

DATA_ORDER = 0x5EED_DA7A


class Sampler:
    """Draws batches from an endless row of permutations, one fresh permutation of the training set per epoch.

    A batch always has the same size: where it does not divide the training set, the images that remain of an epoch
    open a batch that the next epoch's first images fill. So every image is drawn once per epoch and none is dropped.
    The order depends on the seed alone, not on the optimizer, and not on what else draws random numbers.
    """

    def __init__(self, size: int, batch: int, seed: int) -> None:
        self._size = size
        self._batch = batch
        self._generator = torch.Generator().manual_seed(seed ^ DATA_ORDER)
        self._rest = torch.empty(0, dtype=torch.int64)

    def draw(self) -> Tensor:
        """Draw the next batch's row numbers, shape (batch,)."""
        while len(self._rest) < self._batch:
            self._rest = torch.cat([self._rest, torch.randperm(self._size, generator=self._generator)])
        rows, self._rest = self._rest[: self._batch], self._rest[self._batch :]
        return rows

    def state_dict(self) -> dict[str, Tensor]:
        """Return the position: what is left of the epoch, and the generator's state."""
        return {"rest": self._rest, "generator": self._generator.get_state()}

    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        """Go on from a position."""
        self._rest = state["rest"]
        self._generator.set_state(state["generator"])
