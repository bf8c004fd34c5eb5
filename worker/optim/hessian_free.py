"""Hessian-free and block-diagonal Hessian-free optimization: one method, two partitions."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from worker.optim import cg
from worker.optim.blocks import Block, check_modes, layer_names, make_blocks
from worker.optim.curvature.generic import GenericBatch, GenericModel
from worker.optim.curvature.rules import NotCovered
from worker.optim.curvature.written import WrittenBatch, WrittenModel
from worker.optim.errors import BatchError, ModelError
from worker.optim.losses import Loss
from worker.optim.results import BlockResult, StepResult, StopRule


class BlockHessianFree(Optimizer):
    """Block-diagonal Hessian-free (Zhang, Xiong, Bradbury, Socher 2017, Algorithm 1).

    Each block b solves (G_b + damping I) x_b = -g_b by at most `max_cg_iters` iterations of conjugate gradient, all
    from the same weights; then w <- w + lr x. g: mean gradient over S_g, the batch given to `step`. G_b: the block's
    diagonal block of the generalized Gauss-Newton matrix, mean of J' H_l J over S_c, the first `curvature_batch`
    examples of S_g (a strict subset in the paper; shuffle S_g). Conjugate gradient starts at `momentum` times the
    block's last solution, at zero in the first update.

    model: any module that maps a tensor of N examples to N outputs, in float32 or float64, parameters on one device.
    loss: convex in the outputs, see `worker.optim.losses`. blocks: lists of layer names that hold every trainable
    parameter once. lr, damping, max_cg_iters, momentum, stop, tolerance are read from `param_groups`, one per block,
    at each step. Raises PartitionError, ModelError, BatchError (all ValueError).
    """

    def __init__(
        self,
        model: nn.Module,
        loss: Loss,
        blocks: Sequence[Sequence[str]],
        *,
        curvature_batch: int,
        lr: float = 0.1,
        damping: float = 0.0,
        max_cg_iters: int = 30,
        momentum: float = 0.95,
        stop: StopRule | None = None,
    ) -> None:
        _check_numbers(curvature_batch, lr, damping, max_cg_iters, momentum)
        stop = stop or StopRule()
        self.curvature_batch = curvature_batch
        self._model, self._loss = model, loss
        check_modes(model)
        self._solvers = [_BlockSolver(block) for block in make_blocks(model, blocks)]
        groups = [
            {"params": list(zip(s.block.names, s.block.parameters, strict=True)), "layers": list(s.block.layers)}
            for s in self._solvers
        ]
        super().__init__(
            groups,
            {
                "lr": lr, "damping": damping, "max_cg_iters": max_cg_iters, "momentum": momentum,
                "stop": stop.kind, "tolerance": stop.tolerance,
            },
        )  # fmt: skip
        self._modes: tuple[bool, ...] = ()
        self._source: WrittenModel | GenericModel | None = None

    @property
    def blocks(self) -> list[Block]:
        """The blocks, in the order of `param_groups`."""
        return [solver.block for solver in self._solvers]

    @torch.no_grad()
    def step(self, inputs: Tensor, targets: Tensor) -> StepResult:  # type: ignore[override]  # a step needs the batch
        """Do one update from the batch S_g: inputs N x ..., targets as the loss takes them."""
        self._check_batch(inputs, targets)
        batch = self._linearize(inputs, targets)
        value = batch.value
        batch.gradient({k: v for s in self._solvers for k, v in s.block.views(s.gradient).items()})
        curvature = batch.narrow(self.curvature_batch, self.blocks)
        unit = batch.gradient_flops
        results, squares, steps = [], [], []
        for solver, group in zip(self._solvers, self.param_groups, strict=True):
            results.append(self._solve(solver, group, curvature, unit))
            squares.append(solver.inner(solver.gradient, solver.gradient))
            steps.append(group["lr"] ** 2 * solver.inner(solver.x, solver.x))
        for solver, group in zip(self._solvers, self.param_groups, strict=True):
            for p, x in zip(solver.block.parameters, solver.block.views(solver.x).values(), strict=True):
                p.add_(x, alpha=group["lr"])
        return StepResult(
            loss=value.item(),
            gradient_norm=torch.stack(squares).sum().sqrt().item(),
            step_norm=torch.stack(steps).sum().sqrt().item(),
            cost=1 + curvature.setup_flops / max(unit, 1) + sum(r.cost for r in results),
            blocks=tuple(results),
        )

    def _solve(
        self, solver: "_BlockSolver", group: dict[str, Any], curvature: WrittenBatch | GenericBatch, unit: int
    ) -> BlockResult:
        warm = solver.load(self.state, group["momentum"])
        found = solver.solve(curvature, group, warm=warm)
        solver.store(self.state)
        written = isinstance(curvature, WrittenBatch)
        return BlockResult(
            iterations=found.iterations,
            reason=found.reason,
            residual=found.residual,
            decrease=-found.model,
            cost=found.products * curvature.product_flops(solver.block) / max(unit, 1),
            way="products" if written else "generic",
            note="" if isinstance(curvature, WrittenBatch) else curvature.source.note,
            steps=found.steps,
            ratios=found.ratios,
        )

    def _check_batch(self, inputs: Tensor, targets: Tensor) -> None:
        if len(inputs) != len(targets):
            raise BatchError(f"there are {len(inputs)} inputs and {len(targets)} targets: must be as many")
        if self.curvature_batch > len(inputs):
            raise BatchError(
                f"curvature_batch is {self.curvature_batch}: must not be larger than the batch, which has {len(inputs)}"
            )

    def _linearize(self, inputs: Tensor, targets: Tensor) -> WrittenBatch | GenericBatch:
        modes = tuple(m.training for m in self._model.modules())
        if self._source is None or modes != self._modes:
            check_modes(self._model)
            self._source, self._modes = self._choose(inputs), modes
        try:
            return self._source.at(inputs, targets)
        except NotCovered as reason:
            self._source = GenericModel(self._model, self._loss, str(reason))
            return self._source.at(inputs, targets)

    def _choose(self, inputs: Tensor) -> WrittenModel | GenericModel:
        try:
            source = WrittenModel(self._model, self._loss)
            source.check(inputs)
        except NotCovered as reason:
            return GenericModel(self._model, self._loss, str(reason))
        for name in (n for s in self._solvers for n in source.unreached(s.block)):
            raise ModelError(f"parameter {name!r} is not reached by the loss: freeze it or use it")
        return source


class HessianFree(BlockHessianFree):
    """Hessian-free (Martens 2010, with the fixed settings of Zhang et al. 2017): one block holds every parameter."""

    def __init__(self, model: nn.Module, loss: Loss, **knobs: Any) -> None:
        super().__init__(model, loss, [layer_names(model)], **knobs)


class _BlockSolver(cg.FlatInner):
    """A block with the vectors that its solves reuse."""

    def __init__(self, block: Block) -> None:
        self.block = block
        self.gradient, self.x = block.vector(), block.vector()
        self._b = block.vector()
        self._work = (block.vector(), block.vector(), block.vector())

    def load(self, state: Any, momentum: float) -> bool:
        """Set x to momentum times the stored solution; return whether there is one."""
        if momentum == 0 or any("solution" not in state[p] for p in self.block.parameters):
            return False
        for p, x in zip(self.block.parameters, self.block.views(self.x).values(), strict=True):
            torch.mul(state[p]["solution"], momentum, out=x)
        return True

    def store(self, state: Any) -> None:
        """Keep x as the solution, parameter by parameter."""
        for p, x in zip(self.block.parameters, self.block.views(self.x).values(), strict=True):
            kept = state[p].setdefault("solution", torch.empty_like(p, memory_format=torch.contiguous_format))
            kept.copy_(x)

    def solve(self, curvature: WrittenBatch | GenericBatch, group: dict[str, Any], *, warm: bool) -> cg.Solution:
        """Run conjugate gradient on (G_b + d I) x = -g from x."""
        torch.neg(self.gradient, out=self._b)
        return cg.solve(
            Damped(curvature, self.block, group["damping"]),
            self._b,
            self.x,
            warm=warm,
            max_iterations=group["max_cg_iters"],
            stop=StopRule(group["stop"], group["tolerance"]),
            workspace=self._work,
        )


@dataclass(frozen=True)
class Damped(cg.FlatInner):
    """The block's matrix G_b + d I."""

    curvature: WrittenBatch | GenericBatch
    block: Block
    damping: float

    def product(self, vector: Tensor, out: Tensor) -> None:
        """Write (G_b + d I) v into out."""
        self.curvature.product(self.block, vector, out)
        if self.damping:
            out.add_(vector, alpha=self.damping)


def _check_numbers(curvature_batch: int, lr: float, damping: float, max_cg_iters: int, momentum: float) -> None:
    limits = [
        ("curvature_batch", curvature_batch, curvature_batch >= 1, "at least 1"),
        ("lr", lr, 0 < lr < float("inf"), "positive and finite"),
        ("damping", damping, 0 <= damping < float("inf"), "at least 0 and finite"),
        ("max_cg_iters", max_cg_iters, max_cg_iters >= 1, "at least 1"),
        ("momentum", momentum, 0 <= momentum <= 1, "from 0 to 1"),
    ]
    for name, value, fits, limit in limits:
        if not fits:
            raise ValueError(f"{name} is {value!r}: must be {limit}")
