"""The losses that a run's curves show: over whole subsets, in the published unit."""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from worker.optim import native
from worker.problems.data import Split
from worker.problems.problem import Problem

CHUNK = 1000


@dataclass(frozen=True)
class Measures:
    """Mean loss over a subset, and the fraction of its images classified correctly (None without classes)."""

    loss: float
    accuracy: float | None


@torch.no_grad()
def measure(problem: Problem, model: nn.Module, split: Split, dtype: torch.dtype) -> Measures:
    """Evaluate a model over a whole split, in chunks, in evaluation mode and without gradients.

    The mean is over images; chunks are weighted by their size and summed in float64. Squared error is the sum over an
    image's outputs, without 1/2: the unit in which autoencoder results are published.

    Args:
        problem: provides loss, inputs and targets.
        model: the network; its modules return to their mode afterwards.
        split: the images.
        dtype: floating-point type of the model.
    """
    modes = [(module, module.training) for module in model.modules()]
    model.eval()
    total = torch.zeros((), dtype=torch.float64, device=split.labels.device)
    correct = torch.zeros((), dtype=torch.int64, device=split.labels.device)
    for start in range(0, len(split), CHUNK):
        images, labels = split.batch(slice(start, start + CHUNK), dtype)
        with native.single_backward():
            outputs = model(problem.inputs(images))
        total += problem.loss.value(outputs, problem.targets(images, labels)).double() * len(labels)
        correct += _correct(problem, outputs, labels)
    for module, mode in modes:
        module.train(mode)  # in the order of `modules`: parents first, since they also set their children
    return Measures(loss=float(total) / len(split), accuracy=int(correct) / len(split) if problem.accuracy else None)


def _correct(problem: Problem, outputs: Tensor, labels: Tensor) -> Tensor | int:
    return (outputs.argmax(1) == labels).sum() if problem.accuracy else 0
