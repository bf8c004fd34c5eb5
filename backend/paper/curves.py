"""Curves of an experiment's runs, read from the database or a file; verdicts and figures use them."""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from backend.formats import parquet
from backend.schemas.experiments import ExperimentSpec, RunConfig, StoredSpec
from backend.schemas.optimizer_registry import Optimizer
from backend.schemas.runs import Experiment, RunStatus

FIELDS = ("epoch", "seconds", "cpu_seconds", "cost", "train_loss", "test_loss", "test_accuracy")
COLUMNS = ("update", *FIELDS)
MAX_POINTS = 4096
"""Maximum number of points per run. A longer run is thinned to buckets of 2^k updates, whose losses are means."""

Series = Callable[..., Mapping[str, Mapping[str, Any]]]


@dataclass(frozen=True)
class Curve:
    """Measures of one run at the updates after which it was evaluated.

    Attributes:
        columns: `update`, `epoch`, `seconds` (training time), `cpu_seconds` (processor time; None if it was not
            reported), `cost` (gradients) and the measures; equal lengths.
    """

    config: RunConfig
    status: RunStatus
    columns: Mapping[str, list[Any]]
    environment: Mapping[str, str] = field(default_factory=dict)

    def last(self, name: str) -> float | None:
        """Return the last value of a column; None if it is empty."""
        values = self.columns[name]
        return values[-1] if values else None

    def first_at(self, target: float, axis: str) -> float | None:
        """Return the position on an axis at which the train loss first reaches a target; None if it never does."""
        for value, position in zip(self.columns["train_loss"], self.columns[axis], strict=True):
            if value is not None and value <= target:
                return float(position)
        return None


@dataclass(frozen=True)
class Results:
    """An experiment with the curves of its runs, in the order of the specification."""

    spec: StoredSpec
    curves: Sequence[Curve]

    def of(self, optimizer: Optimizer) -> list[Curve]:
        """Return the curves of one optimizer, by seed."""
        return sorted((c for c in self.curves if c.config.optimizer == optimizer), key=lambda c: c.config.seed)

    @property
    def ended(self) -> int:
        """Number of runs that have ended."""
        return sum(curve.status.final for curve in self.curves)

    @property
    def environment(self) -> dict[str, str]:
        """Machine and versions; different values are joined by "or"."""
        names = dict.fromkeys(name for curve in self.curves for name in curve.environment)
        values = {name: [c.environment[name] for c in self.curves if name in c.environment] for name in names}
        return {name: " or ".join(dict.fromkeys(of_name)) for name, of_name in values.items()}


def collect(experiment: Experiment, series: Series) -> Results:
    """Read the curves of an experiment.

    Args:
        experiment: the experiment.
        series: function with the signature of `Client.series`.
    """
    curves = []
    for run in experiment.runs:
        bucket = 1
        while run.summary.updates > bucket * MAX_POINTS:
            bucket *= 2
        read = series([run.id], bucket=bucket, fields=FIELDS)[run.id]
        curves.append(Curve(run.config, run.status, _evaluated(read), run.environment))
    return Results(experiment.spec, curves)


def _evaluated(read: Mapping[str, Any]) -> dict[str, list[Any]]:
    """Return the columns at the updates after which the run was evaluated."""
    kept = [i for i, value in enumerate(read["train_loss"]) if value is not None]
    return {name: [read[name][i] for i in kept] for name in COLUMNS}


def write(results: Results) -> bytes:
    """Write results, with specification and configurations, as a Parquet file that `read` can read."""
    numbers = [number for number, curve in enumerate(results.curves) for _ in curve.columns["update"]]
    columns = [[value for curve in results.curves for value in curve.columns[name]] for name in COLUMNS]
    kinds = {"run": "int16"} | {name: "int32" if name == "update" else "float64" for name in COLUMNS}
    runs = [
        {"config": c.config.model_dump(mode="json"), "status": c.status.value, "environment": dict(c.environment)}
        for c in results.curves
    ]
    document = json.dumps({"spec": results.spec.model_dump(mode="json"), "runs": runs})
    return parquet.write(kinds, {"blockhf": document}, [[numbers, *columns]])


def read(paths: Sequence[Path]) -> list[Results]:
    """Read files of results that `write` wrote."""
    return [_results(table) for table in parquet.read(paths)]


def _results(table: parquet.Table) -> Results:
    document = json.loads(table.metadata["blockhf"])
    owners = table.columns["run"]
    columns = {
        name: table.columns.get(name, [None] * len(owners)) for name in COLUMNS
    }  # an older file may lack newer columns
    curves = []
    for number, run in enumerate(document["runs"]):
        kept = [i for i, owner in enumerate(owners) if owner == number]
        values = {name: [columns[name][i] for i in kept] for name in COLUMNS}
        config = RunConfig.model_validate(run["config"])
        curves.append(Curve(config, RunStatus(run["status"]), values, run["environment"]))
    return Results(ExperimentSpec.model_validate(document["spec"]), curves)
