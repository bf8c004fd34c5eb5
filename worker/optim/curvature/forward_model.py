"""Gradient and curvature of a loss that is given as a function: any computation with the optimizer's parameters."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from worker.optim.assumptions import PROBES
from worker.optim.blocks import Block
from worker.optim.curvature.counting import CountOnce
from worker.optim.curvature.stored_graph import StoredGraph, differentiable_kernels, write
from worker.optim.errors import BatchError, LossError, ModelError

Forward = Callable[[], tuple[Tensor, Any]]
"""() -> (loss, outputs): the mean loss with its graph, and the tensor, or the tuple, list or dictionary of tensors,
from which it was computed. It neither calls backward() nor draws random numbers."""
_UNCOUNTED = "uncounted"
_BYPASS = "terms of the loss that bypass the outputs are in the gradient, not in the curvature"


@dataclass
class ForwardModel:
    """Losses given as functions, by double backward: G_b = J' H_l J, J the Jacobian of all outputs together.

    Args:
        module: holds the parameters.
        names: parameters that are optimized.

    Attributes:
        note: why no faster method applies, and what the curvature leaves out.
        flops: operations counted so far, by what and shapes.
    """

    module: nn.Module
    names: Sequence[str]
    note: str = "the loss was given as a function"
    flops: dict[Any, int] = field(default_factory=lambda: {_UNCOUNTED: 0})
    _checked: bool = False

    @property
    def parameters(self) -> dict[str, nn.Parameter]:
        """The parameters by name."""
        found = dict(self.module.named_parameters())
        return {name: found[name] for name in self.names}

    def evaluate(self, forward: Forward) -> Tensor:
        """Return the loss at the present weights."""
        return self._run(forward)[0].detach()

    def linearize(self, forward: Forward, curvature: Forward | None) -> "ForwardBatch":
        """Run the function, with its graph. At new shapes run it twice, to count and to check it.

        Args:
            forward: over S_g.
            curvature: over S_c; None: S_c is S_g.

        Raises:
            BatchError: it does not return a loss and outputs.
            LossError: the loss does not depend on the outputs, or is not convex in them.
            ModelError: it draws random numbers, or the loss does not depend on a parameter.
        """
        loss, outputs = self._run(forward)
        batch = ForwardBatch(self, loss, outputs, curvature)
        if batch.key("forward") not in self.flops:
            again, _ = self._run(forward, batch.key("forward"))
            difference = float((again.detach() - loss.detach()).abs())
            if difference > torch.finfo(loss.dtype).eps ** 0.5 * float(loss.detach().abs()):
                raise ModelError("two calls of forward() give different losses: draw random numbers before the step")
        if not self._checked:
            self._check(batch)
            self._checked = True
        return batch

    def _run(self, forward: Forward, key: Any = _UNCOUNTED) -> tuple[Tensor, list[Tensor]]:
        with differentiable_kernels(self.module), CountOnce(self.flops, key, refuse_random=True):
            found: Any = forward()
        if not isinstance(found, tuple | list) or len(found) != 2:
            raise BatchError(
                f"forward() returned {type(found).__name__}: must return (loss, outputs), without calling backward()"
            )
        loss, outputs = found
        tensors = list(outputs.values()) if isinstance(outputs, Mapping) else outputs
        tensors = [tensors] if isinstance(tensors, Tensor) else tensors
        if not isinstance(loss, Tensor) or loss.dim() or not loss.requires_grad:
            raise LossError("the loss that forward() returned must be a scalar tensor with its graph")
        tensors = [f for f in tensors or () if isinstance(f, Tensor) and f.is_floating_point()]
        tensors = list({id(f): f for f in tensors}.values())
        if not tensors:
            raise BatchError("forward() returned no output: return the tensors from which the loss was computed")
        return loss, tensors

    def _check(self, batch: "ForwardBatch") -> None:
        """Check that the loss is a convex function of the outputs, and that it depends on every parameter."""
        first = batch.loss_gradient()
        if not any(d.requires_grad or bool(d.any()) for d in first):
            raise LossError(
                "the loss does not depend on the outputs that forward() returned: return the tensors from which it "
                "was computed, neither copies nor detached"
            )
        for f in batch.outputs:
            others = [g for g in batch.outputs if g is not f and g.requires_grad and f.requires_grad]
            if others:
                found = torch.autograd.grad(f, others, torch.ones_like(f), retain_graph=True, allow_unused=True)
                if any(d is not None for d in found):
                    raise LossError("an output depends on another output: return only those that the loss is made of")
        _check_convex(batch, first)
        self._check_parameters(batch, first)

    def _check_parameters(self, batch: "ForwardBatch", first: Sequence[Tensor]) -> None:
        """Check that the gradient reaches every parameter; note where it is not J' times the derivative `first`."""
        named = self.parameters
        whole = _gradients([batch.loss], named, [None])
        for name, part in zip(named, whole, strict=True):
            if part is None:
                raise ModelError(f"parameter {name!r} is not reached by the loss: freeze it or use it")
        active = [(f, d.detach()) for f, d in zip(batch.outputs, first, strict=True) if f.requires_grad]
        parts = _gradients([f for f, _ in active], named, [d for _, d in active])
        rest = [w if p is None else w - p for w, p in zip(whole, parts, strict=True) if w is not None]
        if _norm(rest) > torch.finfo(batch.loss.dtype).eps ** 0.5 * _norm([w for w in whole if w is not None]):
            self.note = f"{self.note}; {_BYPASS}"


