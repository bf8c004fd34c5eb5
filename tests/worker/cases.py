"""Small runs that several tests train."""

from importlib.metadata import EntryPoint
from pathlib import Path
from typing import Any

from backend.catalog.validation import resolve_blocks
from backend.schemas.experiments import Budget, Evaluation, Problem, RunConfig
from backend.schemas.measures import Update
from backend.schemas.optimizer_registry import Optimizer
from backend.schemas.optimizers import Adam, BlockHessianFree, HessianFree
from worker.problems.registry import PROBLEMS, Registry, discover
from worker.training.trainer import Outcome, train

SMALL = {"hidden_1": 12, "hidden_2": 8, "hidden_3": 6, "code": 3}
OPTIMIZERS: dict[str, Optimizer] = {
    "adam": Adam(gradient_batch=30),
    "hf": HessianFree(gradient_batch=30, curvature_batch=10, max_cg_iterations=4),
    "bhf": BlockHessianFree(gradient_batch=30, curvature_batch=10, max_cg_iterations=4),
}
CLASSIFIER = Problem(name="classifier", train_size=100, test_size=40)
PACED = Problem(name="paced", train_size=100, test_size=40)
PLUGINS = ["classifier", "zero", "slow_evaluation", "slow_gradient", "paced", "crash"]
NOWHERE = Path("nowhere")
CLOCKS = {"seconds", "cpu_seconds", "gradient_seconds", "curvature_seconds", "evaluation_seconds"}
"""the figures of a row that may differ between two trainings of one run"""


class Rows:
    """A report that collects start and rows."""

    def __init__(self) -> None:
        self.started: dict[str, Any] = {}
        self.rows: list[Update] = []

    def start(self, **what: Any) -> None:
        """Store the properties of the run."""
        self.started = what

    def update(self, row: Update) -> None:
        """Store a row."""
        self.rows.append(row)


def small_run(optimizer: Optimizer, **changes: Any) -> RunConfig:
    """Configure a small autoencoder on 100 digits, 7 updates, one thread."""
    problem = Problem(options=SMALL, train_size=100, test_size=40)
    return RunConfig(
        **(
            {"problem": problem, "optimizer": optimizer, "budget": Budget(updates=7), "threads": 1}
            | {"evaluation": Evaluation(train_subset=50)}
            | changes
        )
    )


def registry() -> Registry:
    """Join the built-in problems and the tests' plug-ins."""
    plugins = [EntryPoint(name, f"tests.worker.problems.plugin:{name.upper()}", PROBLEMS) for name in PLUGINS]
    return Registry(problems={**discover().problems, **discover(plugins).problems}, data=discover().data)


def planned_blocks(config: RunConfig, registry: Registry) -> list[list[str]]:
    """Return the blocks that the backend would plan for a run."""
    return resolve_blocks(config.optimizer, config.problem, registry.catalog())


def trained(config: RunConfig, *, cancel_after: int | None = None) -> tuple[Outcome, Rows]:
    """Train a run in this process."""
    rows, known = Rows(), registry()
    outcome = train(
        config, rows, lambda: len(rows.rows) == cancel_after, blocks=planned_blocks(config, known), registry=known,
        folder=NOWHERE,
    )  # fmt: skip
    return outcome, rows
