"""Problems and data sets by name: built-in ones, those of plug-ins (entry points), and the user's data files."""

import logging
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from typing import Any, TypeVar

from backend.errors import RunFailed
from backend.schemas.catalog import Catalog, DataSet, ProblemInfo
from worker.problems.data import DataSource, cifar10, idx_data, mnist_5k, user_file
from worker.problems.problem import Problem

log = logging.getLogger(__name__)

T = TypeVar("T")

PROBLEMS = "blockhf.problems"
DATA = "blockhf.data"
BUILT_IN_DATA = (mnist_5k.SOURCE, idx_data.MNIST, idx_data.FASHION_MNIST, cifar10.SOURCE)


@dataclass(frozen=True)
class Registry:
    """The problems and data sets that this worker can train."""

    problems: Mapping[str, Problem]
    data: Mapping[str, DataSource]

    def problem(self, name: str) -> Problem:
        """Return a problem.

        Raises:
            RunFailed: there is none with this name.
        """
        return _find(self.problems, name, "problem")

    def source(self, name: str) -> DataSource:
        """Return a data set's source.

        Raises:
            RunFailed: there is none with this name.
        """
        return _find(self.data, name, "data set")

    def catalog(self) -> Catalog:
        """Describe all problems and data sets; skip a problem that cannot be described, with a warning."""
        infos = [source.info for source in self.data.values()]
        problems = []
        for name, problem in self.problems.items():
            try:
                problems.append(describe(problem, infos))
            except Exception as error:
                log.warning("skipped the problem %s: %s: %s", name, type(error).__name__, error)
        return Catalog(problems=problems, data=infos)


def describe(problem: Problem, data: Iterable[DataSet]) -> ProblemInfo:
    """Describe a problem for the launch form and the block editor.

    Raises:
        ValueError: it accepts none of the data sets, or its partition does not have each layer exactly once.
    """
    usable = [info for info in data if problem.accepts(info)]
    if not usable:
        raise ValueError("it accepts none of the data sets")
    layers = problem.layers(usable[0])
    if sorted(layer.name for layer in layers) != sorted(name for block in problem.partition for name in block):
        raise ValueError("its partition must have each of its layers exactly once")
    return ProblemInfo(
        name=problem.name,
        title=problem.title,
        summary=problem.summary,
        options=problem.options.model_json_schema(),
        layers=layers,
        partition=problem.partition,
        data=[info.name for info in usable],
        accuracy=problem.accuracy,
        loss_unit=problem.loss_unit,
        preset=problem.preset,
    )


def discover(points: Iterable[EntryPoint] | None = None, *, folder: Path | None = None) -> Registry:
    """Load the entry points `blockhf.problems` and `blockhf.data`; skip those that fail, with a warning.

    Args:
        points: the entry points; None: those of the installed packages.
        folder: folder of the user's data sets; None: there are none. A name that is already used is skipped.
    """
    found = [*entry_points(group=PROBLEMS), *entry_points(group=DATA)] if points is None else list(points)
    problems: list[Problem] = _load(found, PROBLEMS, Problem)
    data: dict[str, DataSource] = {}
    for source in [*BUILT_IN_DATA, *_load(found, DATA, DataSource), *(user_file.sources(folder) if folder else [])]:
        data.setdefault(source.info.name, source)
    return Registry(problems={problem.name: problem for problem in problems}, data=data)


def _load(points: Iterable[EntryPoint], group: str, kind: type) -> list[Any]:
    """Load the plug-ins of one group; skip those that fail or have another type."""
    loaded = []
    for point in points:
        if point.group != group:
            continue
        try:
            thing = point.load()
            if not isinstance(thing, kind):
                raise TypeError(f"it is not an instance of {kind.__name__}")
            loaded.append(thing)
        except Exception as error:
            log.warning("skipped the plug-in %s (%s): %s: %s", point.name, point.value, type(error).__name__, error)
    return loaded


def _find(things: Mapping[str, T], name: str, kind: str) -> T:
    try:
        return things[name]
    except KeyError:
        raise RunFailed(f"this worker has no {kind} {name}; it has {', '.join(sorted(things))}") from None
