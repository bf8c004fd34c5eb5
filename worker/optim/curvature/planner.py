"""Chooses how a block's system is solved: the method with the fewest predicted operations within the memory limit.

The unit of all predictions is one floating-point operation of a large matrix product; slower kinds of work are
converted by the constants below. They were fitted on a CPU, one thread. To measure again, run
`python -m tests.benchmarks.curvature` and compare the methods' times with `predicted_cost` of their blocks.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from worker.optim.blocks import Block
from worker.optim.curvature import explicit
from worker.optim.curvature.interfaces import Interface, build, interfaces
from worker.optim.curvature.rules.linear import LinearRule
from worker.optim.curvature.sample_space import SampleSystem
from worker.optim.curvature.systems import BlockProblem, FlatSystem, System
from worker.optim.curvature.traced_batch import LossCurvature, TracedBatch
from worker.optim.settings import ProductMethod

MEMORY = 1 << 29
"""memory that a method may use in addition to activations and vectors, by default [bytes]"""
_VECTOR = 130
"""conjugate gradient's own vector operations, per coordinate and iteration [operations of matrix products]: measured"""
_ENTRY = 25
"""reading an entry of a matrix in every product, its multiplication included [same unit]. Measured as 20 where the
matrix is in the cache; more here, so that of two methods that 20 predicts as equal on the LSTM the faster one is
chosen."""
_POINT = 60
"""multiplying one number element by element [same unit]: measured"""


@dataclass(frozen=True)
class Plan:
    """How to solve a block.

    Attributes:
        product_method: how G_b is multiplied.
        work: predicted operations of the whole solve, vector operations converted.
        interface: where the block ends; None: at the outputs.
        sampled: the dense layers in sample space.
        note: why a cheaper method is not used; empty where there is no reason.
    """

    product_method: ProductMethod
    work: float
    interface: Interface | None = None
    sampled: frozenset[int] = frozenset()
    note: str = ""


def plan(
    batch: TracedBatch,
    block: Block,
    *,
    product_method: str = ProductMethod.AUTO,
    iterations: int,
    warm: bool,
    memory: int = MEMORY,
    preconditioned: bool = False,
    bfloat16: bool = False,
) -> Plan:
    """Return the cheapest plan.

    Args:
        batch: the model linearized at S_c.
        block: the block.
        product_method: of which method; "auto": of all. Where it does not apply to the block, products are used.
        iterations: conjugate gradient's, at most.
        warm: whether the start costs a product.
        memory: what a method may use in addition to activations and vectors [bytes].
        preconditioned: whether residuals are preconditioned, which excludes sample space.
        bfloat16: whether products are to be in bfloat16, which excludes sample space and the matrix itself.
    """
    products = iterations + warm
    plans = list(_plans(batch, block, products, iterations, memory, product_method))
    cheapest = _cheapest(plans, product_method)
    if bfloat16 and cheapest.product_method in {ProductMethod.SAMPLES, ProductMethod.EXPLICIT}:
        rest = [p for p in plans if p.product_method in {ProductMethod.PRODUCTS, ProductMethod.INTERFACE}]
        note = f"method {cheapest.product_method} is not available in bfloat16"
        return replace(_cheapest(rest, ProductMethod.AUTO), note=note)
    if preconditioned and cheapest.product_method == ProductMethod.SAMPLES:
        rest = [p for p in plans if p.product_method != ProductMethod.SAMPLES]
        return replace(_cheapest(rest, ProductMethod.AUTO), note="the preconditioner is not available in sample space")
    return cheapest


def _cheapest(plans: Sequence[Plan], product_method: str) -> Plan:
    fitting = [p for p in plans if product_method in {ProductMethod.AUTO, p.product_method}]
    fitting = fitting or [p for p in plans if p.product_method == ProductMethod.PRODUCTS]
    return min(fitting, key=lambda p: p.work)


