"""An experiment as the command line describes it: the fields of a file, a preset or a problem, changed by options."""

from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

from backend.cli import optimizer_arguments
from backend.cli.experiments import preset_fields
from backend.client import Client
from backend.errors import FieldError, InvalidInput, from_validation
from backend.schemas.experiments import ExperimentSpec


def base(client: Client, file: Path | None, preset: str | None) -> dict[str, Any] | None:
    """Return the fields to start from; None where neither a file nor a preset is named."""
    if file and preset:
        raise InvalidInput([FieldError("preset", preset, "a file is given too: leave one of them out")])
    return read(file) if file else preset_fields(client, preset) if preset else None


def read(file: Path) -> dict[str, Any]:
    """Return the fields in a YAML or JSON file; raises InvalidInput where it cannot be read or holds none."""
    try:
        fields = yaml.safe_load(file.read_text())
    except (OSError, ValueError, yaml.YAMLError) as error:  # a ValueError: no UTF-8, or a date that is none
        raise InvalidInput([FieldError("file", str(file), " ".join(str(error).split()))]) from None
    if not isinstance(fields, dict):
        raise InvalidInput([FieldError("file", str(file), "must hold the fields of an experiment")])
    return fields


def settings(lines: list[str]) -> dict[str, Any]:
    """Return the fields that `path=value` lines set; raises InvalidInput."""
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
    """Lay what was chosen over the fields to start from; raises InvalidInput that names field, value and limit."""
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
        raise from_validation(error) from None


def problem_fields(client: Client, problem: Any) -> dict[str, Any]:
    """Return the preset of the problem that fields describe; raises InvalidInput where no worker has announced it."""
    if not isinstance(problem, dict):
        raise InvalidInput([FieldError("problem", problem, "has fields: choose one by problem.name, such as lstm")])
    name = problem.get("name", "autoencoder")
    catalog = client.catalog().catalog
    known = {info.name: info for info in catalog.problems} if catalog else {}
    if name not in list(known):
        allowed = ", ".join(known) or "none: no worker has registered yet"
        raise InvalidInput([FieldError("problem.name", name, f"must be one of {allowed}")])
    return known[name].preset.model_dump(mode="json")


def _merged(fields: dict[str, Any], changes: dict[str, Any]) -> dict[str, Any]:
    """Return fields with changes laid over them, dictionaries field by field."""
    return fields | {
        key: _merged(fields[key], value) if isinstance(value, dict) and isinstance(fields.get(key), dict) else value
        for key, value in changes.items()
    }
