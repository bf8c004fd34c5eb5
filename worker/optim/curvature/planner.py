"""Chooses how a block's system is solved: the method with the fewest predicted operations within the memory limit.

The unit of all predictions is one floating-point operation of a large matrix product [flop]. Slower kinds of work are
converted by the constants below. They were fitted on an x86 CPU with AVX-512, one thread of torch, float32. To measure
again, run `python -m tests.benchmarks.curvature`, compare the methods' times with `predicted_cost` of their blocks, and
change a constant until the ratios agree.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from worker.optim.blocks import Block
from worker.optim.curvature import explicit
from worker.optim.curvature.interfaces import Interface, build, interfaces
from worker.optim.curvature.rules.linear import LinearRule
from worker.optim.curvature.sample_space import BYTES_PER_ENTRY, SampleSystem, application_flops
from worker.optim.curvature.systems import BlockProblem, FlatSystem, System
from worker.optim.curvature.traced_batch import LossCurvature, TracedBatch
from worker.optim.settings import ProductMethod

MEMORY = 1 << 29
"""memory that a method may use in addition to activations and vectors, by default [bytes]"""
_VECTOR = 130
"""conjugate gradient's own vector operations, per coordinate and iteration [flop]"""
_ENTRY = 25
"""reading an entry of a matrix in a product, its multiplication included [flop]. Measured as 20 where the matrix is in
the cache; higher here, because 20 predicts two methods as equal on the LSTM, and 25 the measured order."""
_POINT = 60
"""multiplying one number element by element [flop]"""
_WIDE = 2
"""an operation in float64, relative to one in float32: twice as many bytes, half as many numbers per register"""
_EIGEN = 20
"""eigenvalues and eigenvectors of an N x N matrix in float64 [N^3 flop]"""


@dataclass(frozen=True)
class Plan:
    """How to solve a block.

    Attributes:
        product_method: how G_b is multiplied.
        work: predicted work of the whole solve, vector operations converted [flop].
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
        iterations: expected iterations of conjugate gradient.
        warm: whether the start costs a product.
        memory: what a method may use in addition to activations and vectors [bytes].
        preconditioned: whether residuals are preconditioned, which excludes sample space.
        bfloat16: whether products are to be in bfloat16, which excludes sample space and the matrix itself.

    Returns:
        The plan; `note` says why a cheaper method is not used.
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
    """Prepare the block's system for conjugate gradient.

    Args:
        batch: the model linearized at S_c.
        problem: what to solve.
        chosen: the plan of this block.
        memory: stacks of vectors are cut to stay near this size [bytes].
        bfloat16: whether products are computed in bfloat16.

    Returns:
        The system, with its set-up done.
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
    rank = batch.rank(memory)
    ends: list[Interface | None] = [None]
    found = interfaces(batch, block.names, rank=rank)
    ends += [e for e in found if (e.narrow or rank) and _bytes(batch, e) <= memory]
    for end in ends:
        setup, each = _end(batch, block, end)
        work = setup + products * each + iterations * _VECTOR * block.size
        yield Plan(ProductMethod.PRODUCTS if end is None else ProductMethod.INTERFACE, work, end)
        gains = {
            s: g
            for s, g in _gains(batch, block, products, iterations).items()
            if g > 0 or method == ProductMethod.SAMPLES
        }
        if gains and len(gains) * count**2 * BYTES_PER_ENTRY <= memory:
            yield Plan(ProductMethod.SAMPLES, work - sum(gains.values()), end, frozenset(gains))
    if rank and explicit.covered(batch, block) and block.size**2 * size <= memory:
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
            rank = min(count, width + ("bias" in names))
            flat = products * 2 * rule.flops + iterations * _VECTOR * rule.weight.numel()
            setup = _WIDE * (3 * rule.flops + 2 * count * (count * width + 3 * rank * out))
            setup += _WIDE * (count**3 if rank == count else _EIGEN * count**3)
            each = 2 * products * application_flops(count, rank, out) + iterations * _VECTOR * rank * out
            found[step] = float(flat - setup - each)
    return found


def _bytes(batch: TracedBatch, end: Interface) -> int:
    """Memory of an interface: M with the stack of tangents it is made of and their products with H_l, or R."""
    outputs = batch.linearization.outputs
    stack = 3 * outputs.numel() * end.width if end.narrow else 0
    return (end.entries + stack) * outputs.element_size()
