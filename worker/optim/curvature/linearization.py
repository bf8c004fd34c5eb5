"""A model linearized at a batch: the stored forward pass, and tangents and cotangents that pass through it."""

from collections.abc import Mapping
from dataclasses import dataclass
from math import prod
from typing import Self

import torch
from torch import Tensor

from worker.optim.curvature.graph import Graph, Path
from worker.optim.curvature.rules.base import Rule

STACK_BYTES = 1 << 25
"""size of a chunk of a stack on a CPU [bytes]: larger memory comes from the system each time, which costs more"""


@dataclass(frozen=True)
class Linearization:
    """f(w + w') = f(w) + J w' at one batch of N examples, with J as a chain of rules.

    Memory: the activations of the batch.

    Args:
        graph: the operations.
        rules: one per operation, at this batch.
        outputs: f(w), N x ...
        shapes: of one example's value at every step.
    """

    graph: Graph
    rules: tuple[Rule, ...]
    outputs: Tensor
    shapes: tuple[torch.Size, ...]

    @classmethod
    def at(cls, graph: Graph, inputs: Tensor) -> Self:
        """Run the forward pass."""
        outputs, rules, shapes = graph.forward(inputs)
        return cls(graph, tuple(rules), outputs, tuple(shapes))

    def narrow(self, count: int) -> Self:
        """Return the linearization at the first `count` examples; nothing is computed or copied."""
        rules = tuple(rule.narrow(count) for rule in self.rules)
        return type(self)(self.graph, rules, self.outputs[:count], self.shapes)

    def cast(self, dtype: torch.dtype) -> Self:
        """Return the linearization with its rules in another precision; the outputs are unchanged."""
        return type(self)(self.graph, tuple(rule.cast(dtype) for rule in self.rules), self.outputs, self.shapes)

    def tangent(
        self,
        path: Path,
        weights: Mapping[str, Tensor],
        *,
        seed: Tensor | None = None,
        responses: Mapping[int, Tensor] | None = None,
    ) -> Tensor:
        """Return the tangent at the path's end, N x ... or K x N x ...

        Args:
            path: the steps to pass.
            weights: w' by parameter name.
            seed: the tangent at the path's source, where it has one.
            responses: for a step given here, dy/dw w' itself, in place of its weights' tangents.
        """
        tangents: dict[int, Tensor] = {}
        if path.source is not None and seed is not None:
            tangents[path.source] = seed
        responses = responses or {}
        for step, inputs, names in path.steps:
            parents = self.graph.operations[step].parents
            given = tuple(tangents[p] if active else None for p, active in zip(parents, inputs, strict=True))
            if step not in responses:
                local = {k: weights[full] for k, full in names.items()}
                tangents[step] = self.rules[step].tangent(given, local)
            elif any(inputs):
                tangents[step] = self.rules[step].tangent(given, {}).add_(responses[step])
            else:
                tangents[step] = responses[step]
        return tangents[path.end]

    def backward(
        self,
        path: Path,
        cotangent: Tensor,
        weights: Mapping[str, Tensor],
        *,
        cotangents: dict[int, Tensor] | None = None,
    ) -> Tensor | None:
        """Pass the end's cotangent back along the path; overwrite `weights` with the parameters' cotangents.

        Args:
            path: the steps to pass.
            cotangent: at the path's end, N x ... or K x N x ...
            weights: tensors to overwrite, by parameter name.
            cotangents: a step that is a key here gets its own cotangent as the value, and its weights get none.

        Returns:
            The cotangent at the path's source; None: the path has no source.
        """
        waiting = {path.end: cotangent}
        for step, inputs, names in reversed(path.steps):
            own = waiting.pop(step)
            local: dict[str, Tensor] = {}
            if cotangents is not None and step in cotangents:
                cotangents[step] = own
            else:
                local = {k: weights[full] for k, full in names.items()}
            parents = self.graph.operations[step].parents
            for parent, part in zip(parents, self.rules[step].backward(own, inputs, local), strict=True):
                if part is not None:
                    waiting[parent] = waiting[parent] + part if parent in waiting else part
        return waiting.get(path.source) if path.source is not None else None

    def forward_flops(self) -> int:
        """Floating-point operations of the forward pass in matrix products."""
        return sum(rule.flops for rule in self.rules)

    def tangent_flops(self, path: Path) -> int:
        """Floating-point operations of one tangent along the path, or of one backward pass."""
        return sum(
            self.rules[step].part_flops(inputs=any(inputs), weights=bool(names)) for step, inputs, names in path.steps
        )

    def points(self, path: Path) -> int:
        """Numbers that one tangent along the path, or one backward pass, multiplies element by element."""
        return sum(self.rules[step].points for step, _, _ in path.steps)

    def stack_sizes(self, path: Path, count: int, *, memory: int, each: int = 0) -> list[int]:
        """Cut a stack of `count` vectors into chunks; return their sizes.

        Args:
            path: the steps that the stack passes.
            count: vectors of the stack.
            memory: limit of three times a chunk's widest activations [bytes]; on a CPU at most STACK_BYTES.
            each: memory that a vector needs in addition [bytes].
        """
        if not self.outputs.is_cuda:
            memory = min(memory, STACK_BYTES)
        widest = max(prod(self.shapes[step]) for step, _, _ in path.steps)
        size = memory // max(1, each + 3 * widest * len(self.outputs) * self.outputs.element_size())
        size = max(1, min(count, size))
        return [size] * (count // size) + ([count % size] if count % size else [])
