"""Hessian-free and block-diagonal Hessian-free optimization: one method, two partitions."""

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from worker.optim import inputs as batches
from worker.optim.block_solver import BlockSolver
from worker.optim.blocks import Block, check_modes, check_types, layer_names, make_blocks
from worker.optim.curvature import planner
from worker.optim.curvature.autograd_model import AutogradBatch
from worker.optim.curvature.model_choice import ModelChoice
from worker.optim.curvature.systems import BlockProblem, FlatSystem, System
from worker.optim.curvature.traced_batch import TracedBatch
from worker.optim.errors import BatchError, ModelError, PartitionError
from worker.optim.inputs import Inputs
from worker.optim.phases import Phases
from worker.optim.precision import float32_products
from worker.optim.results import BlockResult, StepResult, StopReason
from worker.optim.settings import RENAMED, FromKeywords, ProductMethod, Settings, check_group
from worker.optim.solver import cg
from worker.optim.solver import damping as dampings
from worker.optim.solver.acceptance import Acceptance, Part, accept
from worker.optim.solver.backtracking import Iterates
from worker.optim.solver.preconditioner import DiagonalPreconditioner
from worker.optim.solver.stopping import StopRule
from worker.optim.torch_losses import as_loss

_MIB = 1 << 20


class BlockHessianFree(Optimizer):
    """Block-diagonal Hessian-free.

    Each block b solves (G_b + damping I) x_b = -g_b by at most `max_cg_iterations` iterations of conjugate gradient,
    all blocks from the same weights; then w <- w + learning_rate x. g: mean gradient over S_g, the batch given to
    `step`.
    G_b: the block's diagonal block of the generalized Gauss-Newton matrix, the mean of J' H_l J over S_c, the first
    `curvature_batch` examples of S_g. Conjugate gradient starts at `warm_start` times the block's last solution, at
    zero in the first update.

    `param_groups` holds one group per block with the keys lr (= learning_rate), damping, max_cg_iterations, warm_start,
    cg_stop, cg_tolerance, adaptive_damping, backtracking, line_search and preconditioner. They are read at each step,
    so torch's learning rate schedulers work. planned_iterations there is the block's last count, which the planner
    expects again. The state holds each parameter's part of the last solution: the last iterate, whatever part of it the
    step used.

    Args:
        model: any module that maps N examples to one tensor of N outputs, in float32 or float64, parameters on one
            device.
        loss: convex in the outputs: a loss module or function of torch, any function (outputs, targets) -> mean loss,
            or an object of `worker.optim.losses`; see `worker.optim.torch_losses.as_loss`.
        blocks: lists of layer names that hold every trainable parameter exactly once. The name of a container stands
            for its layers.
        settings: every field of `worker.optim.settings.Settings`, passed as keyword arguments.

    Raises:
        PartitionError: the blocks do not fit the model, or the dampings not the blocks.
        ModelError: the model cannot be optimized like this.
        ValueError: a setting is out of bounds.

    Source: Zhang, Xiong, Bradbury and Socher (2017), "Block-diagonal Hessian-free optimization for training neural
        networks", algorithm 1; options: Martens (2010), "Deep learning via Hessian-free optimization".
    """

    @FromKeywords(Settings)
    def __init__(self, model: nn.Module, loss: Any, blocks: Sequence[Sequence[str]], settings: Settings) -> None:
        self.settings = settings
        self._model, self._loss = model, as_loss(loss)
        made = make_blocks(model, blocks)
        check_modes(model)
        self._prepare(made)
        groups: list[dict[str, Any]] = [
            {"params": list(zip(s.block.names, s.block.parameters, strict=True)), "layers": list(s.block.layers)}
            for s in self._solvers
        ]
        for group, value in zip(groups, dampings.per_block(settings.damping, len(groups)), strict=True):
            if settings.adaptive_damping and value == 0:
                raise ValueError("damping is 0: adaptive damping multiplies it, so it must be positive")
            group["damping"] = value
        super().__init__(groups, {**settings.group_defaults(), "planned_iterations": None})

    def _prepare(self, blocks: Sequence[Block]) -> None:
        """Make what a step needs and no state holds."""
        self._solvers = [BlockSolver(block) for block in blocks]
        autograd = self.settings.product_method == ProductMethod.AUTOGRAD
        self._choice = ModelChoice(self._model, self._loss, blocks, autograd=autograd)

    def __getstate__(self) -> dict[str, Any]:
        """Return what a copy is made of; it is of the copied model if that is copied with it."""
        own = {name: getattr(self, name) for name in ("settings", "_model", "_loss")}
        return super().__getstate__() | own | {"blocks": self.blocks}

    def __setstate__(self, state: dict[str, Any]) -> None:
        blocks = state.pop("blocks", None)
        super().__setstate__(state)
        if blocks is not None:  # torch's load_state_dict calls this too, with param_groups and state alone
            self._prepare(blocks)

    def add_param_group(self, param_group: dict[str, Any]) -> None:
        """Not supported: a partition holds every trainable parameter from the start.

        Raises:
            PartitionError: always, after the optimizer was made.
        """
        if len(self.param_groups) == len(self._solvers):
            raise PartitionError("a block cannot be added: make a new optimizer with the new partition")
        super().add_param_group(param_group)

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Continue from a state of the same blocks, bit for bit; a state saved by version 0.1 is accepted.

        Raises:
            PartitionError: the state has other blocks.
        """
        layers = [list(group["layers"]) for group in state_dict["param_groups"]]
        if layers != [list(block.layers) for block in self.blocks]:
            raise PartitionError(f"the state is of the blocks {layers}: make the optimizer with these")
        groups = [{RENAMED.get(key, key): v for key, v in group.items()} for group in state_dict["param_groups"]]
        super().load_state_dict(state_dict | {"param_groups": groups})

    @property
    def blocks(self) -> list[Block]:
        """The blocks, in the order of `param_groups`."""
        return [solver.block for solver in self._solvers]

    @torch.no_grad()
    def step(self, inputs: Inputs, targets: Tensor) -> StepResult:  # type: ignore[override]  # a step needs the batch
        """Do one update.

        The step is computed in the precision of the weights, within `torch.autocast` too. Where the loss or a gradient
        is not finite, weights and state stay as they are and the blocks' stop reason is "diverged".

        Args:
            inputs: S_g, N examples in dimension 0: a tensor, or a tuple or dictionary of tensors, with which the model
                is called as model(x), model(*inputs) or model(**inputs). The first `curvature_batch` examples are S_c,
                which the paper takes as a strict subset: shuffle the data.
            targets: N targets, in the shape that the loss needs.

        Returns:
            Loss, norms and cost of the update, and one result per block.

        Raises:
            BatchError: inputs, targets and outputs do not fit each other, or S_g is smaller than `curvature_batch`.
            ModelError: the model cannot be optimized like this; found at the first batch, before any weight changes.
            LossError: the loss is not convex, or its methods do not fit each other; likewise.
            ValueError: a value in `param_groups` is out of bounds.
        """
        self._check_batch(inputs, targets)
        self._check_parameters()
        with _without_autocast(self._solvers[0].x.device.type):
            return self._step(inputs, self._as_weights(targets))

    def _step(self, inputs: Inputs, targets: Tensor) -> StepResult:
        phases = Phases(self._solvers[0].x.device)
        batch = self._choice.linearize(inputs, targets, curvature_batch=self.settings.curvature_batch)
        batch.gradient({k: v for s in self._solvers for k, v in s.block.views(s.gradient).items()})
        value = batch.value
        phases.mark()
        if not math.isfinite(value.item()):
            return self._skipped(value.item(), phases)
        curvature = batch.narrow(self.settings.curvature_batch, self.blocks)
        unit = batch.gradient_flops
        preconditioned = any(group["preconditioner"] for group in self.param_groups)
        if preconditioned:
            curvature.squares({k: v for s in self._solvers for k, v in s.block.views(s.squares()).items()})
        with float32_products(tf32=self.settings.product_precision == "tf32"):
            solved = [
                self._solve(solver, group, curvature, unit)
                for solver, group in zip(self._solvers, self.param_groups, strict=True)
            ]
        phases.mark()
        results, parts, squares = map(list, zip(*solved, strict=True))
        if not bool(torch.stack(squares).sum().isfinite()):
            return self._skipped(value.item(), phases)
        for solver, group, result in zip(self._solvers, self.param_groups, results, strict=True):
            if result.stop_reason is StopReason.DIVERGED:
                solver.x.zero_()
            else:
                solver.store(self.state)
                group["planned_iterations"] = max(1, result.cg_iterations)
        accepted = self._accept(parts, inputs, targets, value)
        norms = self._apply(accepted)
        gradient_seconds, curvature_seconds = phases.seconds()
        extra = curvature.squares_flops * preconditioned + accepted.evaluations * batch.forward_flops
        return StepResult(
            loss=value.item(),
            gradient_norm=torch.stack(squares).sum().sqrt().item(),
            step_norm=norms.sum().sqrt().item(),
            cost=1 + (curvature.setup_flops + extra) / max(unit, 1) + sum(r.cost for r in results),
            blocks=tuple(replace(r, step_norm=norm) for r, norm in zip(results, norms.sqrt().tolist(), strict=True)),
            scale=accepted.scale,
            reduction_ratio=accepted.ratio,
            iteration=accepted.iteration,
            evaluations=accepted.evaluations,
            loss_decrease=None if accepted.ratio is None else -accepted.ratio * sum(part.decrease() for part in parts),
            gradient_seconds=gradient_seconds,
            curvature_seconds=curvature_seconds,
        )

    def _skipped(self, loss: float, phases: Phases) -> StepResult:
        """Return the result of an update that changed nothing, because the loss or a gradient is not finite."""
        phases.mark()
        seconds = phases.seconds()
        result = BlockResult(
            cg_iterations=0, stop_reason=StopReason.DIVERGED, residual=math.nan, model_decrease=math.nan,
            note="loss or gradient is not finite: the weights were not changed",
        )  # fmt: skip
        groups = zip(self._solvers, self.param_groups, strict=True)
        squares = torch.stack([solver.inner(solver.gradient, solver.gradient) for solver in self._solvers])
        return StepResult(
            loss=loss,
            gradient_norm=squares.sum().sqrt().item(),
            step_norm=0.0,
            cost=1.0,
            blocks=tuple(replace(result, damping=group["damping"]) for _, group in groups),
            gradient_seconds=seconds[0],
            curvature_seconds=sum(seconds[1:]),
        )

    def _accept(self, parts: Sequence[Part], inputs: Inputs, targets: Tensor, value: Tensor) -> Acceptance:
        """Try the step where a setting asks for it; otherwise use the whole step."""
        names = ("backtracking", "adaptive_damping", "line_search")
        asked = {name: any(group[name] for group in self.param_groups) for name in names}
        if not any(asked.values()):
            return Acceptance()
        return accept(parts, lambda: self._choice.evaluate(inputs, targets), start=value.item(), **asked)

    def _apply(self, accepted: Acceptance) -> Tensor:
        """Change weights and damping; return the square of each block's step norm, in float64."""
        norms = []
        for solver, group in zip(self._solvers, self.param_groups, strict=True):
            size = group["lr"] * accepted.scale
            norms.append(size**2 * solver.inner(solver.x, solver.x))
            for p, x in zip(solver.block.parameters, solver.block.views(solver.x).values(), strict=True):
                p.add_(x, alpha=size)
            if group["adaptive_damping"]:
                group["damping"] = dampings.adapted(group["damping"], accepted.ratio)
        return torch.stack(norms)

    def _solve(
        self, solver: BlockSolver, group: dict[str, Any], curvature: TracedBatch | AutogradBatch, unit: int
    ) -> tuple[BlockResult, Part, Tensor]:
        """Solve a block's system; return its result, its part of the step, and g'g. unit: operations of a gradient."""
        warm = solver.load(self.state, group["warm_start"])
        expected = group["planned_iterations"] or group["max_cg_iterations"]
        problem = solver.problem(float(group["damping"]), warm=warm)
        system, plan, note = self._system(problem, curvature, expected, preconditioned=group["preconditioner"])
        iterates = Iterates(solver.x, system.add) if group["backtracking"] else None
        stop = StopRule(group["cg_stop"], group["cg_tolerance"])
        found = cg.solve(
            system,
            system.b,
            system.y,
            cg.CgOptions(max_iterations=group["max_cg_iterations"], stop=stop, eps=system.eps),
            cg.CgHooks(
                precondition=(
                    DiagonalPreconditioner(solver.squares(), problem.damping) if group["preconditioner"] else None
                ),
                on_iterate=iterates.collect if iterates else None,
                capture=partial(solver.repeater, expected=expected) if system.steady else None,
            ),
            scale=system.scale,
            model=system.model,
            workspace=system.work,
        )
        system.finish()
        flops = system.setup_flops + found.products * system.product_flops + system.finish_flops
        if iterates:
            flops += len(iterates.collected) * system.finish_flops
            iterates.end(found.iterations, solver.x, found.model)
        part = Part(solver.block, solver.x, solver.gradient, group["lr"], problem.damping, found.model, iterates)
        result = BlockResult(
            cg_iterations=found.iterations,
            stop_reason=found.stop_reason,
            residual=found.residual,
            model_decrease=-found.model,
            product_method=plan.product_method if plan else ProductMethod.AUTOGRAD,
            note="; ".join(filter(None, (note, solver.repeater.note))),
            cost=flops / max(unit, 1),
            predicted_cost=plan.work / max(unit, 1) if plan else None,
            damping=problem.damping,
            steps=found.steps,
            ratios=found.ratios,
        )
        return result, part, system.scale

    def _system(
        self, problem: BlockProblem, curvature: TracedBatch | AutogradBatch, iterations: int, *, preconditioned: bool
    ) -> tuple[System, planner.Plan | None, str]:
        """Return the system, its plan (None: by autograd), and a note on why no faster method applies."""
        settings = self.settings
        bfloat16, memory = settings.product_precision == "bfloat16", settings.memory_limit * _MIB
        if isinstance(curvature, TracedBatch):
            plan = planner.plan(
                curvature, problem.block, product_method=settings.product_method, iterations=iterations,
                warm=problem.warm, memory=memory, preconditioned=preconditioned, bfloat16=bfloat16,
            )  # fmt: skip
            note = plan.note
            if not note and settings.product_method not in {ProductMethod.AUTO, plan.product_method}:
                note = f"method {settings.product_method} does not apply to this block"
            return planner.system(curvature, problem, plan, memory=memory, bfloat16=bfloat16), plan, note
        block = problem.block
        # Not steady: backward passes run on streams of autograd's choice, which a CUDA graph would not capture.
        system = FlatSystem(
            problem,
            lambda v, out: curvature.product(block, v, out),
            lambda: curvature.product_flops(block),
            steady=False,
        )
        note = curvature.model.note
        return system, None, f"{note}; bfloat16 is not available" if bfloat16 else note

    def _check_batch(self, inputs: Inputs, targets: Tensor) -> None:
        count = batches.count(inputs)
        if not isinstance(targets, Tensor) or not targets.dim():
            raise BatchError(f"targets are {type(targets).__name__}: must be a tensor with one row per example")
        if count != len(targets):
            raise BatchError(f"there are {count} inputs and {len(targets)} targets: the numbers must be equal")
        size = self.settings.curvature_batch
        if size > count:
            raise BatchError(
                f"curvature_batch is {size}: must not be larger than the batch, which has {count}; set a smaller "
                "curvature_batch, or drop_last=True in a DataLoader"
            )

    def _check_parameters(self) -> None:
        """Check `param_groups` and the parameters, and follow parameters that were converted or moved."""
        for group in self.param_groups:
            check_group(group)
        for block in self.blocks:
            for name, p in zip(block.names, block.parameters, strict=True):
                if not p.requires_grad:
                    raise ModelError(f"the parameter {name!r} was frozen after the optimizer was made: make a new one")
        if not all(solver.fits() for solver in self._solvers):
            check_types(self.blocks)
            self._solvers = [BlockSolver(block) for block in self.blocks]

    def _as_weights(self, targets: Tensor) -> Tensor:
        """Return floating-point targets in the precision of the weights."""
        return targets.to(self._solvers[0].x.dtype) if targets.is_floating_point() else targets


@contextmanager
def _without_autocast(device: str) -> Iterator[None]:
    """Switch autocast off, where it is on: it would round what the rules compute, and what they do not."""
    if torch.is_autocast_enabled(device):
        with torch.autocast(device, enabled=False):
            yield
    else:
        yield


class HessianFree(BlockHessianFree):
    """Hessian-free (Martens 2010, with the fixed settings of Zhang et al. 2017): one block holds every parameter.

    Args and everything else as in `BlockHessianFree`, without `blocks`.
    """

    @FromKeywords(Settings)
    def __init__(self, model: nn.Module, loss: Any, settings: Settings) -> None:
        super().__init__(model, loss, [layer_names(model)], **vars(settings))
