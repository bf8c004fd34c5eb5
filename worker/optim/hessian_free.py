"""Hessian-free and block-diagonal Hessian-free optimization: one method, two partitions."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from worker.optim import cg
from worker.optim.blocks import Block, check_modes, layer_names, make_blocks
from worker.optim.curvature import planner
from worker.optim.curvature.generic import GenericBatch, GenericModel
from worker.optim.curvature.rules import NotCovered
from worker.optim.curvature.systems import FlatSystem, System, Task, Vectors
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

    way: how G_b is multiplied; all ways give the same iterates but for rounding. "auto" lets a planner choose per block
    by operations: "products" through the whole network, "interface" (the layers above a block passed once per update),
    "samples" (dense layers in the space of the examples), "explicit" (the matrix itself, for small blocks), "generic"
    (double backward; taken by itself where a module has no written rules). memory [bytes]: what a way may take beside
    activations and vectors.

    model: any module that maps a tensor of N examples to N outputs, in float32 or float64, parameters on one device.
    loss: convex in the outputs, see `worker.optim.losses`. blocks: lists of layer names that hold every trainable
    parameter once. lr, damping, max_cg_iters, momentum, stop, tolerance are read from `param_groups`, one per block,
    at each step; planned_iterations there is the block's last count, which the
    planner expects again. Raises PartitionError, ModelError, BatchError (all ValueError).
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
        way: str = "auto",
        memory: int = planner.MEMORY,
    ) -> None:
        _check_numbers(curvature_batch, lr, damping, max_cg_iters, momentum)
        if way not in planner.WAYS:
            raise ValueError(f"way is {way!r}: must be one of {', '.join(planner.WAYS)}")
        stop = stop or StopRule()
        self.way, self.memory = way, memory
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
                "stop": stop.kind, "tolerance": stop.tolerance, "planned_iterations": None,
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
        results = [
            self._solve(solver, group, curvature, unit)
            for solver, group in zip(self._solvers, self.param_groups, strict=True)
        ]
        squares = [s.inner(s.gradient, s.gradient) for s in self._solvers]
        steps = [
            group["lr"] ** 2 * s.inner(s.x, s.x) for s, group in zip(self._solvers, self.param_groups, strict=True)
        ]
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
        expected = group["planned_iterations"] or group["max_cg_iters"]
        system, plan, note = self._system(solver.task(group["damping"], warm=warm), curvature, expected)
        found = cg.solve(
            system,
            system.b,
            system.y,
            max_iterations=group["max_cg_iters"],
            stop=StopRule(group["stop"], group["tolerance"]),
            scale=system.scale,
            model=system.model,
            eps=system.eps,
            workspace=system.work,
        )
        system.finish()
        solver.store(self.state)
        group["planned_iterations"] = max(1, found.iterations)
        flops = system.setup_flops + found.products * system.product_flops + system.finish_flops
        return BlockResult(
            iterations=found.iterations,
            reason=found.reason,
            residual=found.residual,
            decrease=-found.model,
            cost=flops / max(unit, 1),
            predicted=plan.work / max(unit, 1) if plan else None,
            way=plan.way if plan else "generic",
            note=note,
            steps=found.steps,
            ratios=found.ratios,
        )

    def _system(
        self, task: Task, curvature: WrittenBatch | GenericBatch, iterations: int
    ) -> tuple[System, planner.Plan | None, str]:
        """Return the system, how it multiplies (None: generically), and a note on why no faster way serves."""
        if isinstance(curvature, WrittenBatch):
            chosen = planner.plan(
                curvature, task.block, way=self.way, iterations=iterations, warm=task.warm, memory=self.memory
            )
            note = "" if self.way in {"auto", chosen.way} else f"the way {self.way} does not serve this block"
            return planner.system(curvature, task, chosen, memory=self.memory), chosen, note
        block = task.block
        system = FlatSystem(
            task, lambda v, out: curvature.product(block, v, out), lambda: curvature.product_flops(block)
        )
        return system, None, curvature.source.note

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
        if self.way == "generic":
            return GenericModel(self._model, self._loss, "the generic way was asked for")
        try:
            source = WrittenModel(self._model, self._loss)
            source.check(inputs)
        except NotCovered as reason:
            return GenericModel(self._model, self._loss, str(reason))
        for name in (n for s in self._solvers for n in source.unreached(s.block)):
            raise ModelError(f"parameter {name!r} is not reached by the loss: freeze it or use it")
        return source


class HessianFree(BlockHessianFree):
    """Hessian-free (Martens 2010, with the fixed settings of Zhang et al. 2017): one block holds every parameter.

    Everything else, arguments too, is as in `BlockHessianFree`.
    """

    def __init__(
        self,
        model: nn.Module,
        loss: Loss,
        *,
        curvature_batch: int,
        lr: float = 0.1,
        damping: float = 0.0,
        max_cg_iters: int = 30,
        momentum: float = 0.95,
        stop: StopRule | None = None,
        way: str = "auto",
        memory: int = planner.MEMORY,
    ) -> None:
        super().__init__(
            model, loss, [layer_names(model)], curvature_batch=curvature_batch, lr=lr, damping=damping,
            max_cg_iters=max_cg_iters, momentum=momentum, stop=stop, way=way, memory=memory,
        )  # fmt: skip


class _BlockSolver(cg.FlatInner):
    """A block with the vectors that its solves reuse."""

    def __init__(self, block: Block) -> None:
        self.block = block
        self.gradient, self.x = block.vector(), block.vector()
        self._vectors = Vectors(self.x)

    def task(self, damping: float, *, warm: bool) -> Task:
        """Return what is to be solved."""
        return Task(self.block, self.gradient, self.x, warm=warm, damping=damping, vectors=self._vectors)

    def load(self, state: Any, momentum: float) -> bool:
        """Set x to momentum times the stored solution; return whether there is one."""
        if momentum == 0 or any("solution" not in state[p] for p in self.block.parameters):
            self.x.zero_()
            return False
        for p, x in zip(self.block.parameters, self.block.views(self.x).values(), strict=True):
            torch.mul(state[p]["solution"], momentum, out=x)
        return True

    def store(self, state: Any) -> None:
        """Keep x as the solution, parameter by parameter."""
        for p, x in zip(self.block.parameters, self.block.views(self.x).values(), strict=True):
            kept = state[p].setdefault("solution", torch.empty_like(p, memory_format=torch.contiguous_format))
            kept.copy_(x)


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
