"""The solve of one block: the system that the planner chooses, conjugate gradient, and what it reports."""

from functools import partial
from typing import Any

from torch import Tensor

from worker.optim.block_solver import BlockSolver
from worker.optim.curvature import planner
from worker.optim.curvature.autograd_model import AutogradBatch
from worker.optim.curvature.forward_model import ForwardBatch
from worker.optim.curvature.systems import BlockProblem, FlatSystem, System
from worker.optim.curvature.traced_batch import TracedBatch
from worker.optim.results import BlockResult
from worker.optim.settings import ProductMethod, Settings
from worker.optim.solver import cg
from worker.optim.solver.acceptance import Part
from worker.optim.solver.backtracking import Iterates
from worker.optim.solver.preconditioner import DiagonalPreconditioner
from worker.optim.solver.stopping import StopRule

Curvature = TracedBatch | AutogradBatch | ForwardBatch
_MIB = 1 << 20


def solve_block(
    solver: BlockSolver, group: dict[str, Any], state: Any, settings: Settings, curvature: Curvature, unit: int
) -> tuple[BlockResult, Part, Tensor]:
    """Solve (G_b + (d + l) I) x = -g, l the weight decay, from the solver's gradient g.

    Args:
        solver: receives the solution as its x.
        group: the block's values in `param_groups`.
        state: the optimizer's state, which has the last solution.
        settings: those of the optimizer.
        curvature: the model linearized at S_c.
        unit: operations of a gradient.

    Returns:
        The block's result, its part of the step, and g'g.
    """
    warm = solver.load(state, group["warm_start"])
    expected = group["planned_iterations"] or group["max_cg_iterations"]
    damping = float(group["damping"])
    problem = solver.problem(damping + float(group["weight_decay"]), warm=warm)
    system, plan, note = _system(problem, curvature, settings, expected, preconditioned=group["preconditioner"])
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
    part = Part(
        solver.block, solver.x, solver.gradient, group["lr"], damping, found.model, iterates, group["max_step_norm"]
    )
    result = BlockResult(
        cg_iterations=found.iterations,
        stop_reason=found.stop_reason,
        residual=found.residual,
        model_decrease=-found.model,
        product_method=plan.product_method if plan else ProductMethod.AUTOGRAD,
        note="; ".join(filter(None, (note, solver.repeater.note))),
        cost=flops / max(unit, 1),
        predicted_cost=plan.work / max(unit, 1) if plan else None,
        damping=damping,
        steps=found.steps,
        ratios=found.ratios,
    )
    return result, part, system.scale


def _system(
    problem: BlockProblem, curvature: Curvature, settings: Settings, iterations: int, *, preconditioned: bool
) -> tuple[System, planner.Plan | None, str]:
    """Return the system, its plan (None: by autograd), and a note on why no faster method applies."""
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
