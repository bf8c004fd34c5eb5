"""The user's presets: the form's settings saved under a name, reused and deleted."""

import hashlib
from collections.abc import Sequence

import streamlit as st

from backend.errors import BlockHFError
from backend.schemas.experiments import ExperimentSpec
from backend.schemas.runs import Preset
from dashboard.launch.form import Form
from dashboard.ui.backend import client, report
from dashboard.ui.text import MAX_NAME, escape, slug_of, unique_labels

_DELETED = "deleted preset"


def slug_for(title: str) -> str:
    """Return the slug under which a title is saved; titles that differ only in punctuation share it."""
    return slug_of(title) or f"preset-{hashlib.sha256(title.encode()).hexdigest()[:12]}"


def named_specs(saved: Sequence[Preset]) -> dict[str, ExperimentSpec]:
    """Return the saved specifications by the name in the list, which differs even for presets of equal title.

    Those with an unavailable optimizer are omitted.
    """
    titles = {preset.slug: f"Mine: {preset.title}" for preset in saved}
    name = unique_labels(titles, titles.__getitem__)
    specs = {name(preset.slug): preset.spec.to_launch() for preset in saved}
    return {title: spec for title, spec in specs.items() if spec is not None}


def draw_list(saved: Sequence[Preset]) -> None:
    """Draw the list of presets, each with a delete button, and the undo of the last deletion."""
    gone: Preset | None = st.session_state.get(_DELETED)
    if not saved and gone is None:
        return
    with st.popover("My presets", icon=":material/bookmarks:"):
        for preset in saved:
            with st.container(horizontal=True, vertical_alignment="center", key=f"preset-{preset.slug}"):
                st.markdown(escape(preset.title), width="stretch")
                st.button(
                    "Delete",
                    key=f"delete-preset-{preset.slug}",
                    icon=":material/delete:",
                    help=f"Delete {escape(preset.title)}",
                    on_click=_delete,
                    args=(preset,),
                )
        if gone is not None:
            with st.container(horizontal=True, vertical_alignment="center", key="preset-gone"):
                st.markdown(f"Deleted: {escape(gone.title)}", width="stretch")
                st.button("Undo", key="undo-preset", icon=":material/undo:", on_click=_undo, args=(gone,))


def draw_save(form: Form, spec: ExperimentSpec | None, saved: Sequence[Preset]) -> None:
    """Offer to save the form's settings as a preset, or to replace the preset of the same name."""
    key = form.key("preset")
    with st.popover("Save", icon=":material/bookmark_add:"):
        title = st.text_input(
            "Save as preset",
            key=key,
            max_chars=MAX_NAME,
            placeholder="e.g. Two blocks, damped",
            width=320,
            help="Your presets appear under Start from, and in `blockhf launch --preset`",
        ).strip()
        taken = slug_for(title) in {preset.slug for preset in saved}
        st.button(
            "Replace preset" if title and taken else "Save preset",
            key=form.key("save"),
            icon=":material/bookmark_add:",
            disabled=spec is None,
            on_click=_save_typed,
            args=(key, spec),
        )


def _save_typed(key: str, spec: ExperimentSpec) -> None:
    title = st.session_state[key].strip()
    if not title:
        report("Enter a name for the preset")
        return
    if _save(title, spec):
        st.session_state[key] = ""


def _save(title: str, spec: ExperimentSpec) -> bool:
    try:
        client().save_preset(slug_for(title), title, spec)
    except BlockHFError as error:
        report(error)
        return False
    st.session_state.pop(_DELETED, None)
    st.toast(f"Saved: {escape(title)}")
    return True


def _undo(gone: Preset) -> None:
    if (spec := gone.spec.to_launch()) is not None:
        _save(gone.title, spec)


def _delete(preset: Preset) -> None:
    try:
        client().delete_preset(preset.slug)
    except BlockHFError as error:
        report(error)
        return
    st.session_state[_DELETED] = preset
