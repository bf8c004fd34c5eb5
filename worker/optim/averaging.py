"""Polyak averaging of the weights, for evaluation only."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn


class EvaluationAverage:
    """w_avg <- decay w_avg + (1 - decay) w after each update, from w_avg = w_0, without bias correction.

    Buffers are the model's own.

    Args:
        model: its trainable parameters are averaged, in one more copy of their memory.
        decay: at least 0 and below 1.

    Raises:
        ValueError: the decay is out of bounds.

    Source: Polyak and Juditsky (1992), "Acceleration of stochastic approximation by averaging"; exponential form: Zhang
        et al. (2017), decay 0.99.
    """

    def __init__(self, model: nn.Module, decay: float = 0.99) -> None:
        if not 0 <= decay < 1:
            raise ValueError(f"decay is {decay!r}: must be at least 0 and below 1")
        self.decay = decay
        self._weights = {name: p for name, p in model.named_parameters() if p.requires_grad}
        self._average = {name: p.detach().clone() for name, p in self._weights.items()}

    @torch.no_grad()
    def update(self) -> None:
        """Add the weights of this update to the mean."""
        for name, average in self._average.items():
            average.lerp_(self._weights[name], 1 - self.decay)

    @contextmanager
    def evaluating(self) -> Iterator[None]:
        """Put the mean into the model, and the weights back, bit for bit, at the end."""
        kept = {name: p.data for name, p in self._weights.items()}
        try:
            for name, p in self._weights.items():
                p.data = self._average[name]
            yield
        finally:
            for name, p in self._weights.items():
                p.data = kept[name]

    def state_dict(self) -> dict[str, Any]:
        """Return the decay and the means by parameter name."""
        return {"decay": self.decay, "average": dict(self._average)}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Load a stored mean; raises ValueError with the parameter's name where it belongs to another model."""
        average: dict[str, Tensor] = state["average"]
        for name in average.keys() ^ self._average.keys():
            raise ValueError(f"parameter {name!r} is not in both the stored mean and the model")
        self.decay = state["decay"]
        with torch.no_grad():
            for name, kept in self._average.items():
                kept.copy_(average[name])
