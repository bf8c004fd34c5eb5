"""Tests of how settings become an optimizer."""

import logging
from importlib.metadata import EntryPoint
from typing import Any

import pytest

from backend.errors import RunFailed
from backend.schemas.optimizer_registry import OPTIMIZERS, UnavailableOptimizer
from backend.schemas.optimizers import Adam, AdamW, BlockHessianFree, HessianFree, OptimizerSettings, Sgd
from tests.examples.sign_sgd.settings import SignSgd
from worker import optim
from worker.problems.autoencoder import PROBLEM, AutoencoderOptions
from worker.problems.data.mnist_5k import INFO
from worker.training import optimizer_factory
from worker.training.optimizer_factory import FACTORIES, make_optimizer

CASES: list[tuple[OptimizerSettings, dict[str, object]]] = [
    (
        Adam(learning_rate=0.02, beta1=0.8, beta2=0.95, eps=1e-5),
        {"lr": 0.02, "betas": (0.8, 0.95), "eps": 1e-5, "weight_decay": 0},
    ),
    (
        AdamW(learning_rate=0.02, beta1=0.8, beta2=0.95, eps=1e-5, weight_decay=0.3),
        {"lr": 0.02, "betas": (0.8, 0.95), "eps": 1e-5, "weight_decay": 0.3},
    ),
    (Sgd(learning_rate=0.02, momentum=0.7), {"lr": 0.02, "momentum": 0.7}),
    (
        HessianFree(
            learning_rate=0.2, damping=0.3, max_cg_iterations=7, warm_start=0.5, cg_stop="martens", cg_tolerance=0.01,
            adaptive_damping=True, line_search=True,
        ),
        {
            "lr": 0.2, "damping": 0.3, "max_cg_iterations": 7, "warm_start": 0.5, "cg_stop": "martens",
            "cg_tolerance": 0.01, "adaptive_damping": True, "backtracking": False, "line_search": True,
            "preconditioner": False,
        },
    ),
    (
        BlockHessianFree(
            learning_rate=0.4, damping=0.1, max_cg_iterations=3, warm_start=0.0, product_method="products",
            product_precision="bfloat16", memory_limit=7, backtracking=True, preconditioner=True,
        ),
        {
            "lr": 0.4, "damping": 0.1, "max_cg_iterations": 3, "warm_start": 0.0, "cg_stop": "iterations",
            "cg_tolerance": 5e-4, "adaptive_damping": False, "backtracking": True, "line_search": False,
            "preconditioner": True,
        },
    ),
]  # fmt: skip


def made(chosen: OptimizerSettings) -> Any:
    """Make the optimizer of a tiny autoencoder with its own blocks."""
    model = PROBLEM.build(AutoencoderOptions(hidden_1=2, hidden_2=2, hidden_3=2, code=2), INFO)
    return make_optimizer(chosen, model, PROBLEM.loss, PROBLEM.partition)


def test_every_optimizer_has_a_factory_and_a_case() -> None:
    """The backend's and the worker's tables agree, and each optimizer's settings are tested here."""
    assert FACTORIES.keys() == OPTIMIZERS.keys() == {chosen.kind for chosen, _ in CASES}


@pytest.mark.parametrize(("chosen", "settings"), CASES, ids=lambda value: getattr(value, "kind", ""))
def test_every_setting_reaches_the_optimizer(chosen: OptimizerSettings, settings: dict[str, object]) -> None:
    """Each setting of the specification is the optimizer's, in every group."""
    optimizer = made(chosen)
    for group in optimizer.state_dict()["param_groups"]:
        assert {name: group[name] for name in settings} == settings
    if isinstance(chosen, HessianFree | BlockHessianFree):
        for name in ("curvature_batch", "product_method", "memory_limit", "product_precision"):
            assert getattr(optimizer.settings, name) == getattr(chosen, name)


def test_blocks_may_have_a_damping_each() -> None:
    """A damping per block goes to its block; as many are needed as there are blocks."""
    groups = made(BlockHessianFree(block_damping=[0.5, 1e-3])).param_groups
    assert [group["damping"] for group in groups] == [0.5, 1e-3]
    with pytest.raises(optim.PartitionError):
        made(BlockHessianFree(block_damping=[1, 2, 3]))


def test_an_optimizer_that_is_not_installed_is_named() -> None:
    """A run of a package's optimizer fails with its name where the worker lacks the package."""
    with pytest.raises(RunFailed, match="'elsewhere'"):
        made(OptimizerSettings.model_construct(kind="elsewhere"))
    with pytest.raises(RunFailed, match="'elsewhere'"):
        made(UnavailableOptimizer(kind="elsewhere"))


@pytest.mark.parametrize(
    "values", [["tests.examples.missing:make"], [], ["tests.examples.sign_sgd.factory:make", "another:make"]]
)
def test_a_factory_that_does_not_load_hurts_no_other(
    values: list[str], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """The worker offers the other optimizers, and names this one; a built-in factory is never replaced."""

    def points(*, group: str, name: str) -> list[EntryPoint]:
        return [EntryPoint(name, value, group) for value in values]

    monkeypatch.setattr(optimizer_factory, "entry_points", points)
    monkeypatch.setitem(OPTIMIZERS, "sign", SignSgd)
    with caplog.at_level(logging.WARNING):
        assert optimizer_factory.trainable_kinds() == [*FACTORIES]
    assert len(caplog.records) == 1
    with pytest.raises(RunFailed, match="'sign'"):
        made(SignSgd())
