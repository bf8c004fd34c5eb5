"""The peephole LSTM layer, linearized over a whole sequence, with its passes in C."""

from dataclasses import dataclass, replace
from functools import cached_property
from typing import ClassVar, Self

import torch
from torch import Tensor

from worker.optim.curvature.rules.base import Rule, Weights, covers
from worker.optim.curvature.rules.recurrent import PeepholeRule, peephole_lstm
from worker.optim.lstm import PeepholeLSTM
from worker.optim.native import peephole as passes

NAMES = ("weight", "recurrent", "peephole", "bias")
POINT = 10
"""numbers that torch multiplies element by element in the time in which C does all of a unit's in a step: measured"""


@dataclass
class CompiledPeepholeRule(Rule):
    """What `PeepholeRule` computes, by its formulas, from what `passes.Linearized` has."""

    matrix: Tensor
    stored: Tensor
    examples: int
    has_rows: ClassVar[bool] = True

    @cached_property
    def _layer(self) -> passes.Linearized:
        return passes.Linearized(self.matrix, self.stored, self.examples)

    @property
    def flops(self) -> int:  # type: ignore[override]  # a field of the base, computed here
        """Count W x_t and R h_(t-1)."""
        hidden, inputs = self._layer.hidden, self._layer.inputs
        return 2 * self.examples * (self.stored.shape[1] * 4 * hidden * inputs + self._carried())

    def part_flops(self, *, inputs: bool, weights: bool) -> int:
        """Count R h' too where only the weights have a tangent: it does not stop at the step it enters."""
        if inputs or not weights:
            return self.flops * (inputs + weights)
        return self.flops + 2 * self.examples * self._carried()

    @property
    def points(self) -> int:  # type: ignore[override]  # a field of the base, computed here
        """Count what takes torch as long."""
        return POINT * self.stored.shape[1] * self._layer.hidden * self.examples

    def _carried(self) -> int:
        return (self.stored.shape[1] - 1) * 4 * self._layer.hidden**2

    def tangent(self, inputs: tuple[Tensor | None, ...], weights: Weights) -> Tensor:
        """Return h' of all steps."""
        (x,) = inputs
        stacked = x is not None and x.dim() == 4
        moved = None if x is None else (x if stacked else x.unsqueeze(0)).permute(2, 3, 0, 1)
        k = 1 if moved is None else moved.shape[2]
        h = self._layer.tangent(moved, self._joined(weights), weights.get("peephole"), k).permute(2, 3, 0, 1)
        return h if stacked else h.squeeze(0)

    def _joined(self, weights: Weights) -> Tensor | None:
        """W', R' and b' side by side, zeros for those that are missing; None: all are."""
        hidden, inputs = self._layer.hidden, self._layer.inputs
        columns = {"weight": inputs, "recurrent": hidden, "bias": 1}
        if not weights.keys() & columns.keys():
            return None
        zeros = self.matrix.new_zeros
        parts = [
            weights[n].reshape(4 * hidden, c) if n in weights else zeros(4 * hidden, c) for n, c in columns.items()
        ]
        return torch.cat(parts, 1)

    def backward(self, cotangent: Tensor, needs: tuple[bool, ...], weights: Weights) -> tuple[Tensor | None, ...]:
        """Write the weights' cotangents, sums over steps and examples; return W' times those of the gates."""
        stacked = cotangent if cotangent.dim() == 4 else cotangent.unsqueeze(0)
        x, sums = self._layer.backward(stacked.permute(2, 3, 0, 1), enter=needs[0], sums=bool(weights))
        if sums is not None:
            parts = dict(zip(NAMES, self._layer.parts(sums), strict=True))
            for name, out in weights.items():
                out.copy_(parts[name])
        if x is None:
            return (None,)
        x = x.permute(2, 3, 0, 1)
        return (x if cotangent.dim() == 4 else x.squeeze(0),)

    def rows(self, cotangent: Tensor, names: tuple[str, ...]) -> dict[str, Tensor]:
        """Return the weights' cotangents example by example, K x N x the weight's shape; N lies last in memory."""
        parts = dict(zip(NAMES, self._layer.parts(self._layer.rows(cotangent.permute(2, 3, 0, 1))), strict=True))
        return {name: parts[name].movedim((-2, -1), (0, 1)) for name in names}

    def narrow(self, count: int) -> Self:
        """Return the rule for the first `count` examples; nothing is copied."""
        return replace(self, examples=count)

    def cast(self, dtype: torch.dtype) -> PeepholeRule:  # type: ignore[override]  # another rule for the same layer
        """Return torch's rule, with its tensors in another precision."""
        hidden, inputs = self._layer.hidden, self._layer.inputs
        rows = self.stored.permute(1, 2, 0, 3).flatten(2)[..., : self.examples].to(dtype)
        seen, cells, units = torch.split(rows, [inputs + hidden + 1, hidden, 6 * hidden], 1)
        gains = torch.unflatten(units, 1, (hidden, 6)).transpose(1, 2)
        return PeepholeRule(
            weight=self.matrix[:, :inputs].to(dtype),
            recurrent=self.matrix[:, inputs:-1].to(dtype),
            seen=seen,
            cells=cells,
            gains=gains[:, :5].flatten(1, 2),
            output_gain=gains[:, 5],
        )


@covers(PeepholeLSTM)
def lstm(module: PeepholeLSTM, x: Tensor) -> tuple[Tensor, Rule]:
    """Run the layer, in C where that is available and faster.

    Args:
        module: W, R, p and b.
        x: N x T x I.

    Returns:
        y, and the rule at x.
    """
    weights = (module.weight, module.recurrent, module.peephole, module.bias)
    if not passes.supports(x, weights):
        return peephole_lstm(module, x)
    states, layer = passes.linearize(x, weights)
    return states, CompiledPeepholeRule(matrix=layer.matrix, stored=layer.stored, examples=layer.examples)
