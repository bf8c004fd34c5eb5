"""The experiment of a command: the fields of a file, a preset or a problem, changed by options."""

from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

from backend.cli import optimizer_arguments
from backend.cli.experiments import preset_fields
from backend.cli.messages import nearest, with_suggestions
from backend.client import Client
from backend.errors import FieldError, InvalidInput, from_validation
from backend.schemas.experiments import ExperimentSpec


def base(client: Client, file: Path | None, preset: str | None) -> dict[str, Any] | None:
    """Return the fields of the file or the preset; None if neither is given."""
    if file and preset:
        raise InvalidInput([FieldError("preset", preset, "cannot be combined with a file: give one of them")])
    return read(file) if file else preset_fields(client, preset) if preset else None


def read(file: Path) -> dict[str, Any]:
    """Return the fields in a YAML or JSON file; raise InvalidInput if it cannot be read."""
    try:
        fields = yaml.safe_load(file.read_text())
    except (OSError, ValueError, yaml.YAMLError) as error:  # ValueError: invalid UTF-8 or an invalid date
        raise InvalidInput([FieldError("file", str(file), " ".join(str(error).split()))]) from None
    if not isinstance(fields, dict):
        raise InvalidInput([FieldError("file", str(file), "must contain the fields of an experiment")])
    return fields


def parse_settings(lines: list[str]) -> dict[str, Any]:
    """Return the fields that `path=value` arguments set; raise InvalidInput if one cannot be parsed."""
    chosen: dict[str, Any] = {}
    for line in lines:
        optimizer_arguments.assign(chosen, line)
    return chosen


def specify(
    fields: dict[str, Any],
    chosen: dict[str, Any],
    *,
    optimizers: list[str],
    seeds: list[int] | None = None,
    name: str | None = None,
) -> ExperimentSpec:
    """Return the experiment of these fields, changed by the options; raise InvalidInput if it is invalid."""
    fields = _merged(fields, chosen)
    if optimizers:
        fields["optimizers"] = [optimizer_arguments.parse_optimizer(text) for text in optimizers]
    if seeds is not None:
        fields["seeds"] = seeds
    if name is not None:
        fields["name"] = name
    try:
        return ExperimentSpec.model_validate(fields)
    except ValidationError as error:
        raise with_suggestions(from_validation(error), fields.get("optimizers")) from None


def problem_fields(client: Client, problem: Any) -> dict[str, Any]:
    """Return the preset of a problem; raise InvalidInput if no worker has announced the problem."""
    if not isinstance(problem, dict):
        raise InvalidInput(
            [FieldError("problem", problem, "must be a group of settings: choose a problem with problem.name=lstm")]
        )
    name = problem.get("name", "autoencoder")
    catalog = client.catalog().catalog
    known = {info.name: info for info in catalog.problems} if catalog else {}
    if name not in list(known):
        allowed = ", ".join(known) or "(no worker has registered yet)"
        limit = f"must be one of {allowed}{nearest(str(name), known)}"
        raise InvalidInput([FieldError("problem.name", name, limit)])
    return known[name].preset.model_dump(mode="json")


def _merged(fields: dict[str, Any], changes: dict[str, Any]) -> dict[str, Any]:
    """Return the fields with the changes applied, recursively for dictionaries."""
    return fields | {
        key: _merged(fields[key], value) if isinstance(value, dict) and isinstance(fields.get(key), dict) else value
        for key, value in changes.items()
    }