def system(
    batch: TracedBatch, problem: BlockProblem, chosen: Plan, *, memory: int = MEMORY, bfloat16: bool = False
) -> System:
    """Set the chosen system up.

    Args:
        batch: the model linearized at S_c.
        problem: what to solve.
        chosen: the plan of this block.
        memory: stacks of vectors are cut to stay near this size [bytes].
        bfloat16: whether products are computed in bfloat16.
    """
    block = problem.block
    if chosen.product_method == ProductMethod.EXPLICIT:
        matrix = explicit.gauss_newton_matrix(batch, block, memory=memory)
        flops = 2 * matrix.numel()

        def multiply(vector: Tensor, out: Tensor) -> None:
            torch.mv(matrix, vector, out=out)

        return FlatSystem(problem, multiply, lambda: flops, setup_flops=explicit.flops(batch, block))
    curvature: LossCurvature = batch.output_hessian(block)
    setup = 0
    if chosen.interface is not None:
        curvature = build(batch, block.names, chosen.interface, memory=memory)
        setup = chosen.interface.setup_flops
    if chosen.sampled:
        sampled = SampleSystem(problem, batch, curvature, chosen.sampled)
        sampled.setup_flops += setup
        return sampled
    product = batch.product_in_bfloat16 if bfloat16 else batch.product
    return FlatSystem(
        problem,
        lambda v, out: product(block, v, out, curvature=curvature),
        lambda: batch.product_flops(block, curvature=curvature),
        setup_flops=setup,
        eps=torch.finfo(torch.bfloat16).eps if bfloat16 else None,
    )


def _plans(
    batch: TracedBatch, block: Block, products: int, iterations: int, memory: int, method: str
) -> Iterator[Plan]:
    size, count = batch.linearization.outputs.element_size(), len(batch.targets)
    square_root = batch.has_square_root
    ends: list[Interface | None] = [None]
    ends += [e for e in interfaces(batch, block.names) if (e.narrow or square_root) and _bytes(batch, e) <= memory]
    for end in ends:
        setup, each = _end(batch, block, end)
        work = setup + products * each + iterations * _VECTOR * block.size
        yield Plan(ProductMethod.PRODUCTS if end is None else ProductMethod.INTERFACE, work, end)
        gains = {
            s: g
            for s, g in _gains(batch, block, products, iterations).items()
            if g > 0 or method == ProductMethod.SAMPLES
        }
        if gains and len(gains) * count**2 * size <= memory:
            yield Plan(ProductMethod.SAMPLES, work - sum(gains.values()), end, frozenset(gains))
    if square_root and explicit.covered(batch, block) and block.size**2 * size <= memory:
        entries = iterations * _VECTOR * block.size + products * _ENTRY * block.size**2
        making = explicit.flops(batch, block) + _POINT * explicit.points(batch, block)
        yield Plan(ProductMethod.EXPLICIT, making + entries)


def _end(batch: TracedBatch, block: Block, end: Interface | None) -> tuple[float, float]:
    """Return the work of setting an end up, and of a product that ends there."""
    linearization = batch.linearization
    path = batch.linearization.graph.path(block.names, end=None if end is None else end.step)
    passed = 2 * (linearization.tangent_flops(path) + _POINT * linearization.points(path))
    if end is None:
        return 0, passed
    return end.setup_flops + _POINT * end.setup_points, passed + _ENTRY * end.reads


def _gains(batch: TracedBatch, block: Block, products: int, iterations: int) -> dict[int, float]:
    """Return what sample space saves at each dense layer that could be there."""
    count = len(batch.targets)
    found = {}
    for step, _, names in batch.paths[block.names].steps:
        rule = batch.linearization.rules[step]
        if isinstance(rule, LinearRule) and "weight" in names and rule.x.dim() == 2:
            out, width = rule.weight.shape
            flat = products * 2 * rule.flops + iterations * _VECTOR * rule.weight.numel()
            gram = 2 * count * count
            sampled = gram * width + 3 * rule.flops + products * gram * out + iterations * 2 * _VECTOR * count * out
            found[step] = float(flat - sampled)
    return found


def _bytes(batch: TracedBatch, end: Interface) -> int:
    """Memory of an interface: M with the stack of tangents it is made of, or R."""
    outputs = batch.linearization.outputs
    stack = outputs.numel() * end.width if end.narrow else 0
    return (end.entries + stack) * outputs.element_size()
