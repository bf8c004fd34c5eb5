"""Hessian-free and block-diagonal Hessian-free optimization: one method, two partitions."""

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.utils.hooks import RemovableHandle

from worker.optim import weight_decay
from worker.optim.block_solve import Curvature, solve_block
from worker.optim.block_solver import BlockSolver
from worker.optim.blocks import Block, BlockMembers, check_types, layer_names, make_blocks
from worker.optim.curvature.chunked_batch import ChunkedBatch
from worker.optim.curvature.forward_model import Forward
from worker.optim.curvature.model_choice import ModelChoice
from worker.optim.errors import BatchError, ModelError, PartitionError
from worker.optim.gradient_batch import Examples, GradientBatch
from worker.optim.gradient_hooks import GradientHook, GradientHooks
from worker.optim.inputs import Inputs
from worker.optim.modes import check_modes, evaluated_batch_norm
from worker.optim.phases import Phases
from worker.optim.precision import float32_products
from worker.optim.results import BlockResult, StepResult, StopReason
from worker.optim.settings import RENAMED, FromKeywords, ProductMethod, Settings, check_group
from worker.optim.solver import damping as dampings
from worker.optim.solver.acceptance import Acceptance, Part, accept
from worker.optim.torch_losses import as_loss

Linearized = Curvature | ChunkedBatch