@dataclass
class ForwardBatch:
    """A function's loss and outputs, with their graph.

    Args:
        model: the model.
        loss: the mean loss.
        outputs: tensors of any shapes.
        curvature: the function over S_c; None: S_c is S_g.
    """

    model: ForwardModel
    loss: Tensor
    outputs: list[Tensor]
    curvature: Forward | None = None
    _graph: StoredGraph | None = None
    _first: list[Tensor] = field(default_factory=list)
    _own_forward: bool = False

    def key(self, what: Any) -> Any:
        """Return the name under which operations at outputs of these shapes are counted."""
        return (what, *(tuple(f.shape) for f in self.outputs))

    @property
    def value(self) -> Tensor:
        """The mean loss."""
        return self.loss.detach()

    @property
    def forward_flops(self) -> int:
        """Operations of a forward pass."""
        return self.model.flops.get(self.key("forward"), 0)

    @property
    def gradient_flops(self) -> int:
        """Operations of forward and backward pass."""
        return self.forward_flops + self.model.flops.get(self.key("backward"), 0)

    @property
    def setup_flops(self) -> int:
        """Operations of the stored graph, and of the forward pass over S_c where that is not S_g."""
        return self._own_forward * self.forward_flops + self.model.flops.get(self.key("transposed"), 0)

    @property
    def squares_flops(self) -> int:
        """Operations of `squares`: none."""
        return 0

    def gradient(self, out: Mapping[str, Tensor]) -> None:
        """Overwrite `out` with the gradient of the loss, by parameter name."""
        named, key = self.model.parameters, self.key("backward")
        with CountOnce(self.model.flops, key):
            parts = _gradients([self.loss], named, [None])
        for name, part in zip(named, parts, strict=True):
            write(out[name], part)

    def squares(self, out: Mapping[str, Tensor]) -> None:  # noqa: ARG002 - one interface
        """Not available: the examples of the loss are not known.

        Raises:
            BatchError: always.
        """
        raise BatchError("preconditioner needs single examples: call step(inputs, targets), or switch it off")

    def narrow(self, count: int, blocks: Sequence[Block]) -> "ForwardBatch":  # noqa: ARG002 - one graph for all
        """Store the graph of J'u at S_c.

        Args:
            count: not used.
            blocks: not used.
        """
        batch = self
        if self.curvature is not None:
            batch = self.model.linearize(self.curvature, None)
            batch._own_forward = True
        with CountOnce(self.model.flops, batch.key("transposed")):
            batch._graph = StoredGraph(batch.outputs, self.model.parameters)
        batch._first = batch.loss_gradient()
        return batch

    def product(self, block: Block, vector: Tensor, out: Tensor) -> None:
        """Overwrite out with G_b v, see `StoredGraph.product`.

        Args:
            block: b, with P parameters.
            vector: v, P numbers.
            out: P numbers.
        """
        assert self._graph is not None
        with CountOnce(self.model.flops, self.key(block.names)):
            self._graph.product(block, vector, out, lambda v: self.hessian_product(self._first, v))

    def product_flops(self, block: Block) -> int:
        """Operations of one product, once it has been done."""
        return self.model.flops.get(self.key(block.names), 0)

    def loss_gradient(self) -> list[Tensor]:
        """Return the derivative of the loss by each output, with its graph."""
        leaves = [f for f in self.outputs if f.requires_grad]
        if not leaves:
            return [torch.zeros_like(f) for f in self.outputs]
        with torch.enable_grad(), _unused_graph():
            found = torch.autograd.grad(self.loss, leaves, create_graph=True, allow_unused=True)
        parts = iter(found)
        rows = [next(parts) if f.requires_grad else None for f in self.outputs]
        return [torch.zeros_like(f) if d is None else d for f, d in zip(self.outputs, rows, strict=True)]

    def hessian_product(self, first: Sequence[Tensor], vectors: Sequence[Tensor]) -> list[Tensor]:
        """Return H_l times a vector for each output.

        Args:
            first: the derivative by each output, with its graph.
            vectors: one for each output.
        """
        active = [(d, v) for d, v in zip(first, vectors, strict=True) if d.requires_grad]
        leaves = [f for f in self.outputs if f.requires_grad]
        if not active:
            return [torch.zeros_like(f) for f in self.outputs]
        curved, given = zip(*active, strict=True)
        parts = iter(torch.autograd.grad(curved, leaves, given, retain_graph=True, allow_unused=True))
        rows = [next(parts) if f.requires_grad else None for f in self.outputs]
        return [torch.zeros_like(f) if h is None else h for f, h in zip(self.outputs, rows, strict=True)]


