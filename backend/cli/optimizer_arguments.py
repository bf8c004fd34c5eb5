"""Help on the settings of a specification, and parsing of `path=value` arguments."""

import re
from collections.abc import Mapping
from typing import Any

import yaml
from pydantic import BaseModel

from backend.cli.messages import nearest
from backend.errors import FieldError, InvalidInput
from backend.schemas.experiments import Budget, Evaluation, ExperimentSpec, Problem
from backend.schemas.fields import SettingField, setting_fields
from backend.schemas.optimizer_registry import FAILURES, OPTIMIZERS


def help_line(path: str, field: SettingField) -> str:
    """Return a setting's path, default, unit, limits, help and the paper's value in one line."""
    default = "empty" if field.default is None else field.default
    paper = f"; the paper: {field.paper}" if field.paper is not None else ""
    unit = f" {field.unit}" if field.unit else ""
    limits = f" ({field.limits})" if field.limits else ""
    return f"{path} = {default}{unit}{limits}: {field.help}{paper}"


def _fields(model: type[BaseModel], prefix: str = "") -> dict[str, SettingField]:
    return {f"{prefix}{field.name}": field for field in setting_fields(model) if field.unit is not None}


def shared_settings() -> Mapping[str, SettingField]:
    """Return the settings shared by all runs of an experiment, by dotted path."""
    parts: dict[str, type[BaseModel]] = {
        "problem.": Problem,
        "budget.": Budget,
        "evaluation.": Evaluation,
        "": ExperimentSpec,
    }
    return {path: field for prefix, model in parts.items() for path, field in _fields(model, prefix).items()}


def optimizer_settings() -> dict[str, Mapping[str, SettingField]]:
    """Return the settings of each optimizer, by kind and name."""
    return {kind: _fields(model) for kind, model in OPTIMIZERS.items()}


def assign(target: dict[str, Any], setting: str) -> None:
    """Apply `a.b=value` to nested dictionaries, the value as YAML; raise InvalidInput if it cannot be parsed."""
    path, equals, text = setting.partition("=")
    if not equals or not path.strip():
        raise InvalidInput([FieldError("setting", setting, "must have the form path=value, such as budget.updates=50")])
    *parents, last = path.strip().split(".")
    for parent in parents:
        child = target.setdefault(parent, {})
        if not isinstance(child, dict):
            raise InvalidInput([FieldError(path, setting, f"{parent} is a value, not a group of settings")])
        target = child
    try:
        target[last] = _number(yaml.safe_load(text))
    except (ValueError, yaml.YAMLError) as error:  # ValueError: an invalid date
        raise InvalidInput([FieldError(path, text, f"is not valid YAML: {' '.join(str(error).split())}")]) from None


def _number(value: Any) -> Any:
    """Convert numbers such as 1e-3, which YAML 1.1 reads as text."""
    if isinstance(value, str):
        try:
            return float(value)
        except ValueError:
            return value
    return value


def parse_optimizer(text: str) -> dict[str, Any]:
    """Parse `kind path=value path=value ...`, such as `bhf damping=0.1 partition.kind=layers`."""
    kind, *settings = re.split(r"\s+(?=[\w.]+=)", text.strip())
    if kind not in OPTIMIZERS:
        limit = FAILURES.get(kind, f"must be one of {', '.join(OPTIMIZERS)}{nearest(kind, OPTIMIZERS)}")
        raise InvalidInput([FieldError("optimizer", kind, limit)])
    optimizer: dict[str, Any] = {"kind": kind}
    for setting in settings:
        assign(optimizer, setting)
    return optimizer
