"""Conjugate gradient in the space of the examples, for dense layers wider than the curvature batch is large.

Every vector of a dense layer that conjugate gradient meets is alpha e + C' [a, 1]: a (N x in) the layer's inputs, C
(N x out), and e = g + d x_0 the one vector that the curvature batch does not span. The system stores alpha, C and the
response D = [a, 1] v = alpha [a, 1] e + K C (N x out), K = a a' + 1 (N x N). A product needs only D of v, so the
layer's own weights never enter it: of its 4 N in out operations, 2 N N out remain.

    <u, v> = alpha_u alpha_v e'e + alpha_u <[a, 1] e, C_v> + <C_u, D_v>

Parameters of other layers are coordinates themselves. The coordinates are float64 whatever the model's type: they are
few, and so only the products round.

Memory per layer: N N numbers for K and N out for the response, and 5 vectors of 2 N out coordinates in float64 (and 2
in the model's type) in place of 5 of in out.

It does not apply to a layer with more than one row per example (sequences), to convolutions and LSTMs, with the
preconditioner (M^-1 r leaves the space) and in bfloat16.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from worker.optim.curvature.rules.linear import LinearRule
from worker.optim.curvature.systems import BlockProblem
from worker.optim.curvature.traced_batch import LossCurvature, TracedBatch
from worker.optim.solver.cg import FlatInner


@dataclass(frozen=True)
class _Layer:
    """A dense layer in sample space: K, the response to e, and the names of its parameters."""

    step: int
    x: Tensor
    gram: Tensor
    response: Tensor
    names: dict[str, str]

    @property
    def size(self) -> int:
        return self.response.numel()


class SampleSystem(FlatInner):
    """The block's system with some dense layers in sample space; a `System`.

    Coordinates, in this order: parameters of the other layers, alpha, C of every layer, D of every layer.

    Args:
        problem: what to solve.
        batch: the model linearized at S_c.
        curvature: M, with the path to its step.
        steps: the dense layers that are put into sample space.
    """

    steady = True

    def __init__(
        self, problem: BlockProblem, batch: TracedBatch, curvature: LossCurvature, steps: frozenset[int]
    ) -> None:
        self._problem, self._batch, self._curvature = problem, batch, curvature
        self._e = self._outside()
        e = problem.block.views(self._e)
        entries = [(step, names) for step, _, names in curvature.path.steps if step in steps]
        self._layers = [self._layer(step, names, e) for step, names in entries]
        sampled = {full for layer in self._layers for full in layer.names.values()}
        self._others = [name for name in problem.block.names if name not in sampled]
        self._flat = sum(e[name].numel() for name in self._others)
        self._size = sum(layer.size for layer in self._layers)
        self._responses = torch.cat([layer.response.flatten() for layer in self._layers]).double()
        size = self._flat + 1 + 2 * self._size
        vectors = problem.vectors.take("coordinates", size, 5, torch.float64)
        self._v, self._out = problem.vectors.take("rounded coordinates", size, 2)
        self.eps = torch.finfo(problem.x.dtype).eps
        self.b, self.y, self.work = vectors[0], vectors[1], (vectors[2], vectors[3], vectors[4])
        self.scale = FlatInner.inner(self, problem.gradient, problem.gradient)
        self._ee = self.scale
        if self._others or self._e is not problem.gradient:
            self._ee = torch.stack([self._square(e[name]) for name in sorted(sampled)]).sum()
        self._start(e)

    def _square(self, part: Tensor) -> Tensor:
        return FlatInner.inner(self, part.flatten(), part.flatten())

    def _outside(self) -> Tensor:
        problem = self._problem
        if not (problem.warm and problem.damping):
            return problem.gradient
        (e,) = problem.vectors.take("outside", problem.block.size, 1)
        return torch.add(problem.gradient, problem.x, alpha=problem.damping, out=e)

    def _layer(self, step: int, names: dict[str, str], e: dict[str, Tensor]) -> _Layer:
        rule = self._batch.linearization.rules[step]
        assert isinstance(rule, LinearRule)
        gram = torch.mm(rule.x, rule.x.t())
        if "bias" in names:
            gram += 1
        response = rule.tangent((None,), {local: e[full] for local, full in names.items()})
        return _Layer(step, rule.x, gram, response, names)

    def _start(self, e: dict[str, Tensor]) -> None:
        """Set b = -(A x_0 + g) = -(e + G x_0), the model at x_0, and what this took."""
        problem, b = self._problem, self.b
        flops = [
            2 * layer.gram.numel() * layer.x.shape[1] + self._batch.linearization.rules[layer.step].flops
            for layer in self._layers
        ]
        self.setup_flops = sum(flops)
        self.finish_flops = sum(2 * layer.x.shape[1] * layer.size for layer in self._layers)
        self.model = torch.zeros_like(self.scale)
        b.zero_()
        if problem.warm:
            jx = self._batch.linearization.tangent(self._curvature.path, problem.block.views(problem.x))
            curved = self._curvature.apply(jx)
            self._down(curved, b)
            self.setup_flops += self._curvature.flops + self._batch.linearization.tangent_flops(self._curvature.path)
            self.setup_flops += self._down_flops()
            # phi(x_0) = x_0'G x_0 / 2 + d x_0'x_0 / 2 + g'x_0
            square = FlatInner.inner(self, jx.flatten(), curved.flatten()) / 2
            self.model = square + FlatInner.inner(self, problem.gradient, problem.x)
            if problem.damping:
                self.model = self.model + problem.damping / 2 * FlatInner.inner(self, problem.x, problem.x)
        b[self._flat] += 1
        self._part(b, 1).add_(self._responses)
        for name, view in self._views(b).items():
            view.add_(e[name])
        b.neg_()

    @property
    def product_flops(self) -> int:
        """Operations of one product."""
        linearization = self._batch.linearization
        own = sum(linearization.rules[layer.step].flops for layer in self._layers)
        return linearization.tangent_flops(self._curvature.path) - own + self._curvature.flops + self._down_flops()

    def _down_flops(self) -> int:
        """Operations of J': the layers' own weights are replaced by K C."""
        linearization = self._batch.linearization
        own = sum(
            2 * layer.gram.shape[0] * layer.size - linearization.rules[layer.step].flops for layer in self._layers
        )
        return linearization.tangent_flops(self._curvature.path) + own

    def product(self, vector: Tensor, out: Tensor) -> None:
        """Write (G_b + d I) v into out, in coordinates."""
        v = self._v.copy_(vector)
        responses = dict(self._layer_parts(v, 1))
        tangent = self._batch.linearization.tangent(self._curvature.path, self._views(v), responses=responses)
        self._down(self._curvature.apply(tangent), out)
        if self._problem.damping:
            out.add_(vector, alpha=self._problem.damping)

    def _down(self, cotangent: Tensor, out: Tensor) -> None:
        """Write J' times the end's cotangent: it has alpha = 0, C the layers' cotangents, D = K C."""
        collected: dict[int, Tensor] = {layer.step: cotangent for layer in self._layers}
        self._batch.linearization.backward(
            self._curvature.path, cotangent, self._views(self._out), cotangents=collected
        )
        self._out[self._flat] = 0
        parts = zip(self._layers, self._layer_parts(self._out, 0), self._layer_parts(self._out, 1), strict=True)
        for layer, (step, c), (_, d) in parts:
            c.copy_(collected[step])
            torch.mm(layer.gram, c, out=d)
        out.copy_(self._out)

    def inner(self, left: Tensor, right: Tensor) -> Tensor:
        """Return the inner product of the parameter vectors of these coordinates, in float64."""
        alpha, beta = left[self._flat], right[self._flat]
        total = alpha * (beta * self._ee + FlatInner.inner(self, self._responses, self._part(right, 0)))
        total = total + FlatInner.inner(self, self._part(left, 0), self._part(right, 1))
        if self._flat:
            total = total + FlatInner.inner(self, left[: self._flat], right[: self._flat])
        return total

    def add(self, y: Tensor, x: Tensor) -> None:
        """Add alpha e + C' [a, 1] to x, layer by layer."""
        views, e = self._problem.block.views(x), self._problem.block.views(self._e)
        alpha, y = y[self._flat].item(), self._v.copy_(y)
        for layer, (_, c) in zip(self._layers, self._layer_parts(y, 0), strict=True):
            weight = views[layer.names["weight"]]
            weight.add_(e[layer.names["weight"]], alpha=alpha)
            torch.addmm(weight, c.t(), layer.x, out=weight)
            if "bias" in layer.names:
                views[layer.names["bias"]].add_(e[layer.names["bias"]], alpha=alpha).add_(c.sum(0))
        for name, view in self._views(y).items():
            views[name].add_(view)

    def finish(self) -> None:
        """Add the solution to the problem's x."""
        self.add(self.y, self._problem.x)

    def _part(self, vector: Tensor, which: int) -> Tensor:
        start = self._flat + 1 + which * self._size
        return vector[start : start + self._size]

    def _layer_parts(self, vector: Tensor, which: int) -> list[tuple[int, Tensor]]:
        """Return every C (0) or D (1), by step."""
        parts = torch.split_with_sizes(self._part(vector, which), [layer.size for layer in self._layers])
        return [(layer.step, p.view(layer.response.shape)) for layer, p in zip(self._layers, parts, strict=True)]

    def _views(self, vector: Tensor) -> dict[str, Tensor]:
        """Return the parameters of the layers that are not in sample space."""
        shapes = [
            (name, p.shape) for name, p in zip(self._problem.block.names, self._problem.block.parameters, strict=True)
        ]
        shapes = [(name, shape) for name, shape in shapes if name in self._others]
        parts = torch.split_with_sizes(vector[: self._flat], [shape.numel() for _, shape in shapes])
        return {name: part.view(shape) for (name, shape), part in zip(shapes, parts, strict=True)}
