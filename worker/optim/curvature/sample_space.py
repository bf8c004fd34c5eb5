"""Conjugate gradient in the space of the examples, for dense layers wider than the curvature batch is large.

Every vector of a dense layer that conjugate gradient meets is alpha e + C' [a, 1]: a (N x in) the layer's inputs, C
(N x out), and e = g + d x_0 the one vector that the curvature batch does not span. Kept are alpha, C and the response
D = [a, 1] v = alpha [a, 1] e + K C (N x out), K = a a' + 1 (N x N). D is all that a product needs of v, so the layer's
own weights never enter it: of 4 N in out operations 2 N N out remain. <u, v> = alpha_u alpha_v e'e + alpha_u <[a, 1]
e, C_v> + <C_u, D_v>. Parameters of other layers stay as they are beside these. The coordinates are float64 whatever
the model's type: they are small, and the products' rounding is then all that is left.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from worker.optim.curvature.interfaces import Head
from worker.optim.curvature.rules.linear import LinearRule
from worker.optim.curvature.systems import Task
from worker.optim.curvature.traced_model import WrittenBatch
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
    """The block's system with the layers of `steps` in sample space.

    Coordinates: parameters of the other layers, alpha, every C, every D.
    """

    steady = True

    def __init__(self, task: Task, batch: WrittenBatch, head: Head, steps: frozenset[int]) -> None:
        self._task, self._batch, self._head = task, batch, head
        self._e = self._outside()
        e = task.block.views(self._e)
        entries = [(step, names) for step, _, names in head.path.steps if step in steps]
        self._layers = [self._layer(step, names, e) for step, names in entries]
        sampled = {full for layer in self._layers for full in layer.names.values()}
        self._others = [name for name in task.block.names if name not in sampled]
        self._flat = sum(e[name].numel() for name in self._others)
        self._size = sum(layer.size for layer in self._layers)
        self._responses = torch.cat([layer.response.flatten() for layer in self._layers]).double()
        size = self._flat + 1 + 2 * self._size
        vectors = task.vectors.take("coordinates", size, 5, torch.float64)
        self._v, self._out = task.vectors.take("rounded coordinates", size, 2)
        self.eps = torch.finfo(task.x.dtype).eps
        self.b, self.y, self.work = vectors[0], vectors[1], (vectors[2], vectors[3], vectors[4])
        self.scale = FlatInner.inner(self, task.gradient, task.gradient)
        self._ee = self.scale
        if self._others or self._e is not task.gradient:
            self._ee = torch.stack([self._square(e[name]) for name in sorted(sampled)]).sum()
        self._start(e)

    def _square(self, part: Tensor) -> Tensor:
        return FlatInner.inner(self, part.flatten(), part.flatten())

    def _outside(self) -> Tensor:
        task = self._task
        if not (task.warm and task.damping):
            return task.gradient
        (e,) = task.vectors.take("outside", task.block.size, 1)
        return torch.add(task.gradient, task.x, alpha=task.damping, out=e)

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
        task, b = self._task, self.b
        flops = [
            2 * layer.gram.numel() * layer.x.shape[1] + self._batch.linearization.rules[layer.step].flops
            for layer in self._layers
        ]
        self.setup_flops = sum(flops)
        self.finish_flops = sum(2 * layer.x.shape[1] * layer.size for layer in self._layers)
        self.model = torch.zeros_like(self.scale)
        b.zero_()
        if task.warm:
            jx = self._batch.linearization.tangent(self._head.path, task.block.views(task.x))
            curved = self._head.apply(jx)
            self._down(curved, b)
            self.setup_flops += self._head.flops + self._batch.linearization.tangent_flops(self._head.path)
            self.setup_flops += self._down_flops()
            # phi(x_0) = x_0'G x_0 / 2 + d x_0'x_0 / 2 + g'x_0
            square = FlatInner.inner(self, jx.flatten(), curved.flatten()) / 2
            self.model = square + FlatInner.inner(self, task.gradient, task.x)
            if task.damping:
                self.model = self.model + task.damping / 2 * FlatInner.inner(self, task.x, task.x)
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
        return linearization.tangent_flops(self._head.path) - own + self._head.flops + self._down_flops()

    def _down_flops(self) -> int:
        """Operations of the way back: the layers' own weights are replaced by K C."""
        linearization = self._batch.linearization
        own = sum(
            2 * layer.gram.shape[0] * layer.size - linearization.rules[layer.step].flops for layer in self._layers
        )
        return linearization.tangent_flops(self._head.path) + own

    def product(self, vector: Tensor, out: Tensor) -> None:
        """Write (G_b + d I) v into out, in coordinates."""
        v = self._v.copy_(vector)
        responses = dict(self._pieces(v, 1))
        tangent = self._batch.linearization.tangent(self._head.path, self._views(v), responses=responses)
        self._down(self._head.apply(tangent), out)
        if self._task.damping:
            out.add_(vector, alpha=self._task.damping)

    def _down(self, cotangent: Tensor, out: Tensor) -> None:
        """Write J' times the head's cotangent: it has alpha = 0, C the layers' cotangents, D = K C."""
        kept: dict[int, Tensor] = {layer.step: cotangent for layer in self._layers}
        self._batch.linearization.backward(self._head.path, cotangent, self._views(self._out), cotangents=kept)
        self._out[self._flat] = 0
        pieces = zip(self._layers, self._pieces(self._out, 0), self._pieces(self._out, 1), strict=True)
        for layer, (step, c), (_, d) in pieces:
            c.copy_(kept[step])
            torch.mm(layer.gram, c, out=d)
        out.copy_(self._out)

    def inner(self, left: Tensor, right: Tensor) -> Tensor:
        """Return the inner product of the parameter vectors that the coordinates stand for, in float64."""
        alpha, beta = left[self._flat], right[self._flat]
        total = alpha * (beta * self._ee + FlatInner.inner(self, self._responses, self._part(right, 0)))
        total = total + FlatInner.inner(self, self._part(left, 0), self._part(right, 1))
        if self._flat:
            total = total + FlatInner.inner(self, left[: self._flat], right[: self._flat])
        return total

    def add(self, y: Tensor, x: Tensor) -> None:
        """Add alpha e + C' [a, 1] to x, layer by layer."""
        views, e = self._task.block.views(x), self._task.block.views(self._e)
        alpha, y = y[self._flat].item(), self._v.copy_(y)
        for layer, (_, c) in zip(self._layers, self._pieces(y, 0), strict=True):
            weight = views[layer.names["weight"]]
            weight.add_(e[layer.names["weight"]], alpha=alpha)
            torch.addmm(weight, c.t(), layer.x, out=weight)
            if "bias" in layer.names:
                views[layer.names["bias"]].add_(e[layer.names["bias"]], alpha=alpha).add_(c.sum(0))
        for name, view in self._views(y).items():
            views[name].add_(view)

    def finish(self) -> None:
        """Add the solution to the task's x."""
        self.add(self.y, self._task.x)

    def _part(self, vector: Tensor, which: int) -> Tensor:
        start = self._flat + 1 + which * self._size
        return vector[start : start + self._size]

    def _pieces(self, vector: Tensor, which: int) -> list[tuple[int, Tensor]]:
        """Return every C (0) or D (1), by step."""
        parts = torch.split_with_sizes(self._part(vector, which), [layer.size for layer in self._layers])
        return [(layer.step, p.view(layer.response.shape)) for layer, p in zip(self._layers, parts, strict=True)]

    def _views(self, vector: Tensor) -> dict[str, Tensor]:
        """Return the parameters of the layers that are not in sample space."""
        shapes = [(name, p.shape) for name, p in zip(self._task.block.names, self._task.block.parameters, strict=True)]
        shapes = [(name, shape) for name, shape in shapes if name in self._others]
        parts = torch.split_with_sizes(vector[: self._flat], [shape.numel() for _, shape in shapes])
        return {name: part.view(shape) for (name, shape), part in zip(shapes, parts, strict=True)}
