"""Keeping order among comparisons: their names, notes and tags, the archive, deletion and its undo."""

import html
from collections.abc import Sequence

import streamlit as st

from backend.errors import BlockHFError, InvalidInput
from backend.schemas.base import MAX_TAGS
from backend.schemas.runs import Experiment
from dashboard.ui.backend import client
from dashboard.ui.text import counted, escape, slug_of

MAX_NAME, MAX_NOTE = 120, 10_000
_SHOWN = 6


def about(chosen: Sequence[Experiment]) -> None:
    """Show tags and notes of the chosen comparisons, as text; nothing where they have none."""
    said = [one for one in chosen if one.note or one.tags or one.archived]
    for one in said[:_SHOWN]:
        name = f"<b>{html.escape(one.name)}</b>" if len(chosen) > 1 else ""
        marks = "".join(f"<span class='bhf-tag'>{html.escape(tag)}</span>" for tag in one.tags)
        marks += "<em>archived</em>" if one.archived else ""
        title = html.escape(one.name, quote=True)
        note = f"<p tabindex='0' role='region' aria-label='Note of {title}'>{html.escape(one.note)}</p>"
        st.html(f"<div class='bhf-about'><div>{name}{marks}</div>{note if one.note else ''}</div>")
    if len(said) > _SHOWN:
        st.caption(f"and {counted(len(said) - _SHOWN, 'comparison')} more with a note or tags")


@st.dialog("Name, note and tags", width="medium")
def manage(chosen: Sequence[Experiment], tags: Sequence[str]) -> None:
    """Edit one of the chosen comparisons, archive it, or delete it after saying what that cancels."""
    by_id = {one.id: one for one in chosen}
    first = next(iter(by_id))
    id_ = first
    if len(by_id) > 1:
        id_ = st.selectbox("Comparison", list(by_id), format_func=lambda key: by_id[key].name, key="managed")
    one = by_id[id_]
    name = st.text_input("Name", one.name, max_chars=MAX_NAME, key=f"name-{id_}")
    note = st.text_area("Note", one.note, max_chars=MAX_NOTE, height=160, key=f"note-{id_}", placeholder="Plain text")
    chosen_tags = st.multiselect(
        "Tags",
        sorted({*tags, *one.tags}),
        default=one.tags,
        key=f"tags-{id_}",
        accept_new_options=True,
        max_selections=MAX_TAGS,
        placeholder="Choose, or type a new one",
    )
    wanted = list(dict.fromkeys(slug_of(tag) for tag in chosen_tags))
    open_runs = sum(not run.final for run in one.runs)
    with st.container(horizontal=True):
        if st.button("Save", type="primary", key="save-comparison"):
            _change(one, name=name, note=note, tags=wanted)
        archive = "Take out of the archive" if one.archived else "Archive"
        if st.button(archive, icon=":material/archive:", help="Lists leave out what is archived", key="archive"):
            _change(one, archived=not one.archived)
        label = f"Delete and cancel {counted(open_runs, 'run')}" if open_runs else "Delete"
        if st.button(label, icon=":material/delete:", key="delete", on_click=_delete, args=(one,)):
            st.rerun()
    if open_runs:
        waiting = "1 run of this waits or trains" if open_runs == 1 else f"{open_runs} runs of this wait or train"
        st.caption(f"{waiting}; deleting cancels them. Deletion can be undone, the runs can then be tried again.")


def _change(one: Experiment, *, archived: bool | None = None, **fields: str | list[str]) -> None:
    """Write a change and close the dialog; where it is refused, say which field and why, and stay."""
    name, note, tags = fields.get("name"), fields.get("note"), fields.get("tags")
    try:
        client().edit(
            one.id,
            name=name if isinstance(name, str) else None,
            note=note if isinstance(note, str) else None,
            tags=tags if isinstance(tags, list) else None,
            archived=archived,
        )
    except InvalidInput as error:
        for line in error.errors:
            st.error(escape(str(line)))
        return
    except BlockHFError as error:
        st.error(escape(str(error)))
        return
    st.rerun()


def _delete(one: Experiment) -> None:
    """Delete a comparison, take it out of the choice, and remember it for the undo."""
    try:
        client().delete(one.id)
    except BlockHFError as error:
        st.toast(str(error), icon=":material/error:")
        return
    st.session_state.setdefault("deleted", {})[one.id] = one.name
    st.session_state["chosen"] = [id_ for id_ in st.session_state.get("chosen", []) if id_ != one.id]


def deleted(found: Sequence[Experiment]) -> None:
    """Offer to undo this visit's deletions, and those of comparisons `found` by the URL."""
    session: dict[str, str] = st.session_state.setdefault("deleted", {})
    for id_, name in (session | {one.id: one.name for one in found}).items():
        with st.container(horizontal=True, vertical_alignment="center", key=f"deleted-{id_}"):
            st.html(f"<p class='bhf-deleted'>Deleted: {html.escape(name)}</p>", width="content")
            st.button("Undo", key=f"undo-{id_}", icon=":material/undo:", on_click=_undo, args=(id_,))
            if id_ in session:
                st.button("Dismiss", key=f"dismiss-{id_}", type="tertiary", on_click=_dismiss, args=(id_,))


def _dismiss(id_: str) -> None:
    st.session_state["deleted"].pop(id_, None)


def _undo(id_: str) -> None:
    try:
        one = client().restore(id_)
    except BlockHFError as error:
        st.toast(str(error), icon=":material/error:")
        return
    st.session_state["deleted"].pop(id_, None)
    st.session_state["chosen"] = [*st.session_state.get("chosen", []), id_]
    stopped = sum(run.status == "cancelled" for run in one.runs)
    if stopped:
        st.toast(f"{counted(stopped, 'run')} cancelled: Try again lets it go on from its checkpoint")