def _check_convex(batch: ForwardBatch, first: Sequence[Tensor]) -> None:
    """Check v'H_l v for random v; first: the derivative of the loss by each output, with its graph."""
    generator = torch.Generator("cpu").manual_seed(0)
    for _ in range(PROBES):
        v = [torch.randn(f.shape, dtype=f.dtype, generator=generator, device="cpu").to(f.device) for f in batch.outputs]
        hv = batch.hessian_product(first, v)
        curvature, size = sum(float((a * b).sum()) for a, b in zip(v, hv, strict=True)), _norm(v) * _norm(hv)
        if curvature < -(torch.finfo(v[0].dtype).eps ** 0.5) * size:
            raise LossError(
                f"the loss is not convex in the outputs: its second derivative along some direction is "
                f"{curvature:.3g}, below 0; the Gauss-Newton matrix needs a convex loss"
            )


def _gradients(
    values: Sequence[Tensor], named: Mapping[str, Tensor], cotangents: Sequence[Tensor | None]
) -> Sequence[Tensor | None]:
    """Return the gradient by every parameter; None where a value does not depend on it."""
    if not values:
        return [None] * len(named)
    with _unused_graph():
        return torch.autograd.grad(values, list(named.values()), cotangents, retain_graph=True, allow_unused=True)


@contextmanager
def _unused_graph() -> Iterator[None]:
    """Raise ModelError where the graph has been used by a backward pass of the function's own."""
    try:
        yield
    except RuntimeError as error:
        if "second time" in str(error):
            raise ModelError("forward() has called backward(): return the loss with its graph") from error
        raise


def _norm(tensors: Sequence[Tensor]) -> float:
    return float(torch.stack([t.detach().norm() for t in tensors]).norm()) if tensors else 0.0
