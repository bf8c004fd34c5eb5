"""How fast this machine trains, for estimates before any run of a network: one timed update of each built-in one."""

import time
from collections.abc import Mapping

import torch

from backend.schemas.catalog import DataSet
from worker.optim import FirstOrder
from worker.problems.data import mnist_5k
from worker.problems.problem import Problem

IMAGES = 16
"""few, so that a worker starts quickly; with more of them an update of dense layers is up to twice as efficient"""
FLOPS_PER_WEIGHT_AND_IMAGE = 6
"""of a gradient of dense layers, as `dashboard.launch.estimate` counts the work of an update"""


def update_speeds(problems: Mapping[str, Problem], device: torch.device) -> dict[str, float]:
    """Time an update of each built-in network with its default options, on random images.

    Args:
        problems: the networks by name. Those of packages are skipped: one may take long, or all of the memory.
        device: where they train.

    Returns:
        Floating-point operations per second by name, with the operations of an update counted as if all layers were
        dense.
    """
    with torch.random.fork_rng(devices=[]):
        return {
            name: _speed(problem, mnist_5k.SOURCE.info, device)
            for name, problem in problems.items()
            if type(problem).__module__.startswith("worker.problems.")
        }


def _speed(problem: Problem, data: DataSet, device: torch.device) -> float:
    model = problem.build(problem.options(), data).to(device)
    images = torch.rand(IMAGES, *data.shape, device=device)
    labels = torch.arange(IMAGES, device=device) % data.classes
    optimizer = FirstOrder(model, problem.loss, lambda named: torch.optim.Adam(named, lr=1e-3))
    inputs, targets = problem.inputs(images), problem.targets(images, labels)
    optimizer.step(inputs[:2], targets[:2])  # the first one also loads kernels
    began = time.perf_counter()
    optimizer.step(inputs, targets)  # it reads the loss, so that the device has finished
    seconds = time.perf_counter() - began
    weights = sum(p.numel() for p in model.parameters())
    return FLOPS_PER_WEIGHT_AND_IMAGE * weights * IMAGES / seconds
