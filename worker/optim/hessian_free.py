"""Hessian-free and block-diagonal Hessian-free optimization: one method, two partitions."""

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from worker.optim import native
from worker.optim.block_solver import BlockSolver
from worker.optim.blocks import Block, check_modes, layer_names, make_blocks
from worker.optim.curvature import planner
from worker.optim.curvature.autograd_model import GenericBatch
from worker.optim.curvature.model_choice import Source
from worker.optim.curvature.systems import FlatSystem, System, Task
from worker.optim.curvature.traced_model import WrittenBatch
from worker.optim.errors import BatchError, ModelError, PartitionError
from worker.optim.losses import Loss
from worker.optim.phases import Phases
from worker.optim.precision import PRECISIONS, float32_products
from worker.optim.results import BlockResult, StepResult, StopRule
from worker.optim.solver import cg
from worker.optim.solver import damping as dampings
from worker.optim.solver.acceptance import Acceptance, Part, accept
from worker.optim.solver.backtracking import Iterates
from worker.optim.solver.preconditioner import DiagonalPreconditioner


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

    product_precision: of the curvature products, see `worker.optim.precision`; gradient and loss are always in that of
    the weights. What it does to the solutions is measured by tests/benchmarks/precision.py.

    model: any module that maps a tensor of N examples to N outputs, in float32 or float64, parameters on one device.
    loss: convex in the outputs, see `worker.optim.losses`. blocks: lists of layer names that hold every trainable
    parameter once. lr, damping, max_cg_iters, momentum, stop, tolerance are read from `param_groups`, one per block,
    at each step; planned_iterations there is the block's last count, which the
    planner expects again. Raises PartitionError, ModelError, BatchError (all ValueError).

    damping: one number, or one per block. Off by default, as in the paper, and in `param_groups` too, all from Martens
    (2010), "Deep learning via Hessian-free optimization":
    adaptive_damping: after each update every block's damping follows the reduction ratio, see `solver.damping`.
    backtracking: the step is the iterate before which the loss rises again, see `solver.backtracking`.
    line_search: the step shrinks until the loss falls enough, see `solver.line_search`.
    preconditioner: conjugate gradient divides by the gradients' squares, see `solver.preconditioner`.
    Each loss they take costs a forward pass over S_g, the preconditioner a backward pass over S_c: `cost` has them.
    The stored solution is the last iterate, whatever is taken of it.
    """

    def __init__(
        self,
        model: nn.Module,
        loss: Loss,
        blocks: Sequence[Sequence[str]],
        *,
        curvature_batch: int,
        lr: float = 0.1,
        damping: float | Sequence[float] = 0.0,
        max_cg_iters: int = 30,
        momentum: float = 0.95,
        stop: StopRule | None = None,
        way: str = "auto",
        memory: int = planner.MEMORY,
        adaptive_damping: bool = False,
        backtracking: bool = False,
        line_search: bool = False,
        preconditioner: bool = False,
        product_precision: str = "full",
    ) -> None:
        _check_numbers(curvature_batch, lr, max_cg_iters, momentum)
        if way not in planner.WAYS:
            raise ValueError(f"way is {way!r}: must be one of {', '.join(planner.WAYS)}")
        if product_precision not in PRECISIONS:
            raise ValueError(f"product_precision is {product_precision!r}: must be one of {', '.join(PRECISIONS)}")
        stop = stop or StopRule()
        self.product_precision = product_precision
        self.way, self.memory = way, memory
        self.curvature_batch = curvature_batch
        self._model, self._loss = model, loss
        check_modes(model)
        self._solvers = [BlockSolver(block) for block in make_blocks(model, blocks)]
        groups: list[dict[str, Any]] = [
            {"params": list(zip(s.block.names, s.block.parameters, strict=True)), "layers": list(s.block.layers)}
            for s in self._solvers
        ]
        for group, value in zip(groups, dampings.per_block(damping, len(groups)), strict=True):
            if adaptive_damping and value == 0:
                raise ValueError("damping is 0: adaptive damping multiplies it, so it must be positive")
            group["damping"] = value
        super().__init__(
            groups,
            {
                "lr": lr, "max_cg_iters": max_cg_iters, "momentum": momentum, "stop": stop.kind,
                "tolerance": stop.tolerance, "planned_iterations": None, "adaptive_damping": adaptive_damping,
                "backtracking": backtracking, "line_search": line_search, "preconditioner": preconditioner,
            },
        )  # fmt: skip
        self._source = Source(model, loss, self.blocks, generic=way == "generic")

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on from a state of the same blocks; raises PartitionError where its blocks are others."""
        layers = [list(group["layers"]) for group in state_dict["param_groups"]]
        if layers != [list(block.layers) for block in self.blocks]:
            raise PartitionError(f"the state is of the blocks {layers}: make the optimizer with these")
        super().load_state_dict(state_dict)

    @property
    def blocks(self) -> list[Block]:
        """The blocks, in the order of `param_groups`."""
        return [solver.block for solver in self._solvers]

    @torch.no_grad()
    def step(self, inputs: Tensor, targets: Tensor) -> StepResult:  # type: ignore[override]  # a step needs the batch
        """Do one update from the batch S_g: inputs N x ..., targets as the loss takes them."""
        self._check_batch(inputs, targets)
        phases = Phases(inputs.device)
        batch = self._source.at(inputs, targets, keep=self.curvature_batch)
        batch.gradient({k: v for s in self._solvers for k, v in s.block.views(s.gradient).items()})
        value = batch.value
        phases.border()
        curvature = batch.narrow(self.curvature_batch, self.blocks)
        unit = batch.gradient_flops
        preconditioned = any(group["preconditioner"] for group in self.param_groups)
        if preconditioned:
            curvature.squares({k: v for s in self._solvers for k, v in s.block.views(s.squares()).items()})
        with float32_products(tf32=self.product_precision == "tf32"):
            solved = [
                self._solve(solver, group, curvature, unit)
                for solver, group in zip(self._solvers, self.param_groups, strict=True)
            ]
        phases.border()
        results, parts, squares = map(list, zip(*solved, strict=True))
        accepted = self._accept(parts, inputs, targets, value)
        steps = torch.stack(
            [
                (group["lr"] * accepted.scale) ** 2 * s.inner(s.x, s.x)
                for s, group in zip(self._solvers, self.param_groups, strict=True)
            ]
        )
        for solver, group in zip(self._solvers, self.param_groups, strict=True):
            for p, x in zip(solver.block.parameters, solver.block.views(solver.x).values(), strict=True):
                p.add_(x, alpha=group["lr"] * accepted.scale)
            if group["adaptive_damping"]:
                group["damping"] = dampings.adapted(group["damping"], accepted.ratio)
        gradient_seconds, curvature_seconds = phases.seconds()
        extra = curvature.squares_flops * preconditioned + accepted.evaluations * batch.forward_flops
        return StepResult(
            loss=value.item(),
            gradient_norm=torch.stack(squares).sum().sqrt().item(),
            step_norm=steps.sum().sqrt().item(),
            cost=1 + (curvature.setup_flops + extra) / max(unit, 1) + sum(r.cost for r in results),
            blocks=tuple(replace(r, step_norm=norm) for r, norm in zip(results, steps.sqrt().tolist(), strict=True)),
            scale=accepted.scale,
            reduction_ratio=accepted.ratio,
            iteration=accepted.iteration,
            evaluations=accepted.evaluations,
            loss_decrease=None if accepted.ratio is None else -accepted.ratio * sum(part.decrease() for part in parts),
            gradient_seconds=gradient_seconds,
            curvature_seconds=curvature_seconds,
        )

    def _accept(self, parts: Sequence[Part], inputs: Tensor, targets: Tensor, value: Tensor) -> Acceptance:
        """Try the step where a knob asks for it; else take it whole."""
        knobs = ("backtracking", "adaptive_damping", "line_search")
        asked = {knob: any(group[knob] for group in self.param_groups) for knob in knobs}
        if not any(asked.values()):
            return Acceptance()
        with native.once():
            return accept(parts, lambda: self._loss.value(self._model(inputs), targets), start=value.item(), **asked)

    def _solve(
        self, solver: BlockSolver, group: dict[str, Any], curvature: WrittenBatch | GenericBatch, unit: int
    ) -> tuple[BlockResult, Part, Tensor]:
        """Solve a block's system; return what is to be told, what the step is made of, and g'g."""
        warm = solver.load(self.state, group["momentum"])
        expected = group["planned_iterations"] or group["max_cg_iters"]
        task = solver.task(group["damping"], warm=warm)
        system, plan, note = self._system(task, curvature, expected, preconditioned=group["preconditioner"])
        iterates = Iterates(solver.x, system.add) if group["backtracking"] else None
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
            precondition=DiagonalPreconditioner(solver.squares(), task.damping) if group["preconditioner"] else None,
            keep=iterates.keep if iterates else None,
            repeat=partial(solver.repeater, expected=expected) if system.steady else None,
        )
        system.finish()
        solver.store(self.state)
        group["planned_iterations"] = max(1, found.iterations)
        flops = system.setup_flops + found.products * system.product_flops + system.finish_flops
        if iterates:
            flops += len(iterates.kept) * system.finish_flops
            iterates.end(found.iterations, solver.x, found.model)
        part = Part(solver.block, solver.x, solver.gradient, group["lr"], task.damping, found.model, iterates)
        result = BlockResult(
            iterations=found.iterations,
            reason=found.reason,
            residual=found.residual,
            decrease=-found.model,
            cost=flops / max(unit, 1),
            predicted=plan.work / max(unit, 1) if plan else None,
            way=plan.way if plan else "generic",
            note="; ".join(filter(None, (note, solver.repeater.note))),
            steps=found.steps,
            ratios=found.ratios,
            damping=task.damping,
        )
        return result, part, system.scale

    def _system(
        self, task: Task, curvature: WrittenBatch | GenericBatch, iterations: int, *, preconditioned: bool
    ) -> tuple[System, planner.Plan | None, str]:
        """Return the system, how it multiplies (None: generically), and a note on why no faster way serves."""
        rounded = self.product_precision == "bfloat16"
        if isinstance(curvature, WrittenBatch):
            chosen = planner.plan(
                curvature, task.block, way=self.way, iterations=iterations, warm=task.warm, memory=self.memory,
                preconditioned=preconditioned, rounded=rounded,
            )  # fmt: skip
            note = chosen.note
            if not note and self.way not in {"auto", chosen.way}:
                note = f"the way {self.way} does not serve this block"
            return planner.system(curvature, task, chosen, memory=self.memory, rounded=rounded), chosen, note
        block = task.block
        system = FlatSystem(
            task,
            lambda v, out: curvature.product(block, v, out),
            lambda: curvature.product_flops(block),
            steady=False,
        )
        note = curvature.source.note
        return system, None, f"{note}; it is not computed in bfloat16" if rounded else note

    def _check_batch(self, inputs: Tensor, targets: Tensor) -> None:
        if len(inputs) != len(targets):
            raise BatchError(f"there are {len(inputs)} inputs and {len(targets)} targets: must be as many")
        if self.curvature_batch > len(inputs):
            raise BatchError(
                f"curvature_batch is {self.curvature_batch}: must not be larger than the batch, which has {len(inputs)}"
            )
        for block in self.blocks:
            for name, p in zip(block.names, block.parameters, strict=True):
                if not p.requires_grad:
                    raise ModelError(f"the parameter {name!r} was frozen after the optimizer was made: make a new one")


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
        adaptive_damping: bool = False,
        backtracking: bool = False,
        line_search: bool = False,
        preconditioner: bool = False,
        product_precision: str = "full",
    ) -> None:
        super().__init__(
            model, loss, [layer_names(model)], curvature_batch=curvature_batch, lr=lr, damping=damping,
            max_cg_iters=max_cg_iters, momentum=momentum, stop=stop, way=way, memory=memory,
            adaptive_damping=adaptive_damping, backtracking=backtracking, line_search=line_search,
            preconditioner=preconditioner, product_precision=product_precision,
        )  # fmt: skip


def _check_numbers(curvature_batch: int, lr: float, max_cg_iters: int, momentum: float) -> None:
    limits = [
        ("curvature_batch", curvature_batch, curvature_batch >= 1, "at least 1"),
        ("lr", lr, 0 < lr < float("inf"), "positive and finite"),
        ("max_cg_iters", max_cg_iters, max_cg_iters >= 1, "at least 1"),
        ("momentum", momentum, 0 <= momentum <= 1, "from 0 to 1"),
    ]
    for name, value, fits, limit in limits:
        if not fits:
            raise ValueError(f"{name} is {value!r}: must be {limit}")
