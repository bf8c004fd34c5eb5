"""The block's matrix itself, for small blocks: G_b = R' R, R the rows of S' J_b, one per example and root column."""

from itertools import pairwise

import torch
from torch import Tensor

from worker.optim.blocks import Block
from worker.optim.curvature.graph import Path
from worker.optim.curvature.traced_batch import TracedBatch

BANDS = 6


def gauss_newton_matrix(batch: TracedBatch, block: Block, *, memory: int) -> Tensor:
    """Return G_b (P x P), in the order of the block's parameters, from one stacked backward pass.

    H_l = sum of S_k S_k', k = 1 .. K; the backward pass from S_k gives the rows of S_k' J_b, example by example; with
    all K N rows as R, G_b = R' R.

    Args:
        batch: the model linearized at S_c (N examples).
        block: b, with P parameters.
        memory: the stack of K is cut so that a chunk's rows stay near this size [bytes].
    """
    path = batch.paths[block.names]
    root = batch.square_root
    matrix = block.vector().new_zeros(block.size, block.size)
    each = 2 * block.size * len(batch.targets) * matrix.element_size()
    for part in root.split_with_sizes(batch.linearization.stack_sizes(path, len(root), memory=memory, each=each)):
        _add_square(matrix, _rows(batch, block, path, part).flatten(0, 1))
    return matrix.tril_().add_(matrix.tril(-1).t())


def _bands(size: int) -> list[tuple[int, int]]:
    """Cut the matrix into bands of rows; each is filled up to its diagonal, since G_b is symmetric."""
    edges = [size * i // BANDS for i in range(BANDS + 1)]
    return [(a, b) for a, b in pairwise(edges) if b > a]


def _add_square(matrix: Tensor, rows: Tensor) -> None:
    """Add R' R to the lower triangle."""
    for start, end in _bands(len(matrix)):
        band = matrix[start:end, :end]
        torch.addmm(band, rows[:, start:end].t(), rows[:, :end], out=band)


def flops(batch: TracedBatch, block: Block) -> int:
    """Operations of computing the matrix.

    Args:
        batch: the model linearized at S_c.
        block: the block.
    """
    path = batch.paths[block.names]
    rules = batch.linearization.rules
    passes = sum(
        rules[step].part_flops(inputs=any(inputs), weights=False) + bool(names) * rules[step].row_flops
        for step, inputs, names in path.steps
    )
    square = sum((end - start) * end for start, end in _bands(block.size))
    return batch.columns * (passes + 2 * len(batch.targets) * square)


def points(batch: TracedBatch, block: Block) -> int:
    """Numbers that computing the matrix multiplies element by element, or writes as rows.

    Args:
        batch: the model linearized at S_c.
        block: the block.
    """
    passed = batch.linearization.points(batch.paths[block.names])
    return batch.columns * (passed + len(batch.targets) * block.size)


def covered(batch: TracedBatch, block: Block) -> bool:
    """Whether every layer of the block has rows.

    Args:
        batch: the model linearized at S_c.
        block: the block.
    """
    return all(batch.linearization.rules[step].has_rows for step, _, names in batch.paths[block.names].steps if names)


def _rows(batch: TracedBatch, block: Block, path: Path, seeds: Tensor) -> Tensor:
    """Return K x N x P, the gradients by the block's parameters, example by example."""
    collected = {step: seeds for step, _, names in path.steps if names}
    batch.linearization.backward(path, seeds, {}, cotangents=collected)
    parts: dict[str, Tensor] = {}
    for step, _, names in path.steps:
        if names:
            rows = batch.linearization.rules[step].rows(collected[step], tuple(names))
            parts |= {full: rows[local].flatten(2) for local, full in names.items()}
    found = [parts[name] for name in block.names]
    if all(part.stride(1) == 1 for part in found):  # examples last in memory: moved as they lie
        return torch.cat([part.permute(2, 0, 1) for part in found]).permute(1, 2, 0)
    return torch.cat(found, 2)
