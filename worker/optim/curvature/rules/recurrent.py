"""The peephole LSTM layer, linearized over a whole sequence."""

from dataclasses import dataclass, replace
from functools import cached_property
from typing import ClassVar, Self

import torch
from torch import Tensor

from worker.optim.curvature.rules.base import Rule, Weights
from worker.optim.lstm import PeepholeLSTM, steps

CACHED = 125_000
"""numbers of a step that a stack may fill, so that a CPU finds them in its cache at the next step"""


@dataclass
class PeepholeRule(Rule):
    """Tangent and backward pass through time; T steps, N examples, I inputs, H units, a' the sums that enter the gates.

        a'_t = W x'_t + R h'_(t-1) + [W' x_t + R' h_(t-1) + b' + p' c]     c'_t = A c'_(t-1) + D a'_(i,f,g)
        h'_t = E a'_o + B c'_t

    A, D, E, B are products of the gates, computed once. Two matrix products (inputs and weights of all steps), then
    four operations per step; a stack of K vectors goes along with the examples.
    """

    weight: Tensor
    """W, 4H x I"""
    recurrent: Tensor
    """R, 4H x H"""
    seen: Tensor
    """x_t, h_(t-1) and 1, T x (I + H + 1) x N"""
    cells: Tensor
    """c_t, T x H x N"""
    gains: Tensor
    """A, D by i, f, g, and E, T x 5H x N"""
    output_gain: Tensor
    """B, T x H x N"""
    has_rows: ClassVar[bool] = True

    @property
    def flops(self) -> int:  # type: ignore[override]  # a field of the base, computed here
        """Count W x_t and R h_(t-1)."""
        return 2 * self.cells.shape[2] * (len(self.cells) * self.weight.numel() + self._carried())

    def part_flops(self, *, inputs: bool, weights: bool) -> int:
        """Count R h' too where only the weights have a tangent: it does not stop at the step it enters."""
        if inputs or not weights:
            return self.flops * (inputs + weights)
        return self.flops + 2 * self.cells.shape[2] * self._carried()

    @property
    def points(self) -> int:  # type: ignore[override]  # a field of the base, computed here
        """Count the gains, the sums and the states of every step."""
        return self.gains.numel() + 5 * self.cells.numel() + self.output_gain.numel()

    def _carried(self) -> int:
        return (len(self.cells) - 1) * self.recurrent.numel()

    def tangent(self, inputs: tuple[Tensor | None, ...], weights: Weights) -> Tensor:
        """Return h' of all steps."""
        (x,) = inputs
        stacked = x is not None and x.dim() == 4
        length, hidden, count = self.cells.shape
        k = len(x) if x is not None and stacked else 1
        # c'_(t-1) and a'_t of the gates i, f, g, o in one tensor: one multiplication by the gains
        a = self.cells.new_empty(length, 5 * hidden, k, count)
        self._enter(a[:, hidden:].flatten(2), None if x is None else _time_first(x), weights)
        h = self.cells.new_empty(length, hidden, k, count)
        self._forward(a, h)
        return h.permute(2, 3, 0, 1) if stacked else h.squeeze(2).permute(2, 0, 1)

    def _forward(self, a: Tensor, h: Tensor) -> None:
        """Run the tangents through time: from what enters the gates of all steps to h'."""
        hidden = h.shape[1]
        entered, cell, gates = a.unbind(), [*a[:, :hidden].unbind(), a[0, :hidden]], a[:, hidden:].flatten(2).unbind()
        states, flat = h.unbind(), h.flatten(2).unbind()
        product = torch.empty_like(a[0])
        terms, outer = product[: 4 * hidden].view(4, *h.shape[1:]), product[4 * hidden :]
        cell[0].zero_()
        for t, (gain, (output_gain, _, _)) in enumerate(
            zip(self.gains.unsqueeze(2).unbind(), self._gains, strict=True)
        ):
            if t:
                torch.addmm(gates[t], self.recurrent, flat[t - 1], out=gates[t])
            torch.mul(entered[t], gain, out=product)
            torch.sum(terms, 0, out=cell[t + 1])
            torch.addcmul(outer, output_gain, cell[t + 1], out=states[t])

    @cached_property
    def _gains(self) -> list[tuple[Tensor, Tensor, Tensor]]:
        """B, A with D (4 x H x 1 x N) and E of every step: cutting them out at each product would cost as much."""
        length, hidden, count = self.cells.shape
        inner = self.gains[:, : 4 * hidden].view(length, 4, hidden, 1, count)
        outer = self.gains[:, 4 * hidden :].unsqueeze(2)
        return list(zip(self.output_gain.unsqueeze(2), inner, outer, strict=True))

    def _enter(self, a: Tensor, x: Tensor | None, weights: Weights) -> None:
        """Write W x'_t + W' x_t + R' h_(t-1) + b' + p' c of all steps into a (T x 4H x KN)."""
        if not weights:
            assert x is not None
            torch.bmm(self.weight.expand(len(x), *self.weight.shape), x, out=a)
            return
        hidden = self.cells.shape[1]
        matrix = torch.cat([self._part(weights, name, size) for name, size in self._columns().items()], 1)
        torch.bmm(matrix.expand(len(a), *matrix.shape), self.seen, out=a)
        if "peephole" in weights:
            p = weights["peephole"][:, :, None]
            a[1:, : 2 * hidden].view(-1, 2, *self.cells.shape[1:]).addcmul_(p[:2], self.cells[:-1].unsqueeze(1))
            a[:, 3 * hidden :].addcmul_(p[2], self.cells)
        if x is not None:
            torch.baddbmm(a, self.weight.expand(len(x), *self.weight.shape), x, out=a)

    def _columns(self) -> dict[str, int]:
        return {"weight": self.weight.shape[1], "recurrent": self.recurrent.shape[1], "bias": 1}

    def _part(self, weights: Weights, name: str, size: int) -> Tensor:
        rows = len(self.weight)
        return weights[name].reshape(rows, size) if name in weights else self.weight.new_zeros(rows, size)

    def backward(self, cotangent: Tensor, needs: tuple[bool, ...], weights: Weights) -> tuple[Tensor | None, ...]:
        """Write the weights' cotangents, sums over steps and examples; return W' times those of the gates."""
        if cotangent.dim() == 4:
            return (self._transposed(cotangent)[1] if needs[0] else None,)
        a, x = self._transposed(cotangent.unsqueeze(0), keep=bool(weights), enter=needs[0])
        if a is not None:
            self._collect(a.squeeze(2), weights)
        return (x.squeeze(0) if needs[0] else None,)

    def _transposed(
        self, cotangents: Tensor, *, keep: bool = False, enter: bool = True
    ) -> tuple[Tensor | None, Tensor]:
        """Run K cotangents back through time.

        Returns those of the sums that enter the gates, T x 4H x K x N, with `keep`, and those of x.
        """
        (length, hidden, count), k = self.cells.shape, len(cotangents)
        states = cotangents.permute(2, 3, 0, 1).flatten(2)
        a = self.cells.new_empty(length if keep else 1, 5 * hidden, k, count)
        each = range(length) if keep else [0] * length
        cell, gates = a[:, :hidden].unbind(), a[:, hidden:].flatten(2).unbind()
        inner, outer = a[:, : 4 * hidden].view(-1, 4, hidden, k, count).unbind(), a[:, 4 * hidden :].unbind()
        flat, c = states.new_empty(hidden, k * count), states.new_zeros(hidden, k, count)
        h, recurrent, weight = flat.view(hidden, k, count), self.recurrent.t(), self.weight.t()
        x = states.new_empty(length if enter else 0, len(weight), k * count)
        for t, state in reversed(list(enumerate(states))):
            output_gain, inner_gain, outer_gain = self._gains[t]
            at, after = each[t], each[min(t + 1, length - 1)]
            if t + 1 < length:
                torch.addmm(state, recurrent, gates[after], out=flat)
                torch.addcmul(cell[after], output_gain, h, out=c)
            else:
                flat.copy_(state)
                torch.mul(output_gain, h, out=c)
            torch.mul(inner_gain, c, out=inner[at])
            torch.mul(outer_gain, h, out=outer[at])
            if enter:
                torch.mm(weight, gates[at], out=x[t])
        return a[:, hidden:] if keep else None, torch.unflatten(x, 2, (k, count)).permute(2, 3, 0, 1)

    def rows(self, cotangent: Tensor, names: tuple[str, ...]) -> dict[str, Tensor]:
        """Return the weights' cotangents example by example, K x N x the weight's shape."""
        together = len(cotangent) if cotangent.is_cuda else CACHED // self.gains[0].numel()
        chunks = [self._rows(chunk, names) for chunk in torch.split(cotangent, max(1, together))]
        return {name: torch.cat([chunk[name] for chunk in chunks]) for name in names}

    def _rows(self, cotangents: Tensor, names: tuple[str, ...]) -> dict[str, Tensor]:
        (length, hidden, count), k = self.cells.shape, len(cotangents)
        a, _ = self._transposed(cotangents, keep=True, enter=False)
        assert a is not None
        gates = a.reshape(-1, count).t().contiguous().view(count, length, 4, hidden, k)  # a plain transpose is cheapest
        rows = torch.bmm(gates.flatten(2).transpose(1, 2), self.seen.permute(2, 0, 1).contiguous())
        shaped = rows.view(count, 4, hidden, k, -1).permute(3, 0, 1, 2, 4)
        result = dict(zip(self._columns(), torch.split(shaped, list(self._columns().values()), 4), strict=True))
        result["bias"] = result["bias"].squeeze(4)
        if "peephole" in names:
            cells = self.cells[:, None, :, None]  # beside T x gates x H x K x N
            i_f = (a[1:, : 2 * hidden].view(length - 1, 2, hidden, k, count) * cells[:-1]).sum(0)
            o = (a[:, 3 * hidden :].view(length, 1, hidden, k, count) * cells).sum(0)
            result["peephole"] = torch.cat([i_f, o]).permute(2, 3, 0, 1)
        return result

    def _collect(self, a: Tensor, weights: Weights) -> None:
        hidden = self.cells.shape[1]
        if weights.keys() & self._columns().keys():
            sums = torch.bmm(self.seen, a.transpose(1, 2)).sum(0).t()  # in this order it is faster on a CPU
            parts = dict(zip(self._columns(), torch.split(sums, list(self._columns().values()), 1), strict=True))
            for name in weights.keys() & parts.keys():
                weights[name].copy_(parts[name].reshape(weights[name].shape))
        if "peephole" in weights:
            p = weights["peephole"]
            gates = a[1:, : 2 * hidden].view(-1, 2, *self.cells.shape[1:])
            torch.sum(gates * self.cells[:-1].unsqueeze(1), (0, 3), out=p[:2])
            torch.sum(a[:, 3 * hidden :] * self.cells, (0, 2), out=p[2])

    def narrow(self, count: int) -> Self:
        """Return the rule for the first examples; copied once, so that all products read contiguous memory."""
        kept = ("seen", "cells", "gains", "output_gain")
        return replace(self, **{name: getattr(self, name)[..., :count].contiguous() for name in kept})


