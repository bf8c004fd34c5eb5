"""The batch of one update: S_g, whole or in micro-batches, and S_c."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from worker.optim.errors import BatchError
from worker.optim.inputs import Inputs, between, count, joined

Examples = tuple[Inputs, Tensor]
"""inputs and targets of some examples"""


@dataclass(frozen=True)
class GradientBatch:
    """S_g and S_c, checked.

    Args:
        parts: inputs and targets of each micro-batch of S_g; a single one where S_g is given whole.
        curvature: S_c; None: the first examples of S_g.
    """

    parts: list[Examples]
    curvature: Examples | None = None

    @classmethod
    def of(cls, given: Any, targets: Any, curvature: Any, like: Tensor, *, curvature_batch: int) -> "GradientBatch":
        """Return what was passed to a step as a batch.

        Args:
            given: inputs of S_g, or an iterable of micro-batches (inputs, targets), which is read once.
            targets: targets of S_g; None: there are micro-batches.
            curvature: (inputs, targets) of S_c; None: it is the start of S_g.
                like: a tensor of the weights' type, which floating-point targets get.
            curvature_batch: examples of S_c at the start of S_g.

        Raises:
            BatchError: inputs and targets do not fit each other, or S_g is smaller than S_c.
        """
        if targets is not None:
            parts = [_examples(given, targets, like)]
        else:
            parts = [_pair(part, like, f"micro-batch {index}") for index, part in enumerate(_iterable(given))]
        if not parts:
            raise BatchError("there is no micro-batch: give at least one")
        if curvature is not None:
            return cls(parts, _pair(curvature, like, "curvature"))
        total = sum(len(t) for _, t in parts)
        if curvature_batch > total:
            raise BatchError(
                f"curvature_batch is {curvature_batch}: must not be larger than the batch, which has {total}; set a "
                "smaller curvature_batch, or drop_last=True in a DataLoader"
            )
        return cls(parts)

    @property
    def whole(self) -> bool:
        """Whether S_g was given whole and S_c is its start."""
        return len(self.parts) == 1 and self.curvature is None

    def split(self, curvature_batch: int) -> tuple[Examples, list[Examples]]:
        """Return S_c and the parts of S_g that do not belong to it.

        Args:
            curvature_batch: examples of S_c at the start of S_g, where it was not given.

        Raises:
            BatchError: S_c needs several micro-batches, and their shapes differ.
        """
        if self.curvature is not None:
            return self.curvature, self.parts
        taken: list[Examples] = []
        rest: list[Examples] = []
        missing = curvature_batch
        for inputs, targets in self.parts:
            size = len(targets)
            if missing:
                taken.append((between(inputs, 0, min(missing, size)), targets[:missing]))
            if missing < size:
                rest.append((between(inputs, missing, size), targets[missing:]) if missing else (inputs, targets))
            missing = max(0, missing - size)
        if len(taken) == 1:
            return taken[0], rest
        try:
            return (joined([x for x, _ in taken]), torch.cat([t for _, t in taken])), rest
        except RuntimeError as error:
            raise BatchError(
                f"the first {curvature_batch} examples are in {len(taken)} micro-batches of different shapes: give S_c "
                "as curvature=(inputs, targets), or a smaller curvature_batch"
            ) from error


def _iterable(given: Any) -> Iterable[Any]:
    if isinstance(given, Tensor | Mapping) or not isinstance(given, Iterable):
        raise BatchError(
            f"targets are missing, and {type(given).__name__} is no iterable of micro-batches: call step(inputs, "
            "targets), or step with an iterable of pairs (inputs, targets)"
        )
    return given


def _pair(given: Any, like: Tensor, name: str) -> Examples:
    if not isinstance(given, tuple | list) or len(given) != 2:
        raise BatchError(f"{name} is {type(given).__name__}: must be a pair (inputs, targets)")
    return _examples(given[0], given[1], like)


def _examples(inputs: Any, targets: Any, like: Tensor) -> Examples:
    number = count(inputs)
    if not isinstance(targets, Tensor) or not targets.dim():
        raise BatchError(f"targets are {type(targets).__name__}: must be a tensor with one row per example")
    if number != len(targets):
        raise BatchError(f"there are {number} inputs and {len(targets)} targets: the numbers must be equal")
    return inputs, targets.to(like.dtype) if targets.is_floating_point() else targets
