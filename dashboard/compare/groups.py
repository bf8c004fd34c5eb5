"""Groups of runs that share a line, and their labels. No Streamlit, no plotly."""

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from backend.schemas.catalog import Catalog
from backend.schemas.run_names import SEPARATOR, differing, distinguishing
from backend.schemas.runs import Experiment, Run
from dashboard.ui.setting_text import run_settings, short_name, value_text


@dataclass(frozen=True)
class Group:
    """Runs that are averaged and share a style of line; by default they differ only by seed."""

    key: str
    label: str
    kind: str
    variant: int
    runs: list[Run] = field(default_factory=list)


SEED, COMPARISON = "seed", "comparison"
DEFAULT_OVER = (SEED,)
"""The settings in which the runs of a group may differ, unless the user chooses others."""


def group_runs(experiments: Sequence[Experiment], over: Sequence[str] = DEFAULT_OVER) -> list[Group]:
    """Group the runs that differ only in the settings `over`, in the experiments' order, and label each group.

    `over` holds dotted paths as `run_settings` returns them, SEED, and COMPARISON for runs of several comparisons.
    """
    order = {
        (experiment.id, optimizer.model_dump_json()): (rank, position)
        for rank, experiment in enumerate(experiments)
        for position, optimizer in enumerate(experiment.spec.optimizers)
    }
    members: dict[str, list[tuple[tuple[int, int], Run]]] = {}
    for experiment in experiments:
        for run in experiment.runs:
            place = order.get((experiment.id, run.config.optimizer.model_dump_json()), (0, 0))
            members.setdefault(_identity(run, over), []).append((place, run))
    rows = sorted((sorted(row, key=_in_order) for row in members.values()), key=lambda row: _in_order(row[0]))
    runs = [[run for _, run in row] for row in rows]
    variants: Counter[str] = Counter()
    keys: Counter[str] = Counter()
    found = []
    for row, own, label in zip(rows, runs, labels([own[0] for own in runs], over), strict=True):
        kind, key = own[0].config.optimizer.kind, f"{own[0].experiment_id}-{row[0][0][1]}"
        found.append(Group(f"{key}-{keys[key]}" if keys[key] else key, label, kind, variants[kind], own))
        variants[kind] += 1
        keys[key] += 1
    return found


def _in_order(row: tuple[tuple[int, int], Run]) -> tuple[tuple[int, int], int]:
    """Return the sorting key of a run: the place of its optimizer in the comparison, then its seed."""
    return row[0], row[1].config.seed


def _settings(run: Run) -> dict[str, Any]:
    """Return every setting of a run, its seed and its comparison."""
    return run_settings(run.config) | {SEED: run.config.seed, COMPARISON: run.experiment_id}


def _identity(run: Run, over: Sequence[str]) -> str:
    return json.dumps({path: value for path, value in _settings(run).items() if path not in over}, sort_keys=True)


def average_choices(experiments: Sequence[Experiment]) -> list[str]:
    """List what runs can be averaged over: the seed, and settings in which runs of one optimizer differ."""
    values: dict[tuple[str, str], set[str]] = {}
    for run in (run for experiment in experiments for run in experiment.runs):
        for path, value in _settings(run).items():
            values.setdefault((run.config.optimizer.kind, path), set()).add(json.dumps(value))
    differing = dict.fromkeys(path for (_, path), held in values.items() if len(held) > 1)
    return [SEED, *(path for path in differing if path != SEED)]


def labels(runs: Sequence[Run], over: Sequence[str] = DEFAULT_OVER) -> list[str]:
    """Name each run by its optimizer and by the settings that distinguish it from others of the same optimizer."""
    settings = [
        {path: value for path, value in _settings(run).items() if path not in {*over, COMPARISON}} for run in runs
    ]
    names = []
    for run, own in zip(runs, settings, strict=True):
        same = [other for other in settings if other["kind"] == own["kind"]]
        names.append(SEPARATOR.join([run.config.optimizer.title, *distinguishing(own, same)]))
    repeated = {name for name, count in Counter(names).items() if count > 1}
    return [
        SEPARATOR.join([name, *[run.experiment_name] * (name in repeated)])
        for name, run in zip(names, runs, strict=True)
    ]