def _time_first(x: Tensor) -> Tensor:
    """Bring N x T x F, or K x N x T x F, into the order T x F x KN."""
    return (x.permute(1, 2, 0) if x.dim() == 3 else x.permute(2, 3, 0, 1)).flatten(2)


def peephole_lstm(module: PeepholeLSTM, x: Tensor) -> tuple[Tensor, Rule]:
    """Run the layer, and compute the gains A, D, E and B of every step.

    Args:
        module: W, R, p and b.
        x: N x T x I.

    Returns:
        y, and the rule at x.
    """
    (count, length, inputs), hidden = x.shape, module.weight.shape[1]
    p = module.peephole.detach()[:, :, None]
    seen = x.new_empty(length, inputs + hidden + 1, count)
    seen[:, :inputs], seen[0, inputs:-1], seen[:, -1] = x.permute(1, 2, 0), 0, 1
    h, cells, output_gain = (x.new_empty(length, hidden, count) for _ in range(3))
    gains = x.new_empty(length, 5, hidden, count)
    before = x.new_zeros(hidden, count)
    for t, step in enumerate(steps(module, x)):
        i, f = step.i_f.unbind()
        carry, d_i, d_f, d_g, e = gains[t].unbind()
        slope = torch.addcmul(step.i_f, step.i_f, step.i_f, value=-1)  # i (1 - i) and f (1 - f)
        torch.mul(slope[0], step.g, out=d_i)
        torch.mul(slope[1], before, out=d_f)
        torch.addcmul(i, i * step.g, step.g, value=-1, out=d_g)
        torch.sub(step.squashed, step.h, out=e).mul_(step.o)
        torch.addcmul(f, p[0], d_i, out=carry).addcmul_(p[1], d_f)
        torch.addcmul(step.o, step.h, step.squashed, value=-1, out=output_gain[t]).addcmul_(p[2], e)
        h[t], cells[t], before = step.h, step.c, step.c
    seen[1:, inputs:-1] = h[:-1]
    rule = PeepholeRule(
        weight=module.weight.detach().flatten(0, 1),
        recurrent=module.recurrent.detach().flatten(0, 1),
        seen=seen,
        cells=cells,
        gains=gains.flatten(1, 2),
        output_gain=output_gain,
    )
    return h.permute(2, 0, 1), rule
