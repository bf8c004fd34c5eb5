"""The names of runs, the same on every page, in the terminal and in exports."""

from collections.abc import Mapping, Sequence
from typing import Any

from backend.schemas.runs import Run
from backend.schemas.setting_text import run_settings, short_name, value_text

SEPARATOR = " · "


def run_name(run: Run, comparison: Sequence[Run]) -> str:
    """Name a run by its optimizer, the settings that distinguish it, and its seed: "BHF · damping 0.1 · seed 0".

    Args:
        run: the run.
        comparison: the runs of its comparison. A setting is named if runs of the same optimizer differ in it.
    """
    kind = run.config.optimizer.kind
    same = [run_settings(other.config) for other in comparison if other.config.optimizer.kind == kind]
    parts = distinguishing(run_settings(run.config), same)
    return SEPARATOR.join([run.config.optimizer.title, *parts, f"seed {run.config.seed}"])


def run_names(runs: Sequence[Run]) -> list[str]:
    """Name each run within the listed runs of its comparison."""
    comparisons: dict[str, list[Run]] = {}
    for run in runs:
        comparisons.setdefault(run.experiment_id, []).append(run)
    return [run_name(run, comparisons[run.experiment_id]) for run in runs]


def distinguishing(own: Mapping[str, Any], same: Sequence[Mapping[str, Any]]) -> list[str]:
    """Write the settings in which one run differs from the others."""
    return [f"{short_name(path)} {value_text(own[path])}" for path in differing(own, same)]


def differing(own: Mapping[str, Any], same: Sequence[Mapping[str, Any]]) -> list[str]:
    """List the settings in which one run differs from the others, without those that another one implies."""
    paths = [path for path, value in own.items() if any(other.get(path) != value for other in same)]
    return [path for path in paths if not _is_implied(path, own)]


def _is_implied(path: str, own: Mapping[str, Any]) -> bool:
    """Return whether another part of the name, the blocks or their number, implies this one."""
    return path == "partition.kind" and own[path] in {"explicit", "equal"}
