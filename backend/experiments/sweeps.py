"""Sweeps: a comparison in which the optimizers run with each combination of a grid, at each point of a list."""

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from pydantic import ValidationError

from backend.errors import FieldError, InvalidInput, from_validation
from backend.schemas.api import Sweep
from backend.schemas.base import MAX_RUNS_PER_EXPERIMENT
from backend.schemas.experiments import ExperimentSpec
from backend.schemas.fields import setting_fields
from backend.schemas.optimizer_registry import OPTIMIZERS
from backend.schemas.sweep_values import combinations, parse_value, parse_values

Point = Mapping[str, Any]


def expand(sweep: Sweep) -> ExperimentSpec:
    """Expand a sweep into a comparison.

    The path of a setting starts with the kind of the optimizer: `bhf.damping`. Each optimizer of that kind runs with
    each combination of the values; other optimizers stay unchanged.

    Raises:
        InvalidInput: a setting or value is invalid.
    """
    base = sweep.base.model_dump(mode="json")
    kinds = [optimizer["kind"] for optimizer in base["optimizers"]]
    _check(sweep, kinds)
    variants: list[dict[str, Any]] = []
    for optimizer in base["optimizers"]:
        for point in _points(sweep, optimizer["kind"]):
            variant = optimizer | {name: value for name, value in point.items() if "." not in name}
            for name, value in point.items():
                if "." in name:
                    group, _, inner = name.partition(".")
                    before = variant.get(group, {})
                    if not isinstance(before, dict):
                        limit = f"{group} is a single value and has no field {inner}"
                        raise InvalidInput([FieldError(f"{optimizer['kind']}.{name}", value, limit)])
                    variant[group] = {**before, inner: value}
            if variant not in variants:
                variants.append(variant)
    try:
        return ExperimentSpec.model_validate(base | {"optimizers": variants})
    except ValidationError as error:
        raise from_validation(error) from None


def parse(base: ExperimentSpec, grid: Sequence[str], points: Sequence[str] = ()) -> Sweep:
    """Parse a sweep from arguments of the command line.

    Args:
        base: the comparison to sweep.
        grid: each entry is a setting with its values or ranges: `bhf.damping=0,0.01..1/3`, `bhf.blocks=1,2,layers`.
        points: each entry has settings that change together: `bhf.damping=0.1 bhf.learning_rate=0.5`.

    Raises:
        InvalidInput: an argument is invalid.
    """
    integers = {
        f"{optimizer.kind}.{field.name}"
        for optimizer in base.optimizers
        for field in setting_fields(type(optimizer))
        if field.kind == "integer"
    }
    blocks = {f"{kind}.{name}" for kind in OPTIMIZERS for name in ("partition", "blocks")}
    values = {
        name: parse_values(text, integer=name in integers | blocks, words=name in blocks)
        for name, text in _settings("grid", grid).items()
    }
    settings = [
        {name: parse_value(text) for name, text in _settings("points", point.split()).items()} for point in points
    ]
    try:
        return Sweep.model_validate({"base": base, "grid": values, "points": settings})
    except ValidationError as error:
        raise from_validation(error) from None


def _settings(field: str, texts: Sequence[str]) -> dict[str, str]:
    """Parse texts like `setting=value`; raise InvalidInput if a setting is repeated."""
    found: dict[str, str] = {}
    for text in texts:
        name, _, value = text.partition("=")
        name = name.strip()
        if name in found:
            raise InvalidInput([FieldError(f"{field}.{name}", value, "is set twice: set it once")])
        found[name] = value
    return found


def _check(sweep: Sweep, kinds: Sequence[str]) -> None:
    errors = []
    for name in dict.fromkeys([*sweep.grid, *(name for point in sweep.points for name in point)]):
        kind, _, setting = name.partition(".")
        if kind not in kinds or not setting:
            allowed = ", ".join(f"{kind}.SETTING" for kind in dict.fromkeys(kinds))
            errors.append(FieldError("grid", name, f"is not a setting of the optimizers; use {allowed}"))
    count = math.prod(len(values) for values in sweep.grid.values()) * max(1, len(sweep.points))
    if count > MAX_RUNS_PER_EXPERIMENT:
        errors.append(FieldError("grid", count, f"combinations: at most {MAX_RUNS_PER_EXPERIMENT} are allowed"))
    if errors:
        raise InvalidInput(errors)


def _points(sweep: Sweep, kind: str) -> Iterator[Point]:
    """Yield the combinations of settings for a kind of optimizer, without the kind in the names."""
    grid = _of_kind(sweep.grid, kind)
    points = [point for point in (_of_kind(point, kind) for point in sweep.points) if point] or [{}]
    for point in points:
        for combination in combinations(grid):
            yield {**point, **combination}


def _of_kind(values: Point, kind: str) -> dict[str, Any]:
    prefix, renamed = f"{kind}.", OPTIMIZERS[kind].renamed
    own = {name.removeprefix(prefix): value for name, value in values.items() if name.startswith(prefix)}
    return {renamed.get(name, name): value for name, value in own.items()}