class BlockHessianFree(Optimizer):
    """Block-diagonal Hessian-free.

    Each block b solves (G_b + damping I) x_b = -g_b by at most `max_cg_iterations` iterations of conjugate gradient,
    all blocks from the same weights; then w <- w + learning_rate x. g: mean gradient over S_g, the batch given to
    `step`.
    G_b: the block's diagonal block of the generalized Gauss-Newton matrix, the mean of J' H_l J over S_c, the first
    `curvature_batch` examples of S_g. Conjugate gradient starts at `warm_start` times the block's last solution, at
    zero in the first update.

    `param_groups` holds one group per block with the keys lr (= learning_rate), damping, max_cg_iterations, warm_start,
    cg_stop, cg_tolerance, adaptive_damping, backtracking, line_search, preconditioner, weight_decay and max_step_norm.
    They are read at each step, so torch's learning rate schedulers work, also on the other numbers, see
    `worker.optim.ScheduledValue`. planned_iterations there is the block's last count, which the planner expects again.
    The state holds each parameter's part of the last solution: the last iterate, whatever part of it the step used.

    Args:
        model: any module that maps N examples to one tensor of N outputs (`outputs` selects it from several), in
            float32 or float64, parameters on one device. For `step(forward)` it only holds the parameters.
        loss: convex in the outputs: a loss module or function of torch, any function (outputs, targets) -> mean loss,
            or an object of `worker.optim.losses`; see `worker.optim.torch_losses.as_loss`.
        blocks: lists of layer names that hold every trainable parameter exactly once; with `partial` some of them. The
            name of a container stands for its layers. Names of parameters and parameters themselves are taken, too.
        settings: every field of `worker.optim.settings.Settings`, passed as keyword arguments.

    Raises:
        PartitionError: the blocks do not fit the model, or the dampings not the blocks.
        ModelError: the model cannot be optimized like this.
        ValueError: a setting is out of bounds.

    Source: Zhang, Xiong, Bradbury and Socher (2017), "Block-diagonal Hessian-free optimization for training neural
        networks", algorithm 1; options: Martens (2010), "Deep learning via Hessian-free optimization".
    """

    @FromKeywords(Settings)
    def __init__(self, model: nn.Module, loss: Any, blocks: Sequence[BlockMembers], settings: Settings) -> None:
        self.settings = settings
        self._model, self._loss = model, as_loss(loss)
        self._hooks = GradientHooks()
        made = make_blocks(model, blocks, partial=settings.partial)
        with self._modes():
            check_modes(model)
        self._prepare(made)
        groups = [_group_of(block) for block in self.blocks]
        for group, value in zip(groups, dampings.per_block(settings.damping, len(groups)), strict=True):
            group["damping"] = value
            dampings.check_adaptive(value, adaptive=settings.adaptive_damping)
        super().__init__(groups, {**settings.group_defaults(), "planned_iterations": None})

    def _prepare(self, blocks: Sequence[Block]) -> None:
        """Make what a step needs and no state holds."""
        self._solvers = [BlockSolver(block) for block in blocks]
        autograd = self.settings.product_method == ProductMethod.AUTOGRAD
        selector = self.settings.outputs
        self._choice = ModelChoice(self._model, self._loss, blocks, autograd=autograd, selector=selector)

    def __getstate__(self) -> dict[str, Any]:
        """Return what a copy is made of; it is of the copied model if that is copied with it."""
        own = {name: getattr(self, name) for name in ("settings", "_model", "_loss")}
        return super().__getstate__() | own | {"blocks": self.blocks}

    def __setstate__(self, state: dict[str, Any]) -> None:
        blocks = state.pop("blocks", None)
        super().__setstate__(state)
        self._hooks = getattr(self, "_hooks", GradientHooks())
        if blocks is not None:  # torch's load_state_dict calls this too, with param_groups and state alone
            self._prepare(blocks)

    def add_param_group(self, param_group: dict[str, Any]) -> None:
        """Add a block, such as a layer that was frozen when the optimizer was made.

        Args:
            param_group: "params" has the block's members, as in `blocks`, or one parameter; other keys are values of
                its group.

        Raises:
            PartitionError: a parameter is in another block already, or not in the model.
            ValueError: a value is out of bounds.
        """
        if len(self.param_groups) < len(self._solvers):  # while the optimizer is made
            super().add_param_group(param_group)
            return
        members = param_group.get("params", ())
        members = [members] if isinstance(members, Tensor) else members
        (block,) = make_blocks(self._model, [members], partial=True, others=self.blocks)
        group = {"damping": dampings.per_block(self.settings.damping, 1)[0]} if "damping" not in param_group else {}
        group = {**self.defaults, **group, **param_group}
        check_group(group)
        dampings.check_adaptive(float(group["damping"]), adaptive=bool(group["adaptive_damping"]))
        super().add_param_group(_group_of(block) | {k: v for k, v in group.items() if k != "params"})
        self._prepare([*self.blocks, block])

    def register_gradient_hook(self, hook: GradientHook) -> RemovableHandle:
        """Register a function that sees, and may change, the gradient before the blocks are solved.

        Args:
            hook: called with the optimizer. While it runs, p.grad of each parameter is its gradient over S_g, without
                weight decay, so that torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0) works. It may change
                p.grad in place or replace it; None means zero.

        Returns:
            A handle, whose remove() removes the hook. Copies and pickles have no hooks.
        """
        return self._hooks.register(hook)

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Continue from a state of the same blocks, bit for bit; a state saved by version 0.1 is accepted.

        Raises:
            PartitionError: the state has other blocks.
        """
        layers = [list(group["layers"]) for group in state_dict["param_groups"]]
        if layers != [list(block.layers) for block in self.blocks]:
            raise PartitionError(f"the state is of the blocks {layers}: make the optimizer with these")
        groups = [
            self.defaults | {RENAMED.get(key, key): v for key, v in group.items()}
            for group in state_dict["param_groups"]
        ]
        super().load_state_dict(state_dict | {"param_groups": groups})

    @property
    def blocks(self) -> list[Block]:
        """The blocks, in the order of `param_groups`."""
        return [solver.block for solver in self._solvers]

    @torch.no_grad()
    def step(  # type: ignore[override]  # a step needs the batch
        self,
        inputs: Inputs | Iterable[Examples] | Forward | None = None,
        targets: Tensor | None = None,
        *,
        curvature: Examples | Forward | None = None,
        closure: Forward | None = None,
    ) -> StepResult:
        """Do one update.

        The step is computed in the precision of the weights, within `torch.autocast` too. Where the loss or a gradient
        is not finite, weights and state stay as they are and the blocks' stop reason is "diverged".

        Args:
            inputs: S_g, in one of three forms.
                N examples in dimension 0: a tensor, or a tuple or dictionary of tensors, with which the model is called
                as model(x), model(*inputs) or model(**inputs).
                Without targets, an iterable of micro-batches (inputs, targets), for a batch whose activations do not
                fit. It is read once; its micro-batches are moved to the weights' device. The update is that of the
                whole batch, up to rounding.
                Without targets, a function forward() -> (loss, outputs), for what is no loss of a model's outputs: the
                mean loss over S_g with its graph, and the tensors from which it was computed, in which it is convex.
                It calls no backward(). G is J' H_l J, J the Jacobian of all these tensors, by double backward.
            targets: N targets, in the shape that the loss needs.
            curvature: S_c, (inputs, targets) or a function. None: the first `curvature_batch` examples of S_g, which
                the paper takes as a strict subset: shuffle the data. With a function as S_g: S_g.
            closure: the function, under the name that Lightning passes it by.

        Returns:
            Loss, norms and cost of the update, and one result per block.

        Raises:
            BatchError: inputs, targets and outputs do not fit each other, or S_g is smaller than `curvature_batch`.
            ModelError: the model cannot be optimized like this; found at the first batch, before any weight changes.
            LossError: the loss is not convex, or its methods do not fit each other; likewise.
            ValueError: a value in `param_groups` is out of bounds.
        """
        if torch.is_inference_mode_enabled():
            raise ModelError("a step needs gradients: call it outside of torch.inference_mode()")
        self._check_parameters()
        given = inputs if closure is None else closure
        with _without_autocast(self._solvers[0].x.device.type), self._modes():
            if callable(given) and targets is None:
                return self._step_of_function(given, curvature)
            return self._step_of_batch(given, targets, curvature)

    def _step_of_batch(self, inputs: Any, targets: Any, curvature: Any) -> StepResult:
        size = self.settings.curvature_batch
        batch = GradientBatch.of(inputs, targets, curvature, self._solvers[0].x, curvature_batch=size)
        return self._step(
            lambda: self._choice.linearize(batch, curvature_batch=size), lambda: self._choice.evaluate(batch)
        )

    def _step_of_function(self, forward: Forward, curvature: Any) -> StepResult:
        if curvature is not None and not callable(curvature):
            raise BatchError(f"curvature is {type(curvature).__name__}: must be a function, as S_g is given by one")
        if any(group["preconditioner"] for group in self.param_groups):
            raise BatchError("preconditioner needs single examples: call step(inputs, targets), or switch it off")
        return self._step(
            lambda: self._choice.linearize_forward(forward, curvature), lambda: self._choice.evaluate_forward(forward)
        )

    def _modes(self) -> AbstractContextManager[None]:
        """Return the context of a step in which the modules have the modes that the settings ask for."""
        return evaluated_batch_norm(self._model) if self.settings.batch_norm == "eval" else nullcontext()

    def _step(self, linearize: Callable[[], Linearized], evaluate: Callable[[], Tensor]) -> StepResult:
        """Do one update; linearize at S_g, evaluate: the mean loss over S_g at the present weights."""
        phases = Phases(self._solvers[0].x.device)
        batch = linearize()
        batch.gradient({k: v for s in self._solvers for k, v in s.block.views(s.gradient).items()})
        self._choice.check_reached()
        self._hooks.run(self, lambda: {p: g for s in self._solvers for p, g in s.gradients()})
        weight_decay.add_to_gradient(self._solvers, self.param_groups)
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
        accepted = self._accept(parts, evaluate, value)
        norms = self._apply(accepted, parts)
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

    def _accept(self, parts: Sequence[Part], evaluate: Callable[[], Tensor], value: Tensor) -> Acceptance:
        """Try the step where a setting asks for it; otherwise use the whole step."""
        names = ("backtracking", "adaptive_damping", "line_search")
        asked = {name: any(group[name] for group in self.param_groups) for name in names}
        if not any(asked.values()):
            return Acceptance()
        start = value + weight_decay.penalty(self._solvers, self.param_groups)
        return accept(
            parts,
            lambda: evaluate() + weight_decay.penalty(self._solvers, self.param_groups),
            start=start.item(),
            **asked,
        )

    def _apply(self, accepted: Acceptance, parts: Sequence[Part]) -> Tensor:
        """Change weights and damping; return the square of each block's step norm, in float64."""
        norms = []
        for solver, group, part in zip(self._solvers, self.param_groups, parts, strict=True):
            size = part.rate * accepted.scale
            norms.append(size**2 * solver.inner(solver.x, solver.x))
            for p, x in zip(solver.block.parameters, solver.block.views(solver.x).values(), strict=True):
                p.add_(x, alpha=size)
            if group["adaptive_damping"]:
                group["damping"] = dampings.adapted(group["damping"], accepted.ratio)
        return torch.stack(norms)

    def _solve(
        self, solver: BlockSolver, group: dict[str, Any], curvature: Curvature, unit: int
    ) -> tuple[BlockResult, Part, Tensor]:
        """Solve a block's system; return its result, its part of the step, and g'g. unit: operations of a gradient."""
        return solve_block(solver, group, self.state, self.settings, curvature, unit)

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


@contextmanager
def _without_autocast(device: str) -> Iterator[None]:
    """Switch autocast off, where it is on: it would round what the rules compute, and what they do not."""
    if torch.is_autocast_enabled(device):
        with torch.autocast(device, enabled=False):
            yield
    else:
        yield


def _group_of(block: Block) -> dict[str, Any]:
    return {"params": list(zip(block.names, block.parameters, strict=True)), "layers": list(block.layers)}


class HessianFree(BlockHessianFree):
    """Hessian-free (Martens 2010, with the fixed settings of Zhang et al. 2017): one block holds every parameter.

    Args and everything else as in `BlockHessianFree`, without `blocks`.
    """

    @FromKeywords(Settings)
    def __init__(self, model: nn.Module, loss: Any, settings: Settings) -> None:
        super().__init__(model, loss, [layer_names(model)], **vars(settings))
