"""Gradient and curvature of any torch module: a double-backward graph, stored once per curvature batch.

u -> J'u is linear, and its stored graph is differentiated by u: v -> (d(J'u)/du)' v = J v. Both graphs are reused by
all products. Source: Townsend (2017), "A new trick for calculating Jacobian vector products".
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel

from worker.optim.assumptions import check_independence, check_loss, check_outputs
from worker.optim.blocks import Block
from worker.optim.curvature.counting import Counter
from worker.optim.errors import ModelError
from worker.optim.losses import Loss


@dataclass
class AutogradModel:
    """Any module that maps one tensor of N examples to one of N outputs. `note`: why no faster method applies."""

    module: nn.Module
    loss: Loss
    note: str
    flops: dict[Any, int] = field(default_factory=dict)
    """operations counted so far: what, shape -> floating-point operations"""
    checked: bool = False

    @property
    def parameters(self) -> dict[str, nn.Parameter]:
        """Trainable parameters by name."""
        return {name: p for name, p in self.module.named_parameters() if p.requires_grad}

    def unreached(self, block: Block) -> list[str]:  # noqa: ARG002 - known only when a gradient is taken
        """Return nothing: a parameter that the outputs do not depend on shows at the first gradient."""
        return []

    def linearize(self, inputs: Tensor, targets: Tensor) -> "AutogradBatch":
        """Run the forward pass over S_g, under automatic differentiation; the first time, check what is assumed."""
        outputs = self.outputs(inputs)
        if not self.checked:
            check_loss(self.loss, outputs, targets)
            check_independence(self.outputs(inputs[:2]).detach(), outputs.detach())
            self.checked = True
        return AutogradBatch(self, inputs, targets, outputs)

    def outputs(self, inputs: Tensor) -> Tensor:
        """Run the forward pass; raises BatchError unless it gives one output per example."""
        twice = sdpa_kernel(SDPBackend.MATH)  # attention's fused kernels cannot be differentiated twice
        with self.counted("forward", inputs.shape, refuse_random=True), torch.enable_grad(), twice:
            outputs = self.module(inputs)
        return check_outputs(outputs, inputs)

    def counted(self, what: Any, shape: torch.Size, *, refuse_random: bool = False) -> "_Counted":
        """Count the operations of the first run of something at a shape."""
        return _Counted(self.flops, (what, tuple(shape)), refuse_random)


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
    """The model at a batch, with its graph."""

    model: AutogradModel
    inputs: Tensor
    targets: Tensor
    outputs: Tensor
    u: Tensor | None = None
    transposed: dict[str, Tensor] = field(default_factory=dict)
    """J'u by parameter name, with its graph"""

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
        """Write the mean gradient into `out`, by parameter name; raises ModelError for one that is not reached."""
        named = self.model.parameters
        cotangent = self.model.loss.gradient(self.outputs.detach(), self.targets)
        with self.model.counted("backward", self.inputs.shape):
            parts = torch.autograd.grad(self.outputs, list(named.values()), cotangent, allow_unused=True)
        for name, part in zip(named, parts, strict=True):
            if part is None:
                raise ModelError(f"parameter {name!r} is not reached by the loss: freeze it or use it")
            out[name].copy_(part)

    def squares(self, out: Mapping[str, Tensor]) -> None:
        """Write the mean of the squared gradients of the single examples' losses into `out`, one after the other."""
        named = self.model.parameters
        for name in named:
            out[name].zero_()
        with self.model.counted("squares", self.inputs.shape):
            for x, target in zip(torch.split(self.inputs, 1), torch.split(self.targets, 1), strict=True):
                with torch.enable_grad():
                    outputs = self.model.module(x)
                cotangent = self.model.loss.gradient(outputs.detach(), target)
                parts = torch.autograd.grad(outputs, list(named.values()), cotangent, allow_unused=True)
                for name, part in zip(named, parts, strict=True):
                    if part is not None:
                        out[name].addcmul_(part, part, value=1 / len(self.inputs))

    @property
    def squares_flops(self) -> int:
        """Operations of `squares`, once it has been done."""
        return self._flops("squares")

    @property
    def forward_flops(self) -> int:
        """Operations of a forward pass."""
        return self._flops("forward")

    def narrow(self, count: int, blocks: Sequence[Block]) -> "AutogradBatch":  # noqa: ARG002 - one graph for all
        """Build the graphs at the first `count` examples, for all blocks."""
        inputs = self.inputs[:count]
        outputs = self.model.outputs(inputs)
        named = self.model.parameters
        with torch.enable_grad(), self.model.counted("transposed", inputs.shape):
            u = torch.zeros_like(outputs, requires_grad=True)
            parts = torch.autograd.grad(outputs, list(named.values()), u, create_graph=True)
        transposed = dict(zip(named, parts, strict=True))
        return AutogradBatch(self.model, inputs, self.targets[:count], outputs, u, transposed)

    def product(self, block: Block, vector: Tensor, out: Tensor) -> None:
        """Write G_b v into out: v -> J_b v -> H_l J_b v -> J_b' H_l J_b v by the stored graphs."""
        assert self.u is not None
        with self.model.counted(block.names, self.inputs.shape):
            columns = [self.transposed[name] for name in block.names]
            (jv,) = torch.autograd.grad(columns, self.u, list(block.views(vector).values()), retain_graph=True)
            hjv = self.model.loss.hessian_product(self.outputs.detach(), self.targets, jv)
            parts = torch.autograd.grad(self.outputs, block.parameters, hjv, retain_graph=True)
        for view, part in zip(block.views(out).values(), parts, strict=True):
            view.copy_(part)

    def product_flops(self, block: Block) -> int:
        """Operations of one product, once it has been done."""
        return self._flops(block.names)

    def _flops(self, what: Any) -> int:
        return self.model.flops.get((what, tuple(self.inputs.shape)), 0)
