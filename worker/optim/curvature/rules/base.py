"""What an operation must know to be linearized by hand, and the table of the operations that do."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import fields
from typing import Any, ClassVar, Self

import torch
from torch import Tensor

Weights = Mapping[str, Tensor]
Factory = Callable[..., "tuple[Tensor, Rule]"]

_FACTORIES: dict[Any, Factory] = {}


class NotCovered(Exception):
    """No rule fits the operation; the message says which and why, and double backward takes over."""


class Rule(ABC):
    """One operation y = f(x_1, ..; w), linearized at a batch: y' = df/dx x' + df/dw w', and its transpose.

    x and y have the examples in dimension 0; tangents and cotangents may carry one more dimension in front, a stack of
    K vectors. `flops`: floating-point operations of the forward pass in matrix products; each of the parts by inputs
    and by weights, of tangent and of transpose, takes as many. `points`: numbers that such a pass multiplies element by
    element, for the planner. Every rule is a dataclass of what it keeps.
    """

    flops: int = 0
    points: int = 0
    has_rows: ClassVar[bool] = False

    def part_flops(self, *, inputs: bool, weights: bool) -> int:
        """Count the operations of a tangent, or of its transpose, with these parts."""
        return self.flops * (inputs + weights)

    @abstractmethod
    def tangent(self, inputs: tuple[Tensor | None, ...], weights: Weights) -> Tensor:
        """Return y' from x' (None: zero) and w' (a missing name: zero); at least one is there."""

    @abstractmethod
    def backward(self, cotangent: Tensor, needs: tuple[bool, ...], weights: Weights) -> tuple[Tensor | None, ...]:
        """Return the inputs' cotangents where `needs` asks, and overwrite `weights` with the weights' own."""

    def rows(self, cotangent: Tensor, names: tuple[str, ...]) -> dict[str, Tensor]:
        """Return the weights' cotangents example by example, K x N x the parameter's shape, for K stacked vectors.

        Only where `has_rows`.
        """
        raise NotCovered(f"{type(self).__name__} has no rows for {names} at {list(cotangent.shape)}")

    def squares(self, cotangent: Tensor, weights: Weights) -> None:
        """Overwrite `weights` with the sums over the examples of their squared cotangents, by each example alone."""
        rows = self.rows(cotangent.unsqueeze(0), tuple(weights))
        for name, out in weights.items():
            torch.sum(rows[name].squeeze(0).square(), 0, out=out)

    @property
    def row_flops(self) -> int:
        """Operations of `rows` for one vector."""
        return self.part_flops(inputs=False, weights=True)

    @abstractmethod
    def narrow(self, count: int) -> Self:
        """Return the rule for the first `count` examples; tensors are shared."""

    def cast(self, dtype: torch.dtype) -> Self:
        """Return the rule with its floating-point tensors in another precision."""
        values = {f.name: getattr(self, f.name) for f in fields(self) if f.init}  # type: ignore[arg-type]  # rules are dataclasses
        floats = {k: v for k, v in values.items() if isinstance(v, Tensor) and v.is_floating_point()}
        return type(self)(**values | {k: v.to(dtype) for k, v in floats.items()})


def covers(*targets: Any) -> Callable[[Factory], Factory]:
    """Enter a factory (module or function's arguments -> output, rule) for module classes, functions, method names."""

    def enter(factory: Factory) -> Factory:
        _FACTORIES.update(dict.fromkeys(targets, factory))
        return factory

    return enter


def factory_of(target: Any) -> Factory | None:
    """Return what covers a module class, a function or a method's name; None: nothing does."""
    return _FACTORIES.get(target)
