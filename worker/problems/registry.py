"""Problems and data sets by name: the built-in ones, and what plug-ins add by entry point."""

import logging
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from typing import Any, TypeVar

from backend.errors import RunFailed
from backend.schemas.catalog import Catalog, DataSet, ProblemInfo
from worker.problems.data import Source, cifar10, fashion_mnist, mnist, mnist_5k, user_file
from worker.problems.problem import Problem

log = logging.getLogger(__name__)

T = TypeVar("T")

PROBLEMS = "blockhf.problems"
DATA = "blockhf.data"
BUILT_IN_DATA = (mnist_5k.SOURCE, mnist.SOURCE, fashion_mnist.SOURCE, cifar10.SOURCE)


@dataclass(frozen=True)
class Registry:
    """What this worker can train."""

    problems: Mapping[str, Problem]
    data: Mapping[str, Source]

    def problem(self, name: str) -> Problem:
        """Find a problem.

        Raises:
            RunFailed: there is none of that name.
        """
        return _find(self.problems, name, "problem")

    def source(self, name: str) -> Source:
        """Find a data set's source.

        Raises:
            RunFailed: there is none of that name.
        """
        return _find(self.data, name, "data set")

    def catalog(self) -> Catalog:
        """Describe everything; a problem that cannot be described is left out, with a warning."""
        infos = [source.info for source in self.data.values()]
        problems = []
        for name, problem in self.problems.items():
            try:
                problems.append(describe(problem, infos))
            except Exception as error:
                log.warning("the problem %s is left out: %s: %s", name, type(error).__name__, error)
        return Catalog(problems=problems, data=infos)


def describe(problem: Problem, data: Iterable[DataSet]) -> ProblemInfo:
    """Say what the block editor and the options' form need to know of a problem.

    Raises:
        ValueError: it can use none of the data sets, or its blocks are not its layers.
    """
    usable = [info for info in data if problem.accepts(info)]
    if not usable:
        raise ValueError("it can use none of the data sets")
    layers = problem.layers(usable[0])
    if sorted(layer.name for layer in layers) != sorted(name for block in problem.partition for name in block):
        raise ValueError("the blocks of its partition do not hold each of its layers once")
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
    """Load the entry points `blockhf.problems` and `blockhf.data`; one that fails is left out, with a warning.

    Args:
        points: the entry points; by default those of the installed packages.
        folder: where a user's own data sets lie, if anywhere; they cannot take the name of another one.
    """
    found = [*entry_points(group=PROBLEMS), *entry_points(group=DATA)] if points is None else list(points)
    problems: list[Problem] = _load(found, PROBLEMS, Problem)
    data: dict[str, Source] = {}
    for source in [*BUILT_IN_DATA, *_load(found, DATA, Source), *(user_file.sources(folder) if folder else [])]:
        data.setdefault(source.info.name, source)
    return Registry(problems={problem.name: problem for problem in problems}, data=data)


def _load(points: Iterable[EntryPoint], group: str, kind: type) -> list[Any]:
    """Load the plug-ins of one group that can be loaded and are instances of the kind."""
    loaded = []
    for point in points:
        if point.group != group:
            continue
        try:
            thing = point.load()
            if not isinstance(thing, kind):
                raise TypeError(f"it is no {kind.__name__}")
            loaded.append(thing)
        except Exception as error:
            log.warning("the plug-in %s (%s) is left out: %s: %s", point.name, point.value, type(error).__name__, error)
    return loaded


def _find(things: Mapping[str, T], name: str, kind: str) -> T:
    try:
        return things[name]
    except KeyError:
        raise RunFailed(f"this worker has no {kind} {name}; it has {', '.join(sorted(things))}") from None
