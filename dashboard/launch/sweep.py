"""A sweep in the form: lists or ranges of values for any settings of an optimizer, and a card for each combination."""

import itertools
from collections.abc import Mapping, Sequence
from typing import Any

import streamlit as st

from backend.schemas.experiments import ExperimentSpec
from dashboard.launch.draft import Draft, Entry, values_of
from dashboard.launch.fields import Knob, knobs
from dashboard.launch.form import Form
from dashboard.ui.text import counted

MOST = next(
    limit.max_length for limit in ExperimentSpec.model_fields["optimizers"].metadata if hasattr(limit, "max_length")
)


def points(values: Mapping[str, Sequence[Any]], now: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return each combination of the values but the one that is `now`; settings without a value do not count."""
    given = {name: list(dict.fromkeys(some)) for name, some in values.items() if some}
    if not given:
        return []
    found = (dict(zip(given, some, strict=True)) for some in itertools.product(*given.values()))
    return [point for point in found if any(now.get(name) != value for name, value in point.items())]


def sweep(
    form: Form, held: Draft, answers: Sequence[dict[str, Any]], names: Sequence[str], models: Mapping[str, Any]
) -> None:
    """Offer to add one configuration per combination of values; `names` are those of the form's cards."""
    if not held.entries:
        return
    with st.expander("Sweep: one configuration for each combination of values"):
        first, second = st.columns([1, 2], vertical_alignment="bottom")
        with first:
            position = st.selectbox(
                "Optimizer",
                range(len(held.entries)),
                format_func=names.__getitem__,
                key=form.key(f"sweep.entry.{len(held.entries)}"),
            )
        entry = held.entries[position]
        known = {knob.name: knob for knob in knobs(models[entry.kind]) if knob.kind != "text"}
        with second:
            chosen = st.multiselect(
                "Settings",
                list(known),
                format_func=lambda name: known[name].title,
                key=form.key(f"sweep.knobs.{entry.kind}"),
                placeholder="Choose one or more",
                persist_state="session",
            )
        values = {name: _values(form, entry, known[name]) for name in chosen}
        _add(form, held, entry, answers[position], points(values, answers[position]))


def _values(form: Form, entry: Entry, knob: Knob) -> list[Any]:
    """Draw the entry of a setting's values; return them."""
    label, key = f"Values of {knob.title}", form.key(f"sweep.values.{entry.kind}.{knob.name}")
    if knob.kind == "switch":
        st.caption(f"{knob.title}: off and on")
        return [False, True]
    if knob.kind == "choice":
        return list(st.multiselect(label, knob.choices, default=knob.choices, key=key, persist_state="session"))
    text = st.text_input(
        label,
        placeholder="such as 0.01, 0.1 or 0.001..1/4",
        help="A list, or LOW..HIGH/COUNT: so many values from one to the other, evenly on a logarithmic scale where "
        "they span more than a factor of 10",
        key=key,
        persist_state="session",
    )
    numbers = values_of(text)
    return list(dict.fromkeys(round(number) for number in numbers)) if knob.kind == "integer" else numbers


def _add(form: Form, held: Draft, entry: Entry, now: Mapping[str, Any], found: Sequence[dict[str, Any]]) -> None:
    room = MOST - len(held.entries)
    label = f"Add {counted(len(found), 'configuration')}"
    if st.button(label, disabled=not 0 < len(found) <= room, key=form.key("sweep.add")):
        for point in found:
            held.add(entry.kind, {**entry.values, **now, **point})
        st.rerun()
    if len(found) > room:
        st.caption(f"A comparison holds at most {MOST} configurations: there is room for {room} more.")
