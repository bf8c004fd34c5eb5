"""The form's cards: one per optimizer, with its blocks, and a sweep that adds one card per value."""

from collections.abc import Sequence
from typing import Any

import streamlit as st
from streamlit.delta_generator import DeltaGenerator

from backend.schemas import OPTIMIZER_NAMES, Adam, BlockHessianFree, Contract, HessianFree
from dashboard import blocks
from dashboard.drafts import Draft, Entry, values_of
from dashboard.forms import Form
from dashboard.frames import OPTIMIZER_TITLES, LayerRow
from dashboard.knobs import knobs
from dashboard.runs import counted

MODELS: dict[str, type[Contract]] = {"adam": Adam, "hf": HessianFree, "bhf": BlockHessianFree}


def optimizers(
    form: Form, held: Draft, layers: Sequence[LayerRow], own: Sequence[Sequence[str]]
) -> tuple[list[dict[str, Any]], dict[int, DeltaGenerator]]:
    """Draw a card per optimizer; return their settings, and where each one's planned blocks are to be shown.

    `own` are the problem's blocks, from which an assignment by hand starts.
    """
    places: dict[int, DeltaGenerator] = {}
    with st.container(border=True, key="section-optimizers"):
        with st.container(horizontal=True, vertical_alignment="center"):
            st.subheader("Optimizers", width="stretch")
            for kind, title in OPTIMIZER_NAMES.items():
                if st.button(title, icon=":material/add:", key=form.key(f"add.{kind}"), help=f"Add {title} once more"):
                    held.add(kind)
                    st.rerun()
        form.slot("optimizers")
        answers = []
        for start in range(0, len(held.entries), 3):
            row = list(enumerate(held.entries))[start : start + 3]
            for place, (position, entry) in zip(st.columns(3), row, strict=False):
                with place:
                    answers.append(_card(form, held, entry, position))
        _sweep(form, held, answers)
        for answer, (position, entry) in zip(answers, enumerate(held.entries), strict=True):
            if entry.kind == "bhf":
                st.markdown(f"**Blocks of {_name(held, entry)}**")
                path = f"optimizers.{position}.partition"
                before = entry.values.get("partition", {})
                answer["partition"] = blocks.partition(form, path, f"{entry.id}.partition", before, layers, own)
                places[position] = st.empty()
    return answers, places


def _sweep(form: Form, held: Draft, answers: Sequence[dict[str, Any]]) -> None:
    """Offer to add one configuration per value of a setting."""
    if not held.entries:
        return
    with st.expander("Sweep: one configuration for each of several values"):
        first, second, third = st.columns(3, vertical_alignment="bottom")
        with first:
            position = st.selectbox(
                "Optimizer",
                range(len(held.entries)),
                format_func=lambda i: _name(held, held.entries[i]),
                key=form.key(f"sweep.entry.{len(held.entries)}"),
            )
        entry = held.entries[position]
        numeric = {knob.name: knob for knob in knobs(MODELS[entry.kind]) if knob.kind in {"integer", "number"}}
        with second:
            name = st.selectbox(
                "Setting",
                list(numeric),
                format_func=lambda n: numeric[n].title,
                key=form.key(f"sweep.knob.{entry.kind}"),
            )
        with third:
            text = st.text_input("Values", placeholder="such as 0.01, 0.1, 1", key=form.key("sweep.values"))
        values = [value for value in values_of(text) if value != answers[position][name]]
        if st.button(f"Add {counted(len(values), 'configuration')}", disabled=not values, key=form.key("sweep.add")):
            for value in values:
                number = int(value) if numeric[name].kind == "integer" and value.is_integer() else value
                held.add(entry.kind, entry.values | answers[position] | {name: number})
            st.rerun()


def _card(form: Form, held: Draft, entry: Entry, position: int) -> dict[str, Any]:
    path = f"optimizers.{position}"
    with st.container(border=True, key=form.key(f"card-{entry.kind}-{entry.id}")):
        with st.container(horizontal=True, vertical_alignment="center"):
            st.markdown(f"**{_name(held, entry)}**", width="stretch")
            if st.button("Remove", key=form.key(f"remove.{entry.id}"), type="tertiary", icon=":material/close:"):
                held.remove(entry)
                st.rerun()
        values = form.knobs(path, knobs(MODELS[entry.kind]), entry.values, key=entry.id)
        form.slot(path)
    return {"kind": entry.kind} | values


def _name(held: Draft, entry: Entry) -> str:
    same = [other.id for other in held.entries if other.kind == entry.kind]
    title = OPTIMIZER_TITLES[entry.kind]
    return title if len(same) == 1 else f"{title} {same.index(entry.id) + 1}"
