"""The settings of a model or a JSON schema as records, for the form, the command line and the documentation."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from pydantic import BaseModel

Kind = Literal["integer", "number", "numbers", "text", "choice", "switch"]
_BOUNDS = {
    "minimum": "at least",
    "exclusiveMinimum": "more than",
    "maximum": "at most",
    "exclusiveMaximum": "less than",
}


@dataclass(frozen=True)
class SettingField:
    """One setting that a user can change.

    `kind` is None if one value cannot hold it; `unit` is None if the schema does not declare one.
    """

    name: str
    kind: Kind | None
    default: Any
    optional: bool
    unit: str | None
    help: str
    paper: Any
    limits: str
    choices: tuple[Any, ...] = ()

    @property
    def title(self) -> str:
        """Name for people."""
        return TITLES.get(self.name, self.name.replace("_", " ").capitalize())


TITLES = {
    "cg_stop": "CG stop criterion",
    "cg_tolerance": "CG tolerance",
    "max_cg_iterations": "Max CG iterations",
    "beta1": "β₁",
    "beta2": "β₂",
    "eps": "ε",
    "every": "Evaluate every",
    "polyak_decay": "Polyak decay",
}
"""Titles that do not follow from the name."""


def setting_fields(schema: type[BaseModel] | Mapping[str, Any]) -> list[SettingField]:
    """List the settings of a model or of an object's JSON schema in order, without constants."""
    whole = schema if isinstance(schema, Mapping) else schema.model_json_schema()
    found = (_field(name, field, whole) for name, field in whole.get("properties", {}).items())
    return [field for field in found if field]


def _field(name: str, field: Mapping[str, Any], whole: Mapping[str, Any]) -> SettingField | None:
    members = [_resolve(member, whole) for member in [field, *field.get("anyOf", []), *field.get("allOf", [])]]
    merged = {key: value for member in members for key, value in member.items()} | dict(field)
    optional = any(member.get("type") == "null" for member in members)
    if "const" in merged:
        return None
    limits = [f"{words} {_plain(member[key])}" for member in members for key, words in _BOUNDS.items() if key in member]
    return SettingField(
        name=name,
        kind=_kind(members),
        default=merged.get("default"),
        optional=optional,
        unit=merged.get("unit"),
        help=merged.get("description", ""),
        paper=merged.get("paper"),
        limits=", ".join(dict.fromkeys(limits)),
        choices=(*[None] * optional, *(choice for choice in merged.get("enum", ()) if choice is not None)),
    )


def _resolve(member: Mapping[str, Any], whole: Mapping[str, Any]) -> Mapping[str, Any]:
    """Follow a reference within the schema; omit the description of its target."""
    if "$ref" not in member:
        return member
    target: Any = whole
    for step in member["$ref"].removeprefix("#/").split("/"):
        target = target.get(step, {})
    return {key: value for key, value in target.items() if key != "description"} | dict(member)


def _kind(members: list[Mapping[str, Any]]) -> Kind | None:
    if any("enum" in member for member in members):
        return "choice"
    if any(member.get("type") == "array" and member.get("items", {}).get("type") == "number" for member in members):
        return "numbers"
    types: dict[str, Kind] = {"integer": "integer", "number": "number", "string": "text", "boolean": "switch"}
    named = [types[member["type"]] for member in members if member.get("type") in types]
    return named[0] if named else None


def _plain(value: Any) -> str:
    return f"{value:,}" if isinstance(value, int) else f"{value:g}"
