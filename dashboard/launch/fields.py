"""Fields of the contract, and of a problem's options, as what a form needs to draw them: type, bounds, unit, help."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from pydantic import BaseModel

Kind = Literal["integer", "number", "text", "choice", "switch"]
_BOUNDS = (
    ("minimum", "at least"),
    ("exclusiveMinimum", "more than"),
    ("maximum", "at most"),
    ("exclusiveMaximum", "less than"),
)


@dataclass(frozen=True)
class Knob:
    """One setting a user can change."""

    name: str
    kind: Kind
    default: Any
    optional: bool
    unit: str
    help: str
    paper: Any
    limits: str
    choices: tuple[Any, ...] = ()

    @property
    def title(self) -> str:
        """The name as people write it."""
        return _TITLES.get(self.name, self.name.replace("_", " ").capitalize())


_TITLES = {
    "cg_stop": "CG stop criterion",
    "cg_tolerance": "CG tolerance",
    "max_cg_iterations": "Max CG iterations",
    "beta1": "β₁",
    "beta2": "β₂",
    "eps": "ε",
    "every": "Evaluate every",
    "polyak_decay": "Polyak decay",
}


def knobs(schema: type[BaseModel] | Mapping[str, Any]) -> list[Knob]:
    """List the settings that one widget can hold, of a model or of an object's JSON schema, in their order."""
    whole = schema if isinstance(schema, Mapping) else schema.model_json_schema()
    found = (_knob(name, field, whole) for name, field in whole.get("properties", {}).items())
    return [knob for knob in found if knob]


def _knob(name: str, field: Mapping[str, Any], whole: Mapping[str, Any]) -> Knob | None:
    members = [_resolve(member, whole) for member in [field, *field.get("anyOf", []), *field.get("allOf", [])]]
    merged = {key: value for member in members for key, value in member.items()} | dict(field)
    optional = any(member.get("type") == "null" for member in members)
    kind = _kind(members)
    if kind is None or "const" in merged:
        return None
    limits = [f"{words} {_plain(member[key])}" for member in members for key, words in _BOUNDS if key in member]
    return Knob(
        name=name,
        kind=kind,
        default=merged.get("default"),
        optional=optional,
        unit=merged.get("unit", ""),
        help=merged.get("description", ""),
        paper=merged.get("paper"),
        limits=", ".join(dict.fromkeys(limits)),
        choices=(*[None] * optional, *(choice for choice in merged.get("enum", ()) if choice is not None)),
    )


def _resolve(member: Mapping[str, Any], whole: Mapping[str, Any]) -> Mapping[str, Any]:
    if "$ref" not in member:
        return member
    target: Any = whole
    for step in member["$ref"].removeprefix("#/").split("/"):
        target = target.get(step, {})
    return {key: value for key, value in target.items() if key != "description"} | dict(member)


def _kind(members: list[Mapping[str, Any]]) -> Kind | None:
    if any("enum" in member for member in members):
        return "choice"
    types: dict[str, Kind] = {"integer": "integer", "number": "number", "string": "text", "boolean": "switch"}
    named = [types[member["type"]] for member in members if member.get("type") in types]
    return named[0] if named else None


def _plain(value: Any) -> str:
    return f"{value:,}" if isinstance(value, int) else f"{value:g}"
