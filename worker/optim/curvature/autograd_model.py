"""Gradient and curvature of any torch module: a double-backward graph, stored once per curvature batch.

u -> J'u is linear, and its stored graph is differentiated by u: v -> (d(J'u)/du)' v = J v. Both graphs are reused by
all products. Source: Townsend (2017), "A new trick for calculating Jacobian vector products".
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel

from worker.optim.assumptions import check_independence, check_loss, check_outputs
from worker.optim.blocks import Block
from worker.optim.curvature.counting import Counter
from worker.optim.errors import ModelError
from worker.optim.inputs import Inputs, between, call, count, first, mapped, shapes, tensors
from worker.optim.losses import Loss


@dataclass
class AutogradModel:
    """Any module that maps N examples to one tensor of N outputs.

    Args:
        module: the module.
        loss: the loss.
        note: why no faster method applies.
        names: parameters that are optimized; None: all trainable ones.

    Attributes:
        flops: operations counted so far: (what, shapes of the inputs) -> floating-point operations.
        checked: whether outputs and loss have been checked.
    """

    module: nn.Module
    loss: Loss
    note: str
    names: Sequence[str] | None = None
    flops: dict[Any, int] = field(default_factory=dict)
    checked: bool = False
    _reached: set[str] = field(default_factory=set)

    @property
    def parameters(self) -> dict[str, nn.Parameter]:
        """The parameters by name."""
        found = {name: p for name, p in self.module.named_parameters() if p.requires_grad}
        return found if self.names is None else {name: found[name] for name in self.names}

    def linearize(self, inputs: Inputs, targets: Tensor) -> "AutogradBatch":
        """Run the forward pass over S_g, with its graph; the first time, check what the method assumes.

        Args:
            inputs: of S_g, N examples.
            targets: N targets.

        Raises:
            BatchError: the outputs are not one row per example.
            ModelError: an example's outputs depend on other examples or on random numbers, or the inputs are changed.
            LossError: the loss cannot be used.
        """
        if self.checked:
            return AutogradBatch(self, inputs, targets, self.outputs(inputs))
        inputs = mapped(inputs, lambda t: t.clone())
        outputs = self.outputs(inputs)
        if any(t._version for t in tensors(inputs)):
            raise ModelError("the forward pass changes its input in place: let it work on a copy")
        check_loss(self.loss, outputs, targets)
        few, again = (self.outputs(mapped(first(inputs, 2), lambda t: t.clone())).detach() for _ in range(2))
        check_independence(few, again, outputs.detach())
        self.checked = True
        return AutogradBatch(self, inputs, targets, outputs)

    def outputs(self, inputs: Inputs) -> Tensor:
        """Run the forward pass, with its graph.

        Args:
            inputs: N examples.

        Raises:
            BatchError: it does not give one output per example.
            ModelError: it draws random numbers.
        """
        twice = sdpa_kernel(SDPBackend.MATH)  # attention's fused kernels cannot be differentiated twice
        with self.counted("forward", inputs, refuse_random=True), torch.enable_grad(), twice, self._own_kernels():
            outputs = call(self.module, inputs)
        return check_outputs(outputs, count(inputs))

    def _own_kernels(self) -> AbstractContextManager[None]:
        """Switch cuDNN off for recurrent layers, whose cuDNN kernels cannot be differentiated twice."""
        if any(isinstance(m, nn.RNNBase) for m in self.module.modules()):
            return torch.backends.cudnn.flags(enabled=False)
        return nullcontext()

    def reached(self, names: Iterable[str]) -> None:
        """Note which parameters a gradient has reached.

        Args:
            names: those of the last gradient.

        Raises:
            ModelError: a parameter was not reached by the first gradient. Later one may be missing: a batch need not
                use every part of a network.
        """
        first_time = not self._reached
        self._reached.update(names)
        for name in self.parameters if first_time else ():
            if name not in self._reached:
                raise ModelError(f"parameter {name!r} is not reached by the loss: freeze it or use it")

    def counted(self, what: Any, inputs: Inputs, *, refuse_random: bool = False) -> "_Counted":
        """Return a context that counts the operations of the first run of something at inputs of these shapes."""
        return _Counted(self.flops, (what, shapes(inputs)), refuse_random)


class _Counted:
    def __init__(self, flops: dict[Any, int], key: Any, refuse_random: bool) -> None:
        self._flops, self._key = flops, key
        self._counter = None if key in flops else Counter(refuse_random=refuse_random)

    def __enter__(self) -> None:
        if self._counter is not None:
            self._counter.__enter__()  # type: ignore[no-untyped-call]  # torch's is not annotated

    def __exit__(self, *error: Any) -> None:
        if self._counter is not None:
            self._counter.__exit__(*error)  # type: ignore[no-untyped-call]  # torch's is not annotated
            if error[0] is None:
                self._flops[self._key] = self._counter.flops


@dataclass
class AutogradBatch:
    """The model at a batch of N examples, with its graph.

    Args:
        model: the model.
        inputs: N examples.
        targets: N targets.
        outputs: N x ..., with their graph.
        u: a variable in the outputs' shape, for products.
        transposed: J'u by parameter name, with its graph; without parameters that these examples do not reach.
    """

    model: AutogradModel
    inputs: Inputs
    targets: Tensor
    outputs: Tensor
    u: Tensor | None = None
    transposed: dict[str, Tensor] = field(default_factory=dict)

    @property
    def value(self) -> Tensor:
        """The mean loss."""
        return self.model.loss.value(self.outputs.detach(), self.targets)

    @property
    def gradient_flops(self) -> int:
        """Operations of forward and backward pass."""
        return self._flops("forward") + self._flops("backward")

    @property
    def setup_flops(self) -> int:
        """Operations of the forward pass and the stored graph."""
        return self._flops("forward") + self._flops("transposed")

    def gradient(self, out: Mapping[str, Tensor]) -> None:
        """Overwrite `out` with the mean gradient, by parameter name.

        Raises:
            ModelError: the first gradient does not reach a parameter.
        """
        named = self.model.parameters
        cotangent = self.model.loss.gradient(self.outputs.detach(), self.targets)
        with self.model.counted("backward", self.inputs):
            parts = self._gradients(self.outputs, list(named.values()), cotangent)
        self.model.reached(name for name, part in zip(named, parts, strict=True) if part is not None)
        for name, part in zip(named, parts, strict=True):
            _write(out[name], part)

    def _gradients(self, outputs: Tensor, wanted: Sequence[Tensor], cotangent: Tensor) -> tuple[Tensor | None, ...]:
        if not outputs.requires_grad:
            return (None,) * len(wanted)
        return torch.autograd.grad(outputs, wanted, cotangent, allow_unused=True)

    def squares(self, out: Mapping[str, Tensor]) -> None:
        """Overwrite `out` with the mean over the examples of the squared gradients of their own losses."""
        named = self.model.parameters
        for name in named:
            out[name].zero_()
        with self.model.counted("squares", self.inputs):
            for i in range(len(self.targets)):
                with torch.enable_grad():
                    outputs = call(self.model.module, between(self.inputs, i, i + 1))
                cotangent = self.model.loss.gradient(outputs.detach(), self.targets[i : i + 1])
                parts = self._gradients(outputs, list(named.values()), cotangent)
                for name, part in zip(named, parts, strict=True):
                    if part is not None:
                        out[name].addcmul_(part, part, value=1 / len(self.targets))

    @property
    def squares_flops(self) -> int:
        """Operations of `squares`, once it has been done."""
        return self._flops("squares")

    @property
    def forward_flops(self) -> int:
        """Operations of a forward pass."""
        return self._flops("forward")

    def narrow(self, count: int, blocks: Sequence[Block]) -> "AutogradBatch":  # noqa: ARG002 - one graph for all
        """Build the graphs at the first examples, for all blocks.

        Args:
            count: number of the examples.
            blocks: not used.

        Raises:
            ModelError: an operation of the forward pass cannot be differentiated twice.
        """
        inputs = first(self.inputs, count)
        outputs = self.model.outputs(inputs)
        named = self.model.parameters
        u = torch.zeros_like(outputs, requires_grad=True)
        parts: Sequence[Tensor | None] = [None] * len(named)
        if outputs.requires_grad:
            with torch.enable_grad(), self.model.counted("transposed", inputs), _twice_differentiable():
                parts = torch.autograd.grad(outputs, list(named.values()), u, create_graph=True, allow_unused=True)
        transposed = {name: p for name, p in zip(named, parts, strict=True) if p is not None and p.requires_grad}
        return AutogradBatch(self.model, inputs, self.targets[:count], outputs, u, transposed)

    def product(self, block: Block, vector: Tensor, out: Tensor) -> None:
        """Overwrite out with G_b v: v -> J_b v -> H_l J_b v -> J_b' H_l J_b v by the stored graphs.

        Args:
            block: b, with P parameters.
            vector: v, P numbers.
            out: P numbers. They are zero for parameters that the examples do not reach.

        Raises:
            ModelError: an operation of the forward pass cannot be differentiated twice.
        """
        assert self.u is not None
        reached = [name for name in block.names if name in self.transposed]
        if not reached:
            out.zero_()
            return
        views = block.views(vector)
        with self.model.counted(block.names, self.inputs), _twice_differentiable():
            columns = [self.transposed[name] for name in reached]
            (jv,) = torch.autograd.grad(columns, self.u, [views[name] for name in reached], retain_graph=True)
            hjv = self.model.loss.hessian_product(self.outputs.detach(), self.targets, jv)
            parts = torch.autograd.grad(self.outputs, block.parameters, hjv, retain_graph=True, allow_unused=True)
        for view, part in zip(block.views(out).values(), parts, strict=True):
            _write(view, part)

    def product_flops(self, block: Block) -> int:
        """Operations of one product, once it has been done."""
        return self._flops(block.names)

    def _flops(self, what: Any) -> int:
        return self.model.flops.get((what, shapes(self.inputs)), 0)


def _write(out: Tensor, part: Tensor | None) -> None:
    """Overwrite out with a gradient; None is zero."""
    if part is None:
        out.zero_()
    else:
        out.copy_(part)


@contextmanager
def _twice_differentiable() -> Iterator[None]:
    """Raise ModelError where torch has no second derivative of an operation."""
    try:
        yield
    except RuntimeError as error:
        text = str(error).strip().partition("\n")[0]
        if "not implemented" not in text and "once_differentiable" not in text:
            raise
        raise ModelError(
            f"an operation of the forward pass cannot be differentiated twice ({text}): replace it, for example "
            "nn.EmbeddingBag by nn.Embedding and a mean, torch.cdist by one in another compute_mode"
        ) from error
