"""A sweep in the form: lists or ranges of values for settings of an optimizer, and a card for each combination."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import streamlit as st

from backend.schemas.experiments import ExperimentSpec
from backend.schemas.fields import SettingField
from backend.schemas.sweep_values import combinations, parse_values
from dashboard.launch.draft import Draft, Entry
from dashboard.launch.form import Form, form_fields
from dashboard.ui.text import counted, escape

MAX_CONFIGURATIONS = next(
    limit.max_length for limit in ExperimentSpec.model_fields["optimizers"].metadata if hasattr(limit, "max_length")
)


def new_points(values: Mapping[str, Sequence[Any]], current: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return each combination of the values except the current one; settings without a value are ignored."""
    given = {name: list(dict.fromkeys(some)) for name, some in values.items() if some}
    return [point for point in combinations(given) if any(current.get(name) != value for name, value in point.items())]


def sweep(
    form: Form, held: Draft, answers: Sequence[dict[str, Any]], names: Sequence[str], models: Mapping[str, Any]
) -> None:
    """Offer to add one configuration per combination of values; `names` are the titles of the form's cards."""
    if not held.entries:
        return
    with st.expander("Sweep: one configuration per combination of values"):
        first, second = st.columns([1, 2], vertical_alignment="bottom")
        with first:
            position = st.selectbox(
                "Optimizer",
                range(len(held.entries)),
                format_func=names.__getitem__,
                key=form.key(f"sweep.entry.{len(held.entries)}"),
            )
        entry = held.entries[position]
        known = {field.name: field for field in form_fields(models[entry.kind]) if field.kind != "text"}
        with second:
            chosen = st.multiselect(
                "Settings",
                list(known),
                format_func=lambda name: known[name].title,
                key=form.key(f"sweep.settings.{entry.kind}"),
                placeholder="Choose one or more",
                persist_state="session",
            )
        values = {name: _values(form, entry, known[name]) for name in chosen}
        _add(form, held, entry, answers[position], new_points(values, answers[position]))


def _values(form: Form, entry: Entry, field: SettingField) -> list[Any]:
    """Draw the input of a setting's values; return them."""
    label, key = f"Values of {field.title}", form.key(f"sweep.values.{entry.kind}.{field.name}")
    if field.kind == "switch":
        st.caption(f"{field.title}: off and on")
        return [False, True]
    if field.kind == "choice":
        return list(st.multiselect(label, field.choices, default=field.choices, key=key, persist_state="session"))
    text = st.text_input(
        label,
        placeholder="e.g. 0.01, 0.1 or 0.001..1/4",
        help="A list of values, or LOW..HIGH/COUNT: COUNT values from LOW to HIGH. They are spaced evenly, on a "
        "logarithmic scale if HIGH is more than 10 times LOW.",
        key=key,
        persist_state="session",
    )
    found = parse_values(text, integer=field.kind == "integer")
    numbers = [value for value in found if not isinstance(value, bool | str) and math.isfinite(value)]
    if len(numbers) < len(found):
        refused = ", ".join(str(value) for value in found if value not in numbers)
        st.caption(f"Not a number: {escape(refused)}")
    return numbers


def _add(form: Form, held: Draft, entry: Entry, now: Mapping[str, Any], found: Sequence[dict[str, Any]]) -> None:
    left = MAX_CONFIGURATIONS - len(held.entries)
    label = f"Add {counted(len(found), 'configuration')}"
    if st.button(label, disabled=not 0 < len(found) <= left, key=form.key("sweep.add")):
        for point in found:
            held.add(entry.kind, {**entry.values, **now, **point})
        st.rerun()
    if len(found) > left:
        st.caption(f"A comparison has at most {MAX_CONFIGURATIONS} configurations; you can add {left} more.")
