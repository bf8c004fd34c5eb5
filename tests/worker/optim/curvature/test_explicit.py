"""The block's matrix itself."""

import pytest
import torch

from tests.worker.optim.curvature.scenes import Scene
from worker.optim.curvature import explicit
from worker.optim.curvature.counting import Counter


@pytest.mark.parametrize("memory", [1 << 30, 1])
@pytest.mark.parametrize("name", ["autoencoder", "classifier", "functional"])
def test_matrix_is_the_dense_one(name: str, memory: int) -> None:
    """G_b equals the block of the dense matrix, made in one piece or in many."""
    scene = Scene.of(name)
    for block in scene.blocks:
        assert explicit.covered(scene.batch, block)
        matrix = explicit.gauss_newton_matrix(scene.batch, block, memory=memory)
        torch.testing.assert_close(matrix, scene.matrix(block), rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("name", ["autoencoder", "classifier"])
def test_counted_operations_are_torchs(name: str) -> None:
    """Making the matrix takes the operations that are said, within 5 %."""
    scene = Scene.of(name)
    for block in scene.blocks:
        with Counter() as counter:
            explicit.gauss_newton_matrix(scene.batch, block, memory=1 << 30)
        assert explicit.flops(scene.batch, block) == pytest.approx(counter.flops, rel=0.05)
