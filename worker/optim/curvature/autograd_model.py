"""Gradient and curvature of any torch module, by a double-backward graph."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from worker.optim.assumptions import check_independence, check_loss, check_outputs
from worker.optim.blocks import Block
from worker.optim.curvature.counting import CountOnce
from worker.optim.curvature.stored_graph import StoredGraph, differentiable_kernels, write
from worker.optim.errors import ModelError
from worker.optim.inputs import Inputs, between, call, count, first, mapped, shapes, tensors
from worker.optim.losses import Loss
from worker.optim.modes import coupled_layer
from worker.optim.outputs import Selector, select


@dataclass
class AutogradModel:
    """Any module that maps N examples to one tensor of N outputs.

    Args:
        module: the module.
        loss: the loss.
        note: why no faster method applies.
        names: parameters that are optimized; None: all trainable ones.
        selector: which of the module's outputs the loss gets.

    Attributes:
        flops: operations counted so far: (what, shapes of the inputs) -> floating-point operations.
        checked: whether outputs and loss have been checked.
    """

    module: nn.Module
    loss: Loss
    note: str
    names: Sequence[str] | None = None
    selector: Selector = None
    flops: dict[Any, int] = field(default_factory=dict)
    checked: bool = False
    _reached: set[str] = field(default_factory=set)
    _complete: bool = False

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
        number = count(inputs)
        head = first(inputs, 2 if number > 2 else 1)
        few, again = (self.outputs(mapped(head, lambda t: t.clone())).detach() for _ in range(2))
        try:
            check_independence(few, again, outputs.detach())
        except ModelError as error:
            layer = coupled_layer(
                self.module, lambda x: call(self.module, mapped(x, lambda t: t.clone())), head, inputs
            )
            raise ModelError(f"{layer}{error}") from error
        self.checked = number > 1  # one example shows no coupling
        return AutogradBatch(self, inputs, targets, outputs)

    def outputs(self, inputs: Inputs) -> Tensor:
        """Run the forward pass, with its graph.

        Args:
            inputs: N examples.

        Raises:
            BatchError: it does not give one output per example.
            ModelError: it draws random numbers.
        """
        with self.counted("forward", inputs, refuse_random=True), differentiable_kernels(self.module):
            outputs = select(call(self.module, inputs), self.selector)
        return check_outputs(outputs, count(inputs))

    def reached(self, names: Iterable[str]) -> None:
        """Note which parameters a backward pass has reached.

        Args:
            names: those of the backward pass.
        """
        if not self._complete:
            self._reached.update(names)

    def check_reached(self) -> None:
        """Check that the first gradient has reached every parameter; later a batch need not use every part.

        Raises:
            ModelError: it has not.
        """
        for name in () if self._complete else self.parameters:
            if name not in self._reached:
                raise ModelError(f"parameter {name!r} is not reached by the loss: freeze it or use it")
        self._complete = True

    def counted(self, what: Any, inputs: Inputs, *, refuse_random: bool = False) -> CountOnce:
        """Return a context that counts the operations of the first run of something at inputs of these shapes."""
        return CountOnce(self.flops, (what, shapes(inputs)), refuse_random=refuse_random)


@dataclass
class AutogradBatch:
    """The model at a batch of N examples, with its graph.

    Args:
        model: the model.
        inputs: N examples.
        targets: N targets.
        outputs: N x ..., with their graph.
        graph: products with J; None before `narrow`.
    """

    model: AutogradModel
    inputs: Inputs
    targets: Tensor
    outputs: Tensor
    graph: StoredGraph | None = None

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
        """Overwrite `out` with the mean gradient, by parameter name."""
        self.backward(self.model.loss.gradient(self.outputs.detach(), self.targets), out)

    def backward(self, cotangent: Tensor, out: Mapping[str, Tensor]) -> None:
        """Overwrite `out` with J' times a cotangent of the outputs (N x ...), by parameter name."""
        named = self.model.parameters
        with self.model.counted("backward", self.inputs):
            parts = self._gradients(self.outputs, list(named.values()), cotangent)
        self.model.reached(name for name, part in zip(named, parts, strict=True) if part is not None)
        for name, part in zip(named, parts, strict=True):
            write(out[name], part)

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
                    outputs = select(call(self.model.module, between(self.inputs, i, i + 1)), self.model.selector)
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
        with self.model.counted("transposed", inputs):
            graph = StoredGraph([outputs], self.model.parameters)
        return AutogradBatch(self.model, inputs, self.targets[:count], outputs, graph)

    def product(self, block: Block, vector: Tensor, out: Tensor) -> None:
        """Overwrite out with G_b v, see `StoredGraph.product`.

        Args:
            block: b, with P parameters.
            vector: v, P numbers.
            out: P numbers.
        """
        assert self.graph is not None
        with self.model.counted(block.names, self.inputs):
            self.graph.product(block, vector, out, self._hessian_product)

    def _hessian_product(self, vectors: list[Tensor]) -> list[Tensor]:
        return [self.model.loss.hessian_product(self.outputs.detach(), self.targets, vectors[0])]

    def product_flops(self, block: Block) -> int:
        """Operations of one product, once it has been done."""
        return self._flops(block.names)

    def _flops(self, what: Any) -> int:
        return self.model.flops.get((what, shapes(self.inputs)), 0)
