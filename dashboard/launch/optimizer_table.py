"""The form's optimizers: one card each, with its blocks."""

from collections.abc import Sequence
from typing import Any

import streamlit as st
from streamlit.delta_generator import DeltaGenerator

from backend.schemas.optimizer_registry import OPTIMIZERS
from dashboard.launch import block_editor
from dashboard.launch.draft import Draft, Entry
from dashboard.launch.form import Form, form_fields
from dashboard.launch.layers import LayerRow
from dashboard.launch.sweep import sweep


def draw_optimizers(
    form: Form, held: Draft, layers: Sequence[LayerRow], own: Sequence[Sequence[str]]
) -> tuple[list[dict[str, Any]], dict[int, DeltaGenerator]]:
    """Draw a card per optimizer; return the settings, and the places for the planned blocks by position.

    `own` are the problem's blocks, from which a custom partition starts.
    """
    places: dict[int, DeltaGenerator] = {}
    with st.container(border=True, key="section-optimizers"):
        with st.container(horizontal=True, vertical_alignment="center"):
            st.subheader("Optimizers", width="stretch")
            for kind, model in sorted(OPTIMIZERS.items(), key=lambda item: not item[1].featured):
                title = model.title
                if st.button(title, icon=":material/add:", key=form.key(f"add.{kind}"), help=f"Add another {title}"):
                    held.add(kind)
                    st.rerun()
        form.slot("optimizers")
        answers = []
        for start in range(0, len(held.entries), 3):
            row = list(enumerate(held.entries))[start : start + 3]
            for place, (position, entry) in zip(st.columns(3), row, strict=False):
                with place:
                    answers.append(_card(form, held, entry, position))
        sweeping = st.container()
        for answer, (position, entry) in zip(answers, enumerate(held.entries), strict=True):
            if OPTIMIZERS[entry.kind].has_blocks:
                st.markdown(f"**Blocks of {_name(held, entry)}**")
                path = f"optimizers.{position}.partition"
                before = entry.values.get("partition", {})
                answer["partition"] = block_editor.draw_partition(
                    form, path, f"{entry.id}.partition", before, layers, own
                )
                places[position] = st.empty()
        with sweeping:  # drawn last, so that a sweep copies the blocks, too
            sweep(form, held, answers, [_name(held, entry) for entry in held.entries], OPTIMIZERS)
    return answers, places


def _card(form: Form, held: Draft, entry: Entry, position: int) -> dict[str, Any]:
    path = f"optimizers.{position}"
    with st.container(border=True, key=form.key(f"card-{entry.kind}-{entry.id}")):
        with st.container(horizontal=True, vertical_alignment="center"):
            st.markdown(f"**{_name(held, entry)}**", width="stretch")
            if st.button("Remove", key=form.key(f"remove.{entry.id}"), type="tertiary", icon=":material/close:"):
                held.remove(entry)
                st.rerun()
        values = form.settings(path, form_fields(OPTIMIZERS[entry.kind]), entry.values, key=entry.id)
        form.slot(path)
    return {"kind": entry.kind} | values


def _name(held: Draft, entry: Entry) -> str:
    same = [other.id for other in held.entries if other.kind == entry.kind]
    title = OPTIMIZERS[entry.kind].long_title
    return title if len(same) == 1 else f"{title} {same.index(entry.id) + 1}"
