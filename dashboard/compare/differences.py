"""Differences of compared runs, whether they are comparable, and their outcomes. No Streamlit, no plotly."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from backend.schemas.runs import Run, Summary
from dashboard.compare.groups import Group
from dashboard.ui.setting_text import run_settings, setting_name, value_text

_ABSENT = "\N{EN DASH}"


@dataclass(frozen=True)
class Difference:
    """A setting with its value in each compared configuration."""

    setting: str
    values: list[str]

    @property
    def differs(self) -> bool:
        """Whether the values differ; a setting that another optimizer lacks is no difference."""
        return len(set(self.values) - {_ABSENT}) > 1


def all_settings(found: Sequence[Group]) -> list[Difference]:
    """List all settings of the groups except the optimizer's kind; a dash stands for a setting that one lacks."""
    settings = [run_settings(group.runs[0].config) for group in found]
    paths = dict.fromkeys(path for own in settings for path in own if path != "kind")
    rows = [
        Difference(setting_name(path), [value_text(own[path]) if path in own else _ABSENT for own in settings])
        for path in paths
    ]
    return [Difference("blocks that were trained", [_blocks(group) for group in found]), *rows]


def _blocks(group: Group) -> str:
    """Name the layers of each block of a group's runs, as far as they have started."""
    blocks = next((run.blocks for run in group.runs if run.blocks), [])
    return f"{len(blocks)}: {value_text(blocks)}" if blocks else _ABSENT


def differences(found: Sequence[Group]) -> list[Difference]:
    """List the settings that differ between groups."""
    return [row for row in all_settings(found) if row.differs]


def comparability_warnings(found: Sequence[Group]) -> list[str]:
    """List the reasons why the runs are not directly comparable; empty if they are."""
    first = found[0].runs if found else []
    words = []
    if any({run.config.seed for run in group.runs} != {run.config.seed for run in first} for group in found):
        words.append("different seeds (different initialization and data order)")
    for what, pick in _COMPARED.items():
        if len({pick(run) for group in found for run in group.runs}) > 1:
            words.append(f"different {what}")
    batches = {run.config.optimizer.gradient_batch for group in found for run in group.runs}
    if len(batches) > 1:
        words.append("different gradient batch (an update is different work, and the data order differs)")
    for name in ("device", "torch"):
        known = {value for group in found for run in group.runs if (value := run.environment.get(name))}
        if len(known) > 1:
            words.append(f"different {name}: {', '.join(sorted(known))}")
    return words


_COMPARED: dict[str, Callable[[Run], Any]] = {
    "problem": lambda run: (run.config.problem.name, tuple(sorted(run.config.problem.options.items()))),
    "data": lambda run: (run.config.problem.data, run.config.problem.train_size, run.config.problem.test_size),
    "evaluation subset": lambda run: run.config.evaluation.train_subset,
    "evaluated weights (Polyak averaging)": lambda run: run.config.evaluation.polyak_decay,
    "precision": lambda run: run.config.precision,
    "requested device": lambda run: run.config.device,
    "number of threads": lambda run: run.config.threads,
}


Value = float | str
MEASURES = {
    **{name: name.replace("_", " ") for name in Summary.model_fields if name.startswith(("best", "last"))},
    "updates": "updates",
    "seconds": "training seconds",
    "cost": "cost in gradients of one batch",
}
"""Titles of a run's outcomes, by their name in the summary."""


@dataclass(frozen=True)
class Outcome:
    """A run's outcome: its settings, as numbers or else text, and one value of its summary."""

    kind: str
    seed: int
    settings: dict[str, Value]
    value: float


def outcome_of(run: Run, measure: str) -> float | None:
    """Return a value of a run's summary; None before the first update, or if it was not measured."""
    value: float | None = getattr(run.summary, measure)
    return float(value) if value is not None and run.summary.updates else None


def higher_is_better(measure: str) -> bool:
    """Return whether a larger outcome is the better one."""
    return measure.endswith("accuracy")


def outcomes(found: Sequence[Group], measure: str) -> list[Outcome]:
    """List the trained runs that have a value of a measure of the summary, such as best_train_loss."""
    rows = []
    for group in found:
        settings = {setting_name(path): _value(value) for path, value in run_settings(group.runs[0].config).items()}
        for run in group.runs:
            value = outcome_of(run, measure)
            if value is not None:
                rows.append(Outcome(group.kind, run.config.seed, settings, value))
    return rows


def _value(value: Any) -> Value:
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else value_text(value)


def swept(rows: Sequence[Outcome]) -> list[str]:
    """List the swept settings: those with several values within one optimizer."""
    found: dict[tuple[str, str], set[Value]] = {}
    for row in rows:
        for name, value in row.settings.items():
            found.setdefault((row.kind, name), set()).add(value)
    return list(dict.fromkeys(name for (_, name), values in found.items() if len(values) > 1))
