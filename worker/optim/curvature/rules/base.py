"""The interface of linearization rules, and the table of the operations that have one."""

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
    """No rule fits the operation, and the model is linearized by double backward. The message says which and why."""


class Rule(ABC):
    """One operation y = f(x_1, ..; w), linearized at a batch: y' = df/dx x' + df/dw w', and its transpose.

    Every rule is a dataclass of the tensors that it stores. Shapes: x (N x ...) and y (N x ...) have the examples in
    dimension 0. x' and y', tangents as well as cotangents, have the shape of x and y, or a stack of K of them (K x N x
    ...). w' has the parameter's shape; with a stack there are no weights. Dictionaries are by the parameter's local
    name.

    Attributes:
        flops: floating-point operations of matrix products in the forward pass. Each part of a tangent or of its
            transpose, by inputs and by weights, needs as many.
        points: numbers that such a pass multiplies element by element.
        has_rows: whether `rows` is available.

    Example, y = x W' + b with W (out x in), for which `flops` is 2 N in out:

        tangent:   y' = x' W' + x (W')' + b'                  N x out
        backward:  x' = y' W;  W' = (y')' x,  b' = sum_n y'_n     N x in; out x in, out
        rows:      W'_kn = y'_kn (x_n)',  b'_kn = y'_kn       K x N x out x in, K x N x out
        squares:   sum_n (W'_n)^2 = (y'^2)' x^2               out x in
        narrow:    the same rule with x[:count]
        cast:      the same rule with x and W in another type
    """

    flops: int = 0
    points: int = 0
    has_rows: ClassVar[bool] = False

    def part_flops(self, *, inputs: bool, weights: bool) -> int:
        """Return the floating-point operations of a tangent, or of its transpose, with these parts."""
        return self.flops * (inputs + weights)

    @abstractmethod
    def tangent(self, inputs: tuple[Tensor | None, ...], weights: Weights) -> Tensor:
        """Return y' (N x ... or K x N x ...).

        Args:
            inputs: x' of every input; None: zero.
            weights: w' by name; a missing name: zero. At least one of both is given.
        """

    @abstractmethod
    def backward(self, cotangent: Tensor, needs: tuple[bool, ...], weights: Weights) -> tuple[Tensor | None, ...]:
        """Return the inputs' cotangents, and overwrite `weights` with the weights' cotangents.

        Args:
            cotangent: y'; the rule may not change it.
            needs: for every input, whether its cotangent is needed; the others may be None.
            weights: tensors to overwrite, by name, with sums over the examples; empty with a stack.
        """

    def rows(self, cotangent: Tensor, names: tuple[str, ...]) -> dict[str, Tensor]:
        """Return the weights' cotangents example by example, by name, K x N x the parameter's shape.

        Args:
            cotangent: K stacked y', K x N x ...
            names: the parameters.

        Raises:
            NotCovered: the rule has no rows (`has_rows`).
        """
        raise NotCovered(f"{type(self).__name__} has no rows for {names} at {list(cotangent.shape)}")

    def squares(self, cotangent: Tensor, weights: Weights) -> None:
        """Overwrite `weights` with the sums over the examples of their squared cotangents.

        Args:
            cotangent: y', N x ...
            weights: tensors to overwrite, by name, in the parameters' shapes.

        Raises:
            NotCovered: the rule has no rows (`has_rows`).
        """
        rows = self.rows(cotangent.unsqueeze(0), tuple(weights))
        for name, out in weights.items():
            torch.sum(rows[name].squeeze(0).square(), 0, out=out)

    @property
    def row_flops(self) -> int:
        """Operations of `rows` for one vector."""
        return self.part_flops(inputs=False, weights=True)

    @abstractmethod
    def narrow(self, count: int) -> Self:
        """Return the rule for the first examples; tensors are shared where possible.

        Args:
            count: number of the examples.
        """

    def cast(self, dtype: torch.dtype) -> Self:
        """Return the rule with its floating-point tensors in another precision.

        Args:
            dtype: their type.
        """
        values = {f.name: getattr(self, f.name) for f in fields(self) if f.init}  # type: ignore[arg-type]  # rules are dataclasses
        floats = {k: v for k, v in values.items() if isinstance(v, Tensor) and v.is_floating_point()}
        return type(self)(**values | {k: v.to(dtype) for k, v in floats.items()})


def covers(*targets: Any) -> Callable[[Factory], Factory]:
    """Decorate a factory: enter it in the table of operations.

    Args:
        targets: module classes, functions or names of tensor methods that it is for.

    Returns:
        The decorator. A factory receives the module, if the target is a class, and the operation's arguments; it
        returns y and the rule at x, and raises NotCovered for arguments that the rule does not support.
    """

    def enter(factory: Factory) -> Factory:
        _FACTORIES.update(dict.fromkeys(targets, factory))
        return factory

    return enter


def factory_of(target: Any) -> Factory | None:
    """Return the factory of a module class, a function or a method's name; None: there is none."""
    return _FACTORIES.get(target)
