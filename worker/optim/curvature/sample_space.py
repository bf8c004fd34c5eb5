"""Conjugate gradient in the space of the examples, for dense layers wider than the curvature batch is large.

Let A = [a, 1] (N x w) be the layer's inputs with a column for the bias, and A A' = F F' with F (N x r) of full column
rank. Then A = F B, where the r rows of B (r x w) are orthonormal, and B itself is never computed. Every vector of a
dense layer that conjugate gradient meets is

    V = alpha n + Y' B,    n = (e - its projection onto the rows of B) / its norm,    e = g + d x_0

with Y (r x out). The coordinates alpha and Y are orthonormal: inner products are Euclidean, without cancellation. The
response of the layer is A V' = F Y, since A n' = 0, and the cotangent c (N x out) of its outputs gives Y = F'c. So
the layer's own weights never enter a product: of its 4 N in out operations, 4 N r out remain, or half of them with a
triangular F.

Parameters of other layers are coordinates themselves. A A' is formed and factored in float64. F is its Cholesky factor
where the smallest eigenvalue is above the rounding of float32; otherwise F comes from the eigenvalues, without those
that are rounding in float64.

Memory per layer: 3 N N numbers in float64 while it is set up, then N N in the model's type and N N in float64, and 5
vectors of N out coordinates in place of 5 of in out.

It does not apply to a layer with more than one row per example (sequences), to convolutions and LSTMs, with the
preconditioner (M^-1 r leaves the space) and in bfloat16.
"""

from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor

from worker.optim.curvature.rules.linear import LinearRule
from worker.optim.curvature.systems import BlockProblem
from worker.optim.curvature.traced_batch import LossCurvature, TracedBatch
from worker.optim.solver.cg import FlatInner

BYTES_PER_ENTRY = 24
"""memory that set-up needs for each of the N N entries of A A' [bytes]"""
_NEGLIGIBLE = 16
"""length of n's unnormalized vector, relative to e, up to which it is rounding [eps]"""


