"""Chooses how a block's system is solved: the way that is predicted to take the fewest operations within the memory."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from worker.optim.blocks import Block
from worker.optim.curvature import explicit
from worker.optim.curvature.interfaces import Head, Interface, build, interfaces
from worker.optim.curvature.rules.linear import LinearRule
from worker.optim.curvature.sample_space import SampleSystem
from worker.optim.curvature.systems import FlatSystem, System, Task
from worker.optim.curvature.traced_model import WrittenBatch

WAYS = ("auto", "products", "interface", "samples", "explicit", "generic")
MEMORY = 1 << 29
"""bytes that a way may take beside activations and vectors, by default"""
_VECTOR = 130
"""what conjugate gradient's own steps cost per coordinate and iteration, in operations of matrix products: measured"""
_ENTRY = 25
"""what reading an entry of a matrix in every product costs, its multiplication included: measured as 20 in the cache;
more, so that the LSTM's two ways that 20 predicts as equal fall to the one that is faster there"""

_POINT = 60
"""what a number multiplied element by element costs, measured"""


@dataclass(frozen=True)
class Plan:
    """How to solve a block: layers in sample space, where the block ends (None: at the outputs), or its matrix.

    work: predicted operations of the whole solve, vector operations converted. note: why not a cheaper way.
    """

    way: str
    work: float
    interface: Interface | None = None
    sampled: frozenset[int] = frozenset()
    note: str = ""


def plan(
    batch: WrittenBatch,
    block: Block,
    *,
    way: str = "auto",
    iterations: int,
    warm: bool,
    memory: int = MEMORY,
    preconditioned: bool = False,
    rounded: bool = False,
) -> Plan:
    """Return the cheapest plan of a way; "auto": of all ways. A way that does not serve the block gives products.

    iterations: conjugate gradient's, at most; warm: whether a start costs a product; preconditioned: whether residuals
    are divided weight by weight, which sample space cannot do: what it would have served goes the next cheapest way.
    rounded: whether products are to be in bfloat16, which sample space and the matrix itself never are; likewise.
    """
    products = iterations + warm
    plans = list(_plans(batch, block, products, iterations, memory, way))
    cheapest = _cheapest(plans, way)
    if rounded and cheapest.way in {"samples", "explicit"}:
        other = _cheapest([p for p in plans if p.way in {"products", "interface"}], "auto")
        return replace(other, note=f"the way {cheapest.way} is not computed in bfloat16")
    if preconditioned and cheapest.way == "samples":
        other = _cheapest([p for p in plans if p.way != "samples"], "auto")
        return replace(other, note="sample space cannot carry the preconditioner")
    return cheapest


def _cheapest(plans: Sequence[Plan], way: str) -> Plan:
    serving = [p for p in plans if way in {"auto", p.way}] or [p for p in plans if p.way == "products"]
    return min(serving, key=lambda p: p.work)


def system(batch: WrittenBatch, task: Task, chosen: Plan, *, memory: int = MEMORY, rounded: bool = False) -> System:
    """Set the chosen system up; rounded: with products in bfloat16."""
    block = task.block
    if chosen.way == "explicit":
        matrix = explicit.gauss_newton_matrix(batch, block, memory=memory)
        flops = 2 * matrix.numel()

        def multiply(vector: Tensor, out: Tensor) -> None:
            torch.mv(matrix, vector, out=out)

        return FlatSystem(task, multiply, lambda: flops, setup_flops=explicit.flops(batch, block))
    head: Head = batch.head(block)
    setup = 0
    if chosen.interface is not None:
        head = build(batch, block.names, chosen.interface, memory=memory)
        setup = chosen.interface.setup_flops
    if chosen.sampled:
        sampled = SampleSystem(task, batch, head, chosen.sampled)
        sampled.setup_flops += setup
        return sampled
    product = batch.rounded_product if rounded else batch.product
    return FlatSystem(
        task,
        lambda v, out: product(block, v, out, head=head),
        lambda: batch.product_flops(block, head=head),
        setup_flops=setup,
        eps=torch.finfo(torch.bfloat16).eps if rounded else None,
    )


def _plans(batch: WrittenBatch, block: Block, products: int, iterations: int, memory: int, way: str) -> Iterator[Plan]:
    size, count = batch.linearization.outputs.element_size(), len(batch.targets)
    rooted = batch.rooted
    ends: list[Interface | None] = [None]
    ends += [e for e in interfaces(batch, block.names) if (e.narrow or rooted) and _bytes(batch, e) <= memory]
    for end in ends:
        setup, each = _end(batch, block, end)
        work = setup + products * each + iterations * _VECTOR * block.size
        yield Plan("products" if end is None else "interface", work, end)
        gains = {s: g for s, g in _gains(batch, block, products, iterations).items() if g > 0 or way == "samples"}
        if gains and len(gains) * count**2 * size <= memory:
            yield Plan("samples", work - sum(gains.values()), end, frozenset(gains))
    if rooted and explicit.covered(batch, block) and block.size**2 * size <= memory:
        entries = iterations * _VECTOR * block.size + products * _ENTRY * block.size**2
        making = explicit.flops(batch, block) + _POINT * explicit.points(batch, block)
        yield Plan("explicit", making + entries)


def _end(batch: WrittenBatch, block: Block, end: Interface | None) -> tuple[float, float]:
    """Return the work of setting an end up, and of a product that ends there."""
    linearization = batch.linearization
    path = batch.source.graph.path(block.names, head=None if end is None else end.step)
    passed = 2 * (linearization.tangent_flops(path) + _POINT * linearization.points(path))
    if end is None:
        return 0, passed
    return end.setup_flops + _POINT * end.setup_points, passed + _ENTRY * end.reads


def _gains(batch: WrittenBatch, block: Block, products: int, iterations: int) -> dict[int, float]:
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


def _bytes(batch: WrittenBatch, end: Interface) -> int:
    """Memory of an interface: M with the stack of tangents it is made of, or R."""
    outputs = batch.linearization.outputs
    stack = outputs.numel() * end.width if end.narrow else 0
    return (end.entries + stack) * outputs.element_size()
