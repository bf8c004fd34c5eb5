"""What backend and worker each compute from the same configuration, because only one of them may load torch."""

import random
from itertools import pairwise

import pytest
import torch
from torch import nn

from backend.catalog.partitions import equal_blocks, layer_sizes
from backend.catalog.validation import check_catalog, plan
from backend.schemas.catalog import ProblemInfo
from worker.optim import equal_partition, layer_names
from worker.problems.registry import discover

REGISTRY = discover()
CATALOG = REGISTRY.catalog()
DATA = {data.name: data for data in CATALOG.data}
PAIRS = [(info, name) for info in CATALOG.problems for name in info.data]


@pytest.mark.parametrize("seed", range(20))
def test_both_cut_equal_blocks_alike(seed: int) -> None:
    """Blocks of equal size, which a user sees before the launch, are the ones that are trained."""
    draw = random.Random(seed)
    widths = [draw.choice([1, 2, 2, 3, 5, 40]) for _ in range(draw.randint(2, 9))]
    model = nn.Sequential(*(nn.Linear(a, b) for a, b in pairwise(widths)))
    sizes = {name: sum(p.numel() for p in model.get_submodule(name).parameters()) for name in layer_names(model)}
    for count in range(1, len(sizes) + 1):
        assert equal_blocks(sizes, count) == equal_partition(model, count)


@pytest.mark.parametrize(("info", "name"), PAIRS, ids=[f"{info.name}-{name}" for info, name in PAIRS])
def test_the_catalog_knows_the_networks_sizes(info: ProblemInfo, name: str) -> None:
    """Layers and parameter counts that follow from the catalog are those of the network that the worker builds."""
    problem = REGISTRY.problem(info.name)
    with torch.device("meta"):
        model = problem.build(problem.options(), DATA[name])
    built = {
        layer: sum(p.numel() for p in model.get_submodule(layer).parameters(recurse=False))
        for layer in layer_names(model)
    }
    assert layer_sizes(info, DATA[name], {}) == built


def test_what_the_worker_offers_can_be_launched() -> None:
    """The catalog is complete, and every problem's preset passes the backend's checks."""
    check_catalog(CATALOG)
    for info in CATALOG.problems:
        assert plan(info.preset, CATALOG).runs
