"""The order in which training images are drawn."""

import torch
from torch import Tensor

DATA_ORDER = 0x5EED_DA7A


class Sampler:
    """Draws batches of equal size, without replacement; each epoch has a new random order.

    If the batch size does not divide the training set, the last images of an epoch and the first of the next form one
    batch. So each image is drawn exactly once per epoch. The order depends only on the seed: not on the optimizer, and
    not on other random numbers.

    Args:
        size: number of training images.
        batch: number of images per batch.
        seed: seed of the run.
    """

    def __init__(self, size: int, batch: int, seed: int) -> None:
        self._size = size
        self._batch = batch
        self._generator = torch.Generator().manual_seed(seed ^ DATA_ORDER)
        self._rest = torch.empty(0, dtype=torch.int64)

    def draw(self) -> Tensor:
        """Return the row numbers of the next batch, int64, shape (batch,)."""
        while len(self._rest) < self._batch:
            self._rest = torch.cat([self._rest, torch.randperm(self._size, generator=self._generator)])
        rows, self._rest = self._rest[: self._batch], self._rest[self._batch :]
        return rows

    def state_dict(self) -> dict[str, Tensor]:
        """Return the position: the rest of the epoch, and the generator's state."""
        return {"rest": self._rest, "generator": self._generator.get_state()}

    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        """Continue from a position."""
        self._rest = state["rest"]
        self._generator.set_state(state["generator"])