def triangle(size: int, *, cuda: bool = False) -> list[tuple[int, int]]:
    """Return the bands in which a triangular matrix is multiplied, which leaves out most of its zeros.

    Args:
        size: N, rows of the matrix.
        cuda: whether it is on a CUDA device, where one large product is faster.

    Returns:
        First row of each band and the one after its last.
    """
    number = 1 if cuda else max(1, min(6, size // 64))
    return list(pairwise(size * i // number for i in range(number + 1)))


def application_flops(count: int, rank: int, out: int) -> int:
    """Operations of F Y, or of F'c, for `count` examples.

    Args:
        count: N.
        rank: r; F is triangular where r = N.
        out: outputs of the layer.
    """
    if rank < count:
        return 2 * count * rank * out
    return 2 * out * sum((end - start) * end for start, end in triangle(count))


@dataclass(frozen=True)
class _Layer:
    """A dense layer in sample space.

    Args:
        step: its step in the graph.
        x: a, N x in.
        factor: F, N x r, in the model's type.
        inverse: the transpose of F's pseudo-inverse, N x r, float64: Y is that of the vector (inverse Y)'A.
        triangular: whether F is a lower triangular matrix.
        out: its outputs.
        names: local -> full names of its parameters.
    """

    step: int
    x: Tensor
    factor: Tensor
    inverse: Tensor
    triangular: bool
    out: int
    names: dict[str, str]

    @property
    def shape(self) -> tuple[int, int]:
        return self.factor.shape[1], self.out

    @property
    def size(self) -> int:
        return self.factor.shape[1] * self.out

    @property
    def flops(self) -> int:
        count, rank = self.factor.shape
        return 2 * self.out * sum((b - a) * (b if self.triangular else rank) for a, b in self._bands(count))

    def _bands(self, size: int) -> list[tuple[int, int]]:
        return triangle(size, cuda=self.factor.is_cuda) if self.triangular else [(0, size)]

    def response(self, y: Tensor) -> Tensor:
        """Return F Y, N x out."""
        bands = self._bands(len(self.factor))
        if len(bands) == 1:
            return self.factor @ y
        result = y.new_empty(len(self.factor), self.out)
        for a, b in bands:
            torch.mm(self.factor[a:b, :b], y[:b], out=result[a:b])
        return result

    def transposed(self, cotangent: Tensor, out: Tensor) -> None:
        """Write F'c into out, r x out."""
        bands = self._bands(len(self.factor))
        if len(bands) == 1:
            torch.mm(self.factor.t(), cotangent, out=out)
            return
        for a, b in bands:
            torch.mm(self.factor[a:, a:b].t(), cotangent[a:], out=out[a:b])

    def add(self, y: Tensor, views: dict[str, Tensor], *, scale: float = 1.0) -> None:
        """Add scale Y' B = scale (inverse Y)'A to the layer's parameters, Y in float64.

        inverse Y has large entries that cancel where F is close to singular, so the sum is in float64.
        """
        c = (self.inverse @ y).mul_(scale)
        views[self.names["weight"]].add_(torch.mm(c.t(), self.x.double()))
        if "bias" in self.names:
            views[self.names["bias"]].add_(c.sum(0))


def _factor(gram: Tensor) -> tuple[Tensor, Tensor, bool]:
    """Return F (N x r), the transpose of its pseudo-inverse, and whether F is triangular."""
    size = len(gram)
    eye = torch.eye(size, dtype=gram.dtype, device=gram.device)
    _, failed = torch.linalg.cholesky_ex(gram - torch.finfo(torch.float32).eps * gram.trace() * eye)
    if not failed.item() and gram.trace().item() > 0:
        factor = torch.linalg.cholesky(gram)
        return factor, torch.linalg.solve_triangular(factor, eye, upper=False).t().contiguous(), True
    values, vectors = torch.linalg.eigh(gram)
    used = values > size * torch.finfo(gram.dtype).eps * values[-1]
    roots, vectors = values[used].sqrt(), vectors[:, used]
    return vectors * roots, vectors / roots, False


class SampleSystem(FlatInner):
    """The block's system with some dense layers in sample space; a `System`.

    Coordinates, in this order: parameters of the other layers, alpha, Y of every layer.

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
        self._problem, self._linearization, self._curvature = problem, batch.linearization, curvature
        entries = [(step, names) for step, _, names in curvature.path.steps if step in steps]
        self._layers = [self._layer(step, names) for step, names in entries]
        self._sampled = {full for layer in self._layers for full in layer.names.values()}
        parameters = zip(problem.block.names, problem.block.parameters, strict=True)
        self._others = {name: p.shape for name, p in parameters if name not in self._sampled}
        self._flat = sum(shape.numel() for shape in self._others.values())
        size = self._flat + 1 + sum(layer.size for layer in self._layers)
        self.b, self.y, *work = problem.vectors.take("coordinates", size, 5)
        self.work = (work[0], work[1], work[2])
        self.eps = torch.finfo(problem.x.dtype).eps
        self.scale = self.inner(problem.gradient, problem.gradient)
        self.setup_flops = sum(self._setup_flops(layer) for layer in self._layers)
        self.finish_flops = sum(self._finish_flops(layer) for layer in self._layers)
        self._start()

    def _layer(self, step: int, names: dict[str, str]) -> _Layer:
        rule = self._linearization.rules[step]
        assert isinstance(rule, LinearRule)
        wide = rule.x.double()
        gram = torch.mm(wide, wide.t())
        if "bias" in names:
            gram += 1
        factor, inverse, triangular = _factor(gram)
        return _Layer(step, rule.x, factor.to(rule.x.dtype), inverse, triangular, len(rule.weight), names)

    def _setup_flops(self, layer: _Layer) -> int:
        count, width = layer.x.shape
        projection = self._linearization.rules[layer.step].flops + 2 * count * layer.size + self._finish_flops(layer)
        twice = layer.factor.dtype == torch.float64 or not all(other.triangular for other in self._layers)
        return 2 * count * count * width + projection * (1 + twice)

    def _finish_flops(self, layer: _Layer) -> int:
        return 2 * len(layer.x) * (layer.size + layer.x.shape[1] * layer.out)

    def _start(self) -> None:
        """Set n, b = -(A x_0 + g) = -(e + G x_0), and the model at x_0."""
        problem, b = self._problem, self.b
        (outside,) = problem.vectors.take("outside", problem.block.size, 1)
        outside.copy_(problem.gradient)
        if problem.warm and problem.damping:
            outside.add_(problem.x, alpha=problem.damping)
        self._outside = problem.block.views(outside)
        self.model = torch.zeros_like(self.scale)
        b.zero_()
        if problem.warm:
            path = self._curvature.path
            jx = self._linearization.tangent(path, problem.block.views(problem.x))
            curved = self._curvature.apply(jx)
            self._down(curved, b)
            self.setup_flops += self._curvature.flops + self._linearization.tangent_flops(path) + self._down_flops()
            # phi(x_0) = x_0'G x_0 / 2 + d x_0'x_0 / 2 + g'x_0
            square = self.inner(jx.flatten(), curved.flatten()) / 2
            self.model = square + self.inner(problem.gradient, problem.x)
            if problem.damping:
                self.model = self.model + problem.damping / 2 * self.inner(problem.x, problem.x)
        for name, view in self._views(b).items():
            view.add_(self._outside[name])
        whole = self._square_outside()
        rest = self._project(b)
        negligible = rest <= (_NEGLIGIBLE * self.eps) ** 2 * whole
        if b.dtype == torch.float64 or not all(layer.triangular for layer in self._layers):
            # What a second projection removes was rounding of the first one: e lies within the span then.
            again = self._project(b)
            negligible, rest = negligible | (again < rest / 4), again
        length = rest.sqrt().masked_fill(negligible, 0)
        self._unit = torch.where(negligible, 0, 1 / length).item()
        b[self._flat] = length
        b.neg_()

    def _project(self, coordinates: Tensor) -> Tensor:
        """Move what the examples span from `_outside` to the coordinates; return the square of what is left."""
        for layer, part in zip(self._layers, self._parts(coordinates), strict=True):
            self._project_layer(layer, part)
        return self._square_outside()

    def _project_layer(self, layer: _Layer, coordinates: Tensor) -> None:
        # In float64: the inverse multiplies the rounding of directions along which the inputs hardly vary.
        response = torch.mm(layer.x.double(), self._outside[layer.names["weight"]].double().t())
        if "bias" in layer.names:
            response += self._outside[layer.names["bias"]]
        y = layer.inverse.t() @ response
        coordinates.add_(y)
        layer.add(y, self._outside, scale=-1.0)

    def _square_outside(self) -> Tensor:
        flat = [self._outside[name].flatten() for name in sorted(self._sampled)]
        return torch.stack([self.inner(part, part) for part in flat]).sum()

    @property
    def product_flops(self) -> int:
        """Operations of one product."""
        path, rules = self._curvature.path, self._linearization.rules
        own = sum(layer.flops - rules[layer.step].flops for layer in self._layers)
        return self._linearization.tangent_flops(path) + own + self._curvature.flops + self._down_flops()

    def _down_flops(self) -> int:
        """Operations of J': F'c in place of the layers' own weights."""
        own = sum(layer.flops - self._linearization.rules[layer.step].flops for layer in self._layers)
        return self._linearization.tangent_flops(self._curvature.path) + own

    def product(self, vector: Tensor, out: Tensor) -> None:
        """Write (G_b + d I) v into out, both in coordinates."""
        parts = zip(self._layers, self._parts(vector), strict=True)
        responses = {layer.step: layer.response(part) for layer, part in parts}
        tangent = self._linearization.tangent(self._curvature.path, self._views(vector), responses=responses)
        self._down(self._curvature.apply(tangent), out)
        if self._problem.damping:
            out.add_(vector, alpha=self._problem.damping)

    def _down(self, cotangent: Tensor, out: Tensor) -> None:
        """Write J' times the end's cotangent: alpha = 0, and Y = F'c with c the cotangent of a layer's outputs."""
        collected: dict[int, Tensor] = {layer.step: cotangent for layer in self._layers}
        self._linearization.backward(self._curvature.path, cotangent, self._views(out), cotangents=collected)
        out[self._flat] = 0
        for layer, part in zip(self._layers, self._parts(out), strict=True):
            layer.transposed(collected[layer.step], part)

    def add(self, y: Tensor, x: Tensor) -> None:
        """Add the parameter vector of the coordinates y to x, flat in the block's parameters."""
        views = self._problem.block.views(x)
        scale = y[self._flat].item() * self._unit
        for name in self._sampled:
            views[name].add_(self._outside[name], alpha=scale)
        for layer, part in zip(self._layers, self._parts(y), strict=True):
            layer.add(part.double(), views)
        for name, view in self._views(y).items():
            views[name].add_(view)

    def finish(self) -> None:
        """Add the solution to the problem's x."""
        self.add(self.y, self._problem.x)

    def _parts(self, vector: Tensor) -> list[Tensor]:
        """Return Y of every layer, r x out, as views."""
        parts = torch.split_with_sizes(vector[self._flat + 1 :], [layer.size for layer in self._layers])
        return [part.view(layer.shape) for layer, part in zip(self._layers, parts, strict=True)]

    def _views(self, vector: Tensor) -> dict[str, Tensor]:
        """Return the parameters of the layers that are not in sample space, as views."""
        parts = torch.split_with_sizes(vector[: self._flat], [shape.numel() for shape in self._others.values()])
        return {name: part.view(shape) for (name, shape), part in zip(self._others.items(), parts, strict=True)}