def live_groups(found: Sequence[Group], over: Sequence[str] = DEFAULT_OVER) -> list[dict[str, Any]]:
    """Write groups as the live component reads them; a run's name is what distinguishes it within its group."""
    rows = []
    order = 0
    shown = looks(found, over)
    for group, settings in zip(found, differing_settings(found, over), strict=True):
        runs = []
        for run, detail in zip(group.runs, _details(group), strict=True):
            name = SEPARATOR.join([detail] * bool(detail) + [f"seed {run.config.seed}"] * (SEED in over))
            title = f"{group.label}{SEPARATOR}{name}" if name else group.label
            known = {"id": run.id, "seed": run.config.seed, "title": title, "name": name, "detail": detail}
            runs.append(known | {"order": order, "updates": run.summary.updates})
            order += 1
        rows.append(
            {"key": group.key, "label": group.label, "kind": group.kind, "variant": group.variant, "runs": runs}
            | {"unit": "seeds" if tuple(over) == DEFAULT_OVER else "runs", "settings": settings}
            | shown.get(group.key, {})
        )
    return rows


def differing_settings(found: Sequence[Group], over: Sequence[str] = DEFAULT_OVER) -> list[dict[str, Any]]:
    """Return for each group the settings in which groups of its optimizer differ: numbers as such, others as text."""
    rows = []
    for group, own in zip(found, (_own(group, over) for group in found), strict=True):
        same = [_own(other, over) for other in found if other.kind == group.kind]
        paths = differing(own, same)
        rows.append({short_name(path): own[path] if _is_number(own[path]) else value_text(own[path]) for path in paths})
    return rows


def _own(group: Group, over: Sequence[str]) -> dict[str, Any]:
    return {path: value for path, value in _settings(group.runs[0]).items() if path not in {*over, COMPARISON}}


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


MIN_SWEPT = 3  # values; two are told apart by their dashes


def looks(found: Sequence[Group], over: Sequence[str] = DEFAULT_OVER) -> dict[str, dict[str, float]]:
    """Return shade (0 to 1) and dash of the groups of a sweep, by key; groups that differ otherwise are left out.

    A setting with at least three numbers goes from light to dark; a second one gets a dash for each of its values.
    """
    rows: dict[str, dict[str, float]] = {}
    every = differing_settings(found, over)
    for kind in dict.fromkeys(group.kind for group in found):
        own = [(group.key, settings) for group, settings in zip(found, every, strict=True) if group.kind == kind]
        values: dict[str, list[Any]] = {}
        for _, settings in own:
            for name, value in settings.items():
                values.setdefault(name, []).append(value)
        numbers = [name for name, held in values.items() if len(held) == len(own) and all(map(_is_number, held))]
        order = {name: sorted(set(values[name])) for name in numbers}
        numbers.sort(key=lambda name: -len(order[name]))
        if len(values) > 2 or len(numbers) != len(values) or not numbers or len(order[numbers[0]]) < MIN_SWEPT:
            continue
        for key, settings in own:
            places = [order[name].index(settings[name]) for name in numbers]
            rows[key] = {"shade": places[0] / (len(order[numbers[0]]) - 1), "dash": places[1] if places[1:] else 0}
    return rows


def _details(group: Group) -> list[str]:
    """Write for each run of a group the settings, except the seed, in which it differs from the others."""
    settings = [{path: value for path, value in _settings(run).items() if path != SEED} for run in group.runs]
    for own, run in zip(settings, group.runs, strict=True):
        own[COMPARISON] = run.experiment_name
    return [SEPARATOR.join(distinguishing(own, settings)) for own in settings]


def loss_unit(catalog: Catalog | None, problem: str) -> str:
    """Return the unit of a problem's loss; empty if unknown."""
    found = [info.loss_unit for info in catalog.problems if info.name == problem] if catalog else []
    return found[0] if found else ""


def has_accuracy(catalog: Catalog | None, runs: Sequence[Run]) -> bool:
    """Return whether any of the runs has a test accuracy."""
    problems = {run.config.problem.name for run in runs}
    announced = catalog is not None and any(info.accuracy for info in catalog.problems if info.name in problems)
    return announced or any(run.summary.last_test_accuracy is not None for run in runs)
