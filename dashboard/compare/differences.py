"""What compared runs differ in, whether they are comparable, and what came of them; no Streamlit, no plotly."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from backend.schemas.runs import Run, Summary
from dashboard.compare.groups import Group
from dashboard.ui.setting_text import run_settings, setting_name, value_text


@dataclass(frozen=True)
class Difference:
    """A setting in which the compared configurations are not alike, with each one's value."""

    setting: str
    values: list[str]

    @property
    def differs(self) -> bool:
        """Whether the values are not all alike."""
        return len(set(self.values)) > 1


def settings_of(found: Sequence[Group]) -> list[Difference]:
    """List the settings of all groups, alike or not, the optimizer's kind aside, which every group is named by.

    A setting that one optimizer lacks is shown as a dash.
    """
    settings = [run_settings(group.runs[0].config) for group in found]
    paths = dict.fromkeys(path for own in settings for path in own if path != "kind")
    return [
        Difference(setting_name(path), [value_text(own[path]) if path in own else "\u2013" for own in settings])
        for path in paths
    ]


def differences(found: Sequence[Group]) -> list[Difference]:
    """List the settings that differ between groups."""
    return [row for row in settings_of(found) if row.differs]


def unlike(found: Sequence[Group]) -> list[str]:
    """Say in which respects the compared runs are not comparable: sentences, none where all is alike."""
    first = found[0].runs if found else []
    words = []
    if any({run.config.seed for run in group.runs} != {run.config.seed for run in first} for group in found):
        words.append("they do not have the same seeds: initialization and data order differ")
    for what, pick in _ALIKE.items():
        if len({pick(run) for group in found for run in group.runs}) > 1:
            words.append(f"they differ in {what}")
    batches = {run.config.optimizer.gradient_batch for group in found for run in group.runs}
    if len(batches) > 1:
        words.append("they differ in the gradient batch: an update is not the same work, and the data order differs")
    for name in ("device", "torch"):
        known = {value for group in found for run in group.runs if (value := run.environment.get(name))}
        if len(known) > 1:
            words.append(f"they ran with different {name}: {', '.join(sorted(known))}")
    return words


_ALIKE: dict[str, Callable[[Run], Any]] = {
    "the problem": lambda run: (run.config.problem.name, tuple(sorted(run.config.problem.options.items()))),
    "the data": lambda run: (run.config.problem.data, run.config.problem.train_size, run.config.problem.test_size),
    "the evaluation subset": lambda run: run.config.evaluation.train_subset,
    "the evaluated weights (Polyak averaging)": lambda run: run.config.evaluation.polyak_decay,
    "the precision": lambda run: run.config.precision,
    "the requested device": lambda run: run.config.device,
    "the number of threads": lambda run: run.config.threads,
}


Value = float | str
MEASURES = {
    **{name: name.replace("_", " ") for name in Summary.model_fields if name.startswith(("best", "last"))},
    "updates": "updates done",
    "seconds": "training seconds",
    "cost": "cost in gradients of one batch",
}
"""What can come of a run, by its name in the summary."""


@dataclass(frozen=True)
class Outcome:
    """What came of a run: its settings, numbers as numbers and all else as text, and one value of its summary."""

    kind: str
    seed: int
    settings: dict[str, Value]
    value: float


def outcomes(found: Sequence[Group], measure: str) -> list[Outcome]:
    """List the runs that have trained and have a value of a measure of the summary, such as best_train_loss."""
    rows = []
    for group in found:
        settings = {setting_name(path): _value(value) for path, value in run_settings(group.runs[0].config).items()}
        for run in group.runs:
            value = getattr(run.summary, measure)
            if value is not None and run.summary.updates:
                rows.append(Outcome(group.kind, run.config.seed, settings, float(value)))
    return rows


def _value(value: Any) -> Value:
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else value_text(value)


def swept(rows: Sequence[Outcome]) -> list[str]:
    """List the settings that take several values within one optimizer: those are what a sweep is about."""
    found: dict[tuple[str, str], set[Value]] = {}
    for row in rows:
        for name, value in row.settings.items():
            found.setdefault((row.kind, name), set()).add(value)
    return list(dict.fromkeys(name for (_, name), values in found.items() if len(values) > 1))
