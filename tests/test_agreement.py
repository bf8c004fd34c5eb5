"""What backend and worker each compute from the same configuration, because only one of them may load torch."""

import pytest
import torch

from backend.catalog.partitions import layer_sizes
from backend.catalog.validation import check_catalog, plan
from backend.schemas.catalog import ProblemInfo
from worker.optim import layer_names
from worker.problems.registry import discover

REGISTRY = discover()
CATALOG = REGISTRY.catalog()
DATA = {data.name: data for data in CATALOG.data}
PAIRS = [(info, name) for info in CATALOG.problems for name in info.data]


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
