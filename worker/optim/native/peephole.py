"""The peephole LSTM layer's passes in C: forward, tangent and its transpose, a chunk of examples through all steps."""

import ctypes
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, Self

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from worker.optim import native

WIDEST = 64
"""units or inputs of a layer above which torch's matrix products are faster"""

Weights = tuple[Tensor, Tensor, Tensor, Tensor]
"""W (4 x H x I), R (4 x H x H), p (3 x H) and b (4 x H)"""


def supports(x: Tensor, weights: Weights) -> bool:
    """Whether the passes exist for this layer and input, and are faster than torch.

    C checks no shape: where one does not fit, the answer is no, and torch reports it.

    Args:
        x: N x T x I.
        weights: W, R, p and b.
    """
    _, hidden, inputs = weights[0].shape
    fits = x.dim() == 3 and x.shape[2] == inputs
    alike = all(w.dtype == x.dtype and w.device == x.device for w in weights)
    return fits and alike and max(inputs, hidden) <= WIDEST and native.supports(x)


class _Layer(ctypes.Structure):
    _fields_ = (
        *((name, ctypes.c_int64) for name in ("steps", "inputs", "hidden", "examples")),
        *((name, ctypes.c_void_p) for name in ("matrix", "peephole", "stored")),
    )


@dataclass(frozen=True)
class Linearized:
    """The layer linearized at a batch of N examples, or at the first `examples` of them. All arrays are C-contiguous.

    Gates are in the order i, f, g, o. Sequences are time-first with the examples last: T x features x N.

    Args:
        matrix: W, R and b side by side, 4H x S, S = I + H + 1.
        stored: chunks x T x (S + 7H) x width, width the examples that the C code computes at once;
            aligned to a vector register, as torch's storages are. The rows of a step are x_t, h_(t-1), 1 (S rows); c_t
            (H rows); then per unit the gains A, D by i, f, g, E and B of `PeepholeRule` (6H rows).
        examples: how many of the examples are used.
    """

    matrix: Tensor
    stored: Tensor
    examples: int

    @property
    def hidden(self) -> int:
        """Return H."""
        return len(self.matrix) // 4

    @property
    def inputs(self) -> int:
        """Return I."""
        return self.matrix.shape[1] - 1 - self.hidden

    @cached_property
    def _layer(self) -> Any:
        return _layer(self.matrix, None, self.stored, self.stored.shape[1], self.examples)

    def _run(self, name: str, *arguments: Any) -> None:
        run, fixed = native.function(name, self.stored.dtype), [_passed(a) for a in arguments]
        native.spread(lambda _, *span: run(self._layer, *fixed, *map(_passed, span)), self._cut())

    def _cut(self) -> list[tuple[int, int]]:
        return native.thread_ranges(-(-self.examples // self.stored.shape[3]))

    def tangent(self, x: Tensor | None, weights: Tensor | None, peephole: Tensor | None, stack: int) -> Tensor:
        """Return h', T x H x K x N.

        Args:
            x: x', T x I x K x N; None: zero.
            weights: W', R' and b' side by side, 4H x S, only where K = 1; None: zero.
            peephole: p', 3 x H, only where K = 1; None: zero.
            stack: K.

        Raises:
            MemoryError: there is no memory for the pass.
        """
        states = self.stored.new_empty(self.stored.shape[1], self.hidden, stack, self.examples)
        given = [None if t is None else t.contiguous() for t in (x, weights, peephole)]
        self._run("tangent", *given, states, stack)
        return states

    def backward(self, states: Tensor, *, enter: bool, sums: bool = False) -> tuple[Tensor | None, Tensor | None]:
        """Return the cotangents of the inputs and of the weights.

        Args:
            states: the cotangent of h, T x H x K x N.
            enter: whether that of x is needed.
            sums: whether those of the weights are needed; only where K = 1.

        Returns:
            That of x, T x I x K x N, and those of W, R, b (4H x S) and p (3 x H) in one vector of 4H S + 3H numbers,
            summed over steps and examples; None where not needed.

        Raises:
            MemoryError: there is no memory for the pass.
        """
        states = states if states.stride(3) == 1 else states.contiguous()
        length, _, stack, examples = states.shape
        x = states.new_empty(length, self.inputs, stack, examples) if enter else None
        cut, run = self._cut(), native.function("backward", states.dtype)
        totals = torch.zeros(len(cut), self._numbers, dtype=torch.float64, device="cpu") if sums else None
        fixed = [_passed(a) for a in (states, *states.stride()[:3], x)]
        native.spread(
            lambda number, *span: run(
                self._layer, *fixed, _passed(None if totals is None else totals[number]), None,
                *map(_passed, (stack, *span)),
            ),
            cut,
        )  # fmt: skip
        return x, None if totals is None else totals.sum(0).to(states.dtype)

    def rows(self, states: Tensor) -> Tensor:
        """Return the weights' cotangents example by example, summed over the steps.

        Args:
            states: the cotangents of h, T x H x K x N.

        Returns:
            Those of W, R, b (4H x S) and p (3 x H) in one array, (4H S + 3H) x K x N.
        """
        states = states if states.stride(3) == 1 else states.contiguous()
        own = states.new_empty(self._numbers, *states.shape[2:])
        self._run("backward", states, *states.stride()[:3], None, None, own, states.shape[2])
        return own

    @property
    def _numbers(self) -> int:
        return self.matrix.numel() + 3 * self.hidden

    def parts(self, own: Tensor) -> Weights:
        """Cut the weights' cotangents, (4H S + 3H) x ..., into those of W, R, p and b, as views."""
        matrix = torch.unflatten(own[: self.matrix.numel()], 0, (4, self.hidden, -1))
        weight, recurrent, bias = torch.split(matrix, [self.inputs, self.hidden, 1], 2)
        return weight, recurrent, torch.unflatten(own[self.matrix.numel() :], 0, (3, self.hidden)), bias.squeeze(2)

    def narrow(self, count: int) -> Self:
        """Return the layer at the first `count` examples; nothing is copied."""
        return replace(self, examples=count)


def forward(x: Tensor, weights: Weights) -> Tensor:
    """Return h of all steps, N x T x H, of x, N x T x I."""
    return _forward(x, weights, keep=False)[0]


def linearize(x: Tensor, weights: Weights) -> tuple[Tensor, Linearized]:
    """Return h, N x T x H, and the layer linearized at x, N x T x I."""
    states, linearized = _forward(x, weights, keep=True)
    assert linearized is not None
    return states, linearized


def _forward(x: Tensor, weights: Weights, *, keep: bool) -> tuple[Tensor, Linearized | None]:
    weight, recurrent, peephole, bias = (w.detach() for w in weights)
    (count, length, inputs), hidden = x.shape, weight.shape[1]
    matrix = torch.cat((weight.flatten(0, 1), recurrent.flatten(0, 1), bias.reshape(-1, 1)), 1)
    x, peephole = x.detach().permute(1, 2, 0).contiguous(), peephole.contiguous()
    width = native.function("width", x.dtype)()
    chunks, rows = -(-count // width), inputs + 8 * hidden + 1
    states, stored = x.new_empty(length, hidden, count), x.new_empty(chunks * keep, length, rows, width)
    layer, run = _layer(matrix, peephole, stored, length, count), native.function("forward", x.dtype)
    fixed = [_passed(a) for a in (int(keep), x, states)]
    native.spread(lambda _, *span: run(layer, *fixed, *map(_passed, span)), native.thread_ranges(chunks))
    return states.permute(2, 0, 1), Linearized(matrix, stored, count) if keep else None


class SingleBackward(torch.autograd.Function):
    """The layer for a gradient by autograd: h, N x T x H, of x, W, R, p and b; it cannot be differentiated twice."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, *weights: Tensor) -> Tensor:
        """Run the layer; store the linearization where a gradient is needed."""
        weight, recurrent, peephole, bias = weights
        if not any(ctx.needs_input_grad):
            return forward(x, (weight, recurrent, peephole, bias))
        states, ctx.linearized = linearize(x, (weight, recurrent, peephole, bias))
        return states

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, cotangent: Tensor) -> tuple[Tensor | None, ...]:
        """Return the cotangents."""
        linearized: Linearized = ctx.linearized
        states = cotangent.permute(1, 2, 0).unsqueeze(2)
        x, own = linearized.backward(states, enter=ctx.needs_input_grad[0], sums=True)
        assert own is not None
        return None if x is None else x.squeeze(2).permute(2, 0, 1), *linearized.parts(own)


def _layer(matrix: Tensor, peephole: Tensor | None, stored: Tensor, steps: int, examples: int) -> Any:
    hidden = len(matrix) // 4
    sizes = (steps, matrix.shape[1] - 1 - hidden, hidden, examples)
    return ctypes.byref(_Layer(*sizes, *(None if t is None else t.data_ptr() for t in (matrix, peephole, stored))))


def _passed(argument: Tensor | int | None) -> Any:
    """Return an argument in C's type: a pointer, or a 64-bit integer."""
    if isinstance(argument, Tensor):
        return ctypes.c_void_p(argument.data_ptr())
    return argument if argument is None else ctypes.c_int64(argument)
