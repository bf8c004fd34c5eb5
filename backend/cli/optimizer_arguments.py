"""Every knob of the contract as a row, for help texts; and `path=value` settings applied to a specification."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, get_args

import yaml
from pydantic import BaseModel

from backend.errors import FieldError, InvalidInput
from backend.schemas.experiments import Budget, Evaluation, ExperimentSpec, Problem
from backend.schemas.optimizers import Adam, BlockHessianFree, HessianFree, Optimizer


@dataclass(frozen=True)
class Knob:
    """One field of the contract as a user sees it."""

    path: str
    default: Any
    unit: str
    limits: str
    help: str
    paper: Any

    def __str__(self) -> str:
        """Write path, default, unit, limits, help and the paper's value in one line."""
        default = "empty" if self.default is None else self.default
        paper = f"; the paper: {self.paper}" if self.paper is not None else ""
        unit = f" {self.unit}" if self.unit else ""
        limits = f" ({self.limits})" if self.limits else ""
        return f"{self.path} = {default}{unit}{limits}: {self.help}{paper}"


_SIGNS = {"minimum": "≥", "exclusiveMinimum": ">", "maximum": "≤", "exclusiveMaximum": "<"}


def _limits(schema: dict[str, Any]) -> str:
    """Write the bounds of a field, also where it may be empty (`anyOf` with null)."""
    parts = [schema, *schema.get("anyOf", [])]
    return ", ".join(f"{sign} {part[key]}" for part in parts for key, sign in _SIGNS.items() if key in part)


def _of(model: type[BaseModel], prefix: str) -> Iterator[Knob]:
    for name, schema in model.model_json_schema()["properties"].items():
        if "unit" in schema:
            yield Knob(
                path=f"{prefix}{name}",
                default=schema.get("default"),
                unit=schema["unit"],
                limits=_limits(schema),
                help=schema["description"],
                paper=schema.get("paper"),
            )


def shared_knobs() -> list[Knob]:
    """List what all runs of an experiment share, with dotted paths."""
    parts: dict[str, type[BaseModel]] = {
        "problem.": Problem,
        "budget.": Budget,
        "evaluation.": Evaluation,
        "": ExperimentSpec,
    }
    return [knob for prefix, model in parts.items() for knob in _of(model, prefix)]


def optimizer_knobs() -> dict[str, list[Knob]]:
    """List each optimizer's own knobs, by its kind."""
    models: tuple[type[BaseModel], ...] = (Adam, HessianFree, BlockHessianFree)
    return {model.model_fields["kind"].default: list(_of(model, "")) for model in models}


def assign(target: dict[str, Any], setting: str) -> None:
    """Apply `a.b=value` to nested dictionaries; the value is read as YAML. Raises InvalidInput without '='."""
    path, equals, text = setting.partition("=")
    if not equals or not path.strip():
        raise InvalidInput([FieldError("setting", setting, "must read path=value, such as budget.updates=50")])
    *parents, last = path.strip().split(".")
    for parent in parents:
        child = target.setdefault(parent, {})
        if not isinstance(child, dict):
            raise InvalidInput([FieldError(path, setting, f"{parent} is a value and has no fields")])
        target = child
    try:
        target[last] = _number(yaml.safe_load(text))
    except (ValueError, yaml.YAMLError) as error:  # a ValueError: a date that is none
        raise InvalidInput([FieldError(path, text, f"is not YAML: {' '.join(str(error).split())}")]) from None


def _number(value: Any) -> Any:
    """Read 1e-3 as a number: YAML 1.1 wants 1.0e-3."""
    if isinstance(value, str):
        try:
            return float(value)
        except ValueError:
            return value
    return value


def parse_optimizer(text: str) -> dict[str, Any]:
    """Read `kind path=value path=value ...`, such as `bhf damping=0.1 partition.kind=layers`."""
    kind, *settings = re.split(r"\s+(?=[\w.]+=)", text.strip())
    kinds = [get_args(m.model_fields["kind"].annotation)[0] for m in get_args(get_args(Optimizer)[0])]
    if kind not in kinds:
        raise InvalidInput([FieldError("optimizer", kind, f"must be one of {', '.join(kinds)}")])
    optimizer: dict[str, Any] = {"kind": kind}
    for setting in settings:
        assign(optimizer, setting)
    return optimizer
