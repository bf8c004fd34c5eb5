"""A form whose widgets follow from the schema, with errors beside the field that they concern."""

import html
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import streamlit as st
from pydantic import BaseModel
from streamlit.delta_generator import DeltaGenerator

from backend.errors import FieldError
from backend.schemas.fields import SettingField, setting_fields
from backend.schemas.sweep_values import parse_values
from dashboard.ui.setting_text import value_text
from dashboard.ui.text import escape

FOLDER = Path(__file__).parent
LONGEST = 80
"""characters of a refused value that an error repeats"""


@dataclass
class Form:
    """A form: `scope` is the prefix of its widgets' keys; `slots` are places for errors, by the field's dotted path.

    `helps` are the fields' descriptions by key, `differing` the titles of the fields that do not have their default.
    """

    scope: str
    slots: dict[str, DeltaGenerator] = field(default_factory=dict)
    helps: dict[str, str] = field(default_factory=dict)
    differing: list[str] = field(default_factory=list)

    def key(self, path: str) -> str:
        """Return the key of a field's widget."""
        return f"{self.scope}.{path}"

    def slot(self, path: str) -> None:
        """Reserve this place for the errors of a field."""
        self.slots[path] = st.empty()

    def describe(self, path: str, text: str) -> str:
        """Give a field a description for screen readers; return its key."""
        self.helps[self.key(path)] = text
        return self.key(path)

    def setting(self, path: str, field: SettingField, value: Any, *, key: str | None = None) -> Any:
        """Draw a setting's widget with the initial `value`; return its current value."""
        answer = _draw(field, value, self.describe(key or path, help_text(field)))
        self.slot(path)
        if answer != field.default:
            self.differing.append(field.title)
        return answer

    def settings(
        self, path: str, found: Sequence[SettingField], values: Mapping[str, Any], *, columns: int = 2, key: str = ""
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

    def cell(self, path: str, field: SettingField, values: Sequence[Any]) -> list[Any]:
        """Draw a setting of an optimizer, which takes several values for a sweep; return its values."""
        kept: dict[str, Any] = {"key": self.describe(path, help_text(field)), "persist_state": "session"}
        answer: list[Any]
        if field.kind == "switch":
            choices = [[False], [True], [False, True]]
            index = choices.index(sorted(values))
            answer = st.selectbox(label(field), choices, index=index, format_func=_switch, **kept)
        elif field.kind == "choice":
            answer = st.multiselect(label(field), field.choices, default=list(values), format_func=value_text, **kept)
        else:
            text = st.text_input(label(field), value=_cell_text(values), placeholder=_empty(field), **kept)
            single = field.kind in {"text", "numbers"}
            answer = [text] if single else list(parse_values(text, integer=field.kind == "integer"))
        self.slot(path)
        return answer or [None]

    def show_errors(self, errors: Sequence[FieldError], name: Callable[[str], str]) -> list[str]:
        """Show each error beside its field or the nearest enclosing field, and return a link to each as HTML.

        `name` writes a field's path as its title.
        """
        placed: dict[str, list[str]] = {}
        links = []
        for error in errors:
            home = _nearest(error.field, self.slots)
            text = f"{name(error.field)} is {repr(error.value)[:LONGEST]}: {error.limit}"
            if home is None:
                links.append(html.escape(text))
                continue
            if home not in placed:
                links.append(f'<a href="#{_anchor(home)}" data-field="{self._css(home)}">{html.escape(name(home))}</a>')
            placed.setdefault(home, []).append(text)
        for path, texts in placed.items():
            lines = "<br>".join(html.escape(text) for text in dict.fromkeys(texts))
            self.slots[path].html(f'<p class="bhf-error" role="alert" id="{_anchor(path)}">{lines}</p>')
        return list(dict.fromkeys(links))

    def finish(self) -> None:
        """Style the form, and let the browser name its groups and describe its fields."""
        st.html(f"<style>{(FOLDER / 'form.css').read_text()}</style>")
        descriptions = {_class(key): text for key, text in self.helps.items()}
        _script()(key=self.key("script"), data={"helps": descriptions})

    def _css(self, path: str) -> str:
        return _class(self.key(path))


@st.cache_resource(show_spinner=False)
def _script() -> Callable[..., Any]:
    renderer: Callable[..., Any] = st.components.v2.component(
        "blockhf_form", js=(FOLDER / "form.js").read_text(), isolate_styles=False
    )
    return renderer


def _class(key: str) -> str:
    """Return the class that Streamlit gives to the element of a key."""
    return "st-key-" + re.sub(r"[^a-zA-Z0-9_-]", "-", key)


def _anchor(path: str) -> str:
    return "error-" + path.replace(".", "-")


def form_fields(schema: type[BaseModel] | Mapping[str, Any]) -> list[SettingField]:
    """List the settings of a model or of a JSON schema that one widget can hold."""
    return [field for field in setting_fields(schema) if field.kind is not None]


def _nearest(path: str, slots: Mapping[str, Any]) -> str | None:
    steps = path.split(".")
    return next((home for n in range(len(steps), 0, -1) if (home := ".".join(steps[:n])) in slots), None)


def _draw(field: SettingField, value: Any, key: str) -> Any:
    more = f"[Guide](guide?setting={field.name})"
    kept: dict[str, Any] = {"key": key, "help": f"{escape(help_text(field))} {more}", "persist_state": "session"}
    match field.kind:
        case "switch":
            return st.toggle(label(field), value=bool(value), **kept)
        case "choice":
            options = list(field.choices)
            index = options.index(value) if value in options else 0
            return st.selectbox(label(field), options, index=index, format_func=value_text, **kept)
        case "integer" | "number":
            return _number(field, value, kept)
        case _:
            text: str = st.text_input(label(field), value="" if value is None else str(value), **kept)
            return None if field.optional and not text else text


def _number(field: SettingField, value: Any, kept: dict[str, Any]) -> int | float | None:
    """Draw a number input; an optional one gets its value from the session, so that the user can empty it."""
    kind: type[int] | type[float] = int if field.kind == "integer" else float
    start = None if value is None else kind(value)
    if field.optional and start is not None and kept["key"] not in st.session_state:
        st.session_state[kept["key"]] = start
    answer: int | float | None = st.number_input(
        label(field),
        value=None if field.optional else start,
        step=kind(1) if field.kind == "integer" else 0.1,
        format="%d" if field.kind == "integer" else "%g",
        placeholder=_empty(field),
        **kept,
    )
    return answer


def label(field: SettingField) -> str:
    """Write the name with unit and the paper's value, as plain text for screen readers."""
    unit = "" if not field.unit or field.title.lower().endswith(field.unit) else f" [{field.unit}]"
    paper = "" if field.paper is None else f" (paper: {number_text(field.paper)})"
    return f"{field.title}{unit}{paper}"


def help_text(field: SettingField) -> str:
    """Write what a setting does, its limits and the paper's value."""
    sentences = [field.help[:1].upper() + field.help[1:], field.limits[:1].upper() + field.limits[1:]]
    if field.paper is not None:
        sentences.append(f"The paper uses {number_text(field.paper)}")
    return ". ".join(sentence for sentence in sentences if sentence) + "."


def _empty(field: SettingField) -> str:
    """Return what an empty value means, if the help names it."""
    found = re.search(r"empty: ([^;)]+)", field.help)
    return found[1] if found else "none"


def _switch(values: Sequence[bool]) -> str:
    return " and ".join(map(value_text, values))


def number_text(value: Any) -> str:
    """Write a number so that it is read as the same number again; no value is an empty text."""
    return "" if value is None else f"{value:.12g}" if isinstance(value, float) else str(value)


def _cell_text(values: Sequence[Any]) -> str:
    """Write the values of a cell: numbers with commas between them; a list, such as one damping per block, alone."""
    texts = [" ".join(map(number_text, one)) if isinstance(one, list) else number_text(one) for one in values]
    return ", ".join(text for text in texts if text)
