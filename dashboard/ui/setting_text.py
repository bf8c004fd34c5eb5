"""A run's settings in words: names and values as people write them."""

from collections.abc import Mapping
from typing import Any

from backend.schemas.experiments import RunConfig

TIMES = " \N{MULTIPLICATION SIGN} "


OPTIMIZER_TITLES = {"adam": "Adam", "hf": "Hessian-free (HF)", "bhf": "Block-diagonal Hessian-free (BHF)"}


def flatten(value: Any, prefix: str = "") -> dict[str, Any]:
    """Turn nested mappings into dotted paths; a list stays a value."""
    if not isinstance(value, Mapping):
        return {prefix: value}
    return {
        path: leaf
        for name, inner in value.items()
        for path, leaf in flatten(inner, f"{prefix}.{name}" if prefix else str(name)).items()
    }


def knobs_of(config: RunConfig) -> dict[str, Any]:
    """Return every setting of a run but its seed, by dotted path; optimizer's settings without their prefix."""
    rows = flatten(config.model_dump(mode="json", exclude={"seed"}))
    return {path.removeprefix("optimizer."): value for path, value in rows.items()}


def show(value: Any) -> str:
    """Write a setting's value shortly."""
    if value is None or value in ("", []):
        return "none"
    if isinstance(value, bool):
        return "on" if value else "off"
    if isinstance(value, float):
        return f"{value:g}"
    if isinstance(value, list):
        return " | ".join("+".join(map(str, item)) if isinstance(item, list) else str(item) for item in value)
    return str(value)


def spoken(path: str) -> str:
    """Write a setting's path as people say it."""
    return _SPOKEN.get(path, path.replace("_", " ").replace(".", ": "))


SHORT_NAMES = {
    "partition.kind": "blocks",
    "max_cg_iterations": "max CG iterations",
    "cg_stop": "CG stop criterion",
    "cg_tolerance": "CG tolerance",
    "beta1": "\u03b2\u2081",
    "beta2": "\u03b2\u2082",
    "eps": "\u03b5",
}


_SPOKEN = SHORT_NAMES | {
    "kind": "optimizer",
    "partition.count": "blocks: how many",
    "partition.blocks": "blocks: layers",
    "problem.name": "network",
    "problem.data": "data set",
}
