"""A form whose widgets follow from the schema, with errors beside the field that they concern."""

import html
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import streamlit as st
from pydantic import BaseModel
from streamlit.delta_generator import DeltaGenerator

from backend.errors import FieldError
from backend.schemas.fields import SettingField, setting_fields
from dashboard.ui.text import escape


@dataclass
class Form:
    """A form: `scope` is the prefix of its widgets' keys; errors are placed by the field's dotted path."""

    scope: str
    slots: dict[str, DeltaGenerator] = field(default_factory=dict)

    def key(self, path: str) -> str:
        """Return the key of a field's widget."""
        return f"{self.scope}.{path}"

    def slot(self, path: str) -> None:
        """Reserve this place for the errors of a field."""
        self.slots[path] = st.empty()

    def setting(self, path: str, field: SettingField, value: Any, *, key: str | None = None) -> Any:
        """Draw a setting's widget with the initial `value`; return its current value."""
        answer = _draw(field, value, self.key(key or path))
        self.slot(path)
        return answer

    def settings(
        self,
        path: str,
        found: Sequence[SettingField],
        values: Mapping[str, Any],
        *,
        columns: int = 2,
        key: str | None = None,
    ) -> dict[str, Any]:
        """Draw several settings in columns; return their values by name."""
        answers = {}
        for start in range(0, len(found), columns):
            row = found[start : start + columns]
            for place, one in zip(st.columns(columns, gap="small", vertical_alignment="bottom"), row, strict=False):
                inner = f"{key}.{one.name}" if key else None
                value = values.get(one.name, one.default)
                with place:
                    answers[one.name] = self.setting(f"{path}.{one.name}".lstrip("."), one, value, key=inner)
        return answers

    def show_errors(self, errors: Sequence[FieldError]) -> list[FieldError]:
        """Show each error beside its field or the nearest enclosing field; return those without a place."""
        placed: dict[str, list[str]] = {}
        unplaced = []
        for error in errors:
            home = _nearest(error.field, self.slots)
            if home is None:
                unplaced.append(error)
            else:
                placed.setdefault(home, []).append(str(error))
        for path, texts in placed.items():
            lines = "<br>".join(html.escape(text) for text in dict.fromkeys(texts))
            self.slots[path].html(f'<p class="bhf-error" role="alert">{lines}</p>')
        return unplaced


def form_fields(schema: type[BaseModel] | Mapping[str, Any]) -> list[SettingField]:
    """List the settings of a model or of a JSON schema that one widget can hold."""
    return [field for field in setting_fields(schema) if field.kind is not None]


def _nearest(path: str, slots: Mapping[str, Any]) -> str | None:
    steps = path.split(".")
    for count in range(len(steps), 0, -1):
        if (home := ".".join(steps[:count])) in slots:
            return home
    return None


def _draw(field: SettingField, value: Any, key: str) -> Any:
    label = _label(field)
    kept: dict[str, Any] = {"key": key, "help": _help(field), "persist_state": "session"}
    match field.kind:
        case "switch":
            return st.toggle(label, value=bool(value), **kept)
        case "choice":
            options = list(field.choices)
            index = options.index(value) if value in options else 0
            return st.selectbox(label, options, index=index, format_func=_choice, **kept)
        case "text":
            text: str = st.text_input(label, value="" if value is None else str(value), **kept)
            return None if field.optional and not text else text
        case "numbers":
            return st.text_input(label, value=value if isinstance(value, str) else " ".join(map(_plain, value)), **kept)
        case "integer":
            return _number(field, label, None if value is None else int(value), kept)
        case _:
            return _number(field, label, None if value is None else float(value), kept)


def _choice(value: Any) -> str:
    return "none" if value is None else str(value)


def _number(field: SettingField, label: str, value: int | float | None, kept: dict[str, Any]) -> int | float | None:
    """Draw a number input; an optional one gets its value from the session, so that the user can empty it."""
    if field.optional and value is not None and kept["key"] not in st.session_state:
        st.session_state[kept["key"]] = value
    answer: int | float | None = st.number_input(
        label,
        value=None if field.optional else value,
        step=_step(value) if field.kind == "integer" else _fine(value),
        format="%d" if field.kind == "integer" else "%g",
        placeholder=_empty(field),
        **kept,
    )
    return answer


def _label(field: SettingField) -> str:
    """Write the name with unit and the paper's value, as plain text for screen readers."""
    unit = "" if not field.unit or field.title.lower().endswith(field.unit) else f" [{field.unit}]"
    paper = "" if field.paper is None else f" (paper: {_plain(field.paper)})"
    return f"{field.title}{unit}{paper}"


def _help(field: SettingField) -> str:
    sentences = [field.help[:1].upper() + field.help[1:], field.limits[:1].upper() + field.limits[1:]]
    if field.paper is not None:
        sentences.append(f"The paper uses {_plain(field.paper)}")
    return escape(". ".join(sentence for sentence in sentences if sentence) + ".")


def _empty(field: SettingField) -> str:
    """Return what an empty value means, if the help names it."""
    found = re.search(r"empty: ([^;)]+)", field.help)
    return found[1] if found else "none"


def _plain(value: Any) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)


def _step(value: float | None) -> int:
    """Return about a tenth of the value, as a power of ten."""
    return 1 if not value or abs(value) < 50 else 10 ** (int(math.log10(abs(value))) - 1)


def _fine(value: float | None) -> float:
    return 0.1 if not value else 10.0 ** math.floor(math.log10(abs(value)) - 0.5)
