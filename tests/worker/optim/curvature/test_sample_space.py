"""The space of the examples: its algebra is that of the parameters."""

import pytest

from tests.worker.optim.curvature.scenes import Scene, check_product, check_start
from worker.optim.curvature.counting import Counter
from worker.optim.curvature.sample_space import SampleSystem

NAMES = ["autoencoder", "classifier", "functional"]


def dense_steps(scene: Scene, index: int) -> list[int]:
    """The block's steps with parameters: all are dense layers here."""
    path = scene.batch.paths[scene.blocks[index].names]
    return [step for step, _, names in path.steps if names]


@pytest.mark.parametrize("damping", [0.0, 0.1])
@pytest.mark.parametrize("warm", [False, True])
@pytest.mark.parametrize("name", NAMES)
def test_algebra_is_that_of_the_parameters(name: str, warm: bool, damping: float) -> None:
    """Start, products, inner products and the method back agree with dense G, for every choice of layers."""
    scene = Scene.of(name)
    for index, block in enumerate(scene.blocks):
        steps = dense_steps(scene, index)
        for chosen in ({steps[0]}, {steps[-1]}, set(steps)):
            problem = scene.problem(block, warm=warm, damping=damping)
            system = SampleSystem(problem, scene.batch, scene.batch.output_hessian(block), frozenset(chosen))
            check_start(scene, problem, system)
            check_product(scene, problem, system)


@pytest.mark.parametrize("name", NAMES)
def test_counted_operations_are_torchs(name: str) -> None:
    """Set-up, products and finish take the operations that are said, within 5 %."""
    scene = Scene.of(name)
    for index, block in enumerate(scene.blocks):
        problem = scene.problem(block)
        with Counter() as counter:
            system = SampleSystem(
                problem, scene.batch, scene.batch.output_hessian(block), frozenset(dense_steps(scene, index))
            )
        assert system.setup_flops == pytest.approx(counter.flops, rel=0.05)
        with Counter() as counter:
            system.product(system.b, system.y)
        assert system.product_flops == pytest.approx(counter.flops, rel=0.05)
        with Counter() as counter:
            system.finish()
        assert system.finish_flops == pytest.approx(counter.flops, rel=0.05)
