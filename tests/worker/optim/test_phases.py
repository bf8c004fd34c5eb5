"""Tests of the clock at the borders of an update's phases."""

import time

import pytest
import torch

from tests.worker.optim.cases import make
from worker.optim import BlockHessianFree, FirstOrder
from worker.optim.phases import Phases


def test_phases_are_told_apart() -> None:
    """Each phase has its own time, in order."""
    begun = time.perf_counter()
    phases = Phases(torch.device("cpu"))
    time.sleep(0.1)
    phases.mark()
    phases.mark()
    elapsed = time.perf_counter() - begun
    first, second = phases.seconds()
    assert first >= 0.1
    assert 0 <= second <= elapsed - first


def test_an_update_without_solves_has_no_time_of_curvature() -> None:
    """Adam tells the time of its gradient alone; a second-order update tells both."""
    case = make("autoencoder")
    first = FirstOrder(case.model, case.loss, torch.optim.Adam).step(case.inputs, case.targets)
    assert first.gradient_seconds
    assert first.curvature_seconds is None
    second = BlockHessianFree(case.model, case.loss, case.blocks, curvature_batch=8).step(case.inputs, case.targets)
    assert second.gradient_seconds
    assert second.curvature_seconds


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no CUDA device")
def test_on_cuda_a_phase_is_the_device_s_time() -> None:
    """Work that the host only hands over counts in the phase in which it was handed over, not where it is awaited."""
    device = torch.device("cuda")
    matrix = torch.rand(4096, 4096, device=device)
    matrix @ matrix  # loads the library
    torch.cuda.synchronize()
    phases = Phases(device)
    for _ in range(20):
        matrix = matrix @ matrix / 4096
    phases.mark()
    torch.cuda.synchronize()
    phases.mark()
    first, second = phases.seconds()
    assert first > 10 * second
