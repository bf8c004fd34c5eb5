"""A run's settings as text: the names and values that people read."""

from collections.abc import Mapping
from typing import Any

from backend.schemas.experiments import RunConfig
from backend.schemas.fields import TITLES

TIMES = " \N{MULTIPLICATION SIGN} "

_NAMES = {
    "kind": "optimizer",
    "evaluation.every": "evaluate every",
    "partition.kind": "blocks",
    "partition.count": "number of blocks",
    "partition.blocks": "layers of each block",
    "problem.name": "network",
    "problem.data": "data set",
}


def flatten(value: Any, prefix: str = "") -> dict[str, Any]:
    """Turn nested mappings into dotted paths; a list stays a value."""
    if not isinstance(value, Mapping):
        return {prefix: value}
    return {
        path: leaf
        for name, inner in value.items()
        for path, leaf in flatten(inner, f"{prefix}.{name}" if prefix else str(name)).items()
    }


def run_settings(config: RunConfig) -> dict[str, Any]:
    """Return every setting of a run except its seed, by dotted path; the optimizer's settings without prefix."""
    rows = flatten(config.model_dump(mode="json", exclude={"seed"}))
    return {path.removeprefix("optimizer."): value for path, value in rows.items()}


def value_text(value: Any) -> str:
    """Write a setting's value."""
    if value is None or value in ("", []):
        return "none"
    if isinstance(value, bool):
        return "on" if value else "off"
    if isinstance(value, float):
        return f"{value:g}"
    if isinstance(value, list):
        return " | ".join("+".join(map(str, item)) if isinstance(item, list) else str(item) for item in value)
    return str(value)


def setting_name(path: str) -> str:
    """Write a setting's dotted path as a name: "budget.updates" becomes "budget: updates"."""
    return _NAMES.get(path, ": ".join(_word(part) for part in path.split(".")))


def short_name(path: str) -> str:
    """Write the last part of a setting's dotted path as a name."""
    return _NAMES.get(path, _word(path.rsplit(".", 1)[-1]))


def _word(name: str) -> str:
    """Write a setting's title with a small first letter, unless it begins with an acronym."""
    title = TITLES.get(name, name.replace("_", " "))
    return title if title[:2].isupper() else title[:1].lower() + title[1:]
