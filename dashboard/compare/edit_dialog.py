"""Editing comparisons: name, note, tags, archive, deletion and its undo."""

import html
from collections.abc import Sequence

import streamlit as st

from backend.errors import BlockHFError, InvalidInput
from backend.schemas.base import MAX_TAGS
from backend.schemas.runs import Experiment
from dashboard.ui.backend import client, may_launch, report
from dashboard.ui.text import MAX_NAME, counted, escape, slug_of, unique_labels

MAX_NOTE = 10_000
_SHOWN = 6
_BEGINNING = 120  # characters of a note that show before it is opened


def draw_notes(chosen: Sequence[Experiment]) -> None:
    """Show tags and the beginning of the notes of the chosen comparisons in one line, which opens at a press."""
    noted = [one for one in chosen if one.note or one.tags or one.archived]
    if not noted:
        return
    parts = []
    for one in noted[:_SHOWN]:
        name = f"<b>{html.escape(one.name)}</b>" if len(chosen) > 1 else ""
        title = html.escape(one.name, quote=True)
        note = f"<p tabindex='0' role='region' aria-label='Note of {title}'>{html.escape(one.note)}</p>"
        parts.append((f"{name}{_marks(one)}", note if one.note else ""))
    more = f"<div>and {counted(len(noted) - _SHOWN, 'comparison')} more with a note or tags</div>"
    whole = "".join(f"<div>{marks}</div>{note}" for marks, note in parts) + more * (len(noted) > _SHOWN)
    if len(noted) > 1:
        first, rest = f"Notes and tags of {counted(len(noted), 'comparison')}", whole
    else:
        first, rest = f"{_marks(noted[0])}{html.escape(noted[0].note.partition(chr(10))[0][:_BEGINNING])}", parts[0][1]
    st.html(
        f"<details class='bhf-about'><summary>{first}</summary>{rest}</details>"
        if rest
        else f"<div class='bhf-about'><div>{first}</div></div>"
    )


def _marks(one: Experiment) -> str:
    marks = "".join(f"<span class='bhf-tag'>{html.escape(tag)}</span> " for tag in one.tags)
    return marks + "<em>archived</em> " * one.archived


@st.dialog("Edit comparison", width="medium")
def edit(chosen: Sequence[Experiment], tags: Sequence[str]) -> None:
    """Edit one of the chosen comparisons, archive it, or delete it; the dialog says which runs that cancels."""
    by_id = {one.id: one for one in chosen}
    first = next(iter(by_id))
    id_ = first
    if len(by_id) > 1:
        name_of = unique_labels(by_id, lambda key: by_id[key].name)
        id_ = st.selectbox("Comparison", list(by_id), format_func=name_of, key="managed")
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
        placeholder="Choose or type a tag",
    )
    new_tags = list(dict.fromkeys(slug_of(tag) for tag in chosen_tags))
    open_runs = sum(not run.final for run in one.runs)
    with st.container(horizontal=True):
        if st.button("Save", type="primary", key="save-comparison"):
            _change(one, name=name, note=note, tags=new_tags)
        archive = "Unarchive" if one.archived else "Archive"
        if st.button(archive, icon=":material/archive:", help="Archived comparisons are not listed", key="archive"):
            _change(one, archived=not one.archived)
        label = f"Delete and cancel {counted(open_runs, 'run')}" if open_runs else "Delete"
        if st.button(label, icon=":material/delete:", key="delete", on_click=_delete, args=(one,)):
            st.rerun()
    if open_runs:
        st.caption(f"Deleting cancels {counted(open_runs, 'run')}. After an undo, retry the cancelled runs.")


def _change(one: Experiment, *, archived: bool | None = None, **fields: str | list[str]) -> None:
    """Save a change and close the dialog; if it is refused, show field and reason and keep the dialog open."""
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
    """Delete a comparison, deselect it, and remember it for the undo."""
    try:
        client().delete(one.id)
    except BlockHFError as error:
        report(error)
        return
    st.session_state.setdefault("deleted", {})[one.id] = one.name
    st.session_state["chosen"] = [id_ for id_ in st.session_state.get("chosen", []) if id_ != one.id]


def draw_deleted(found: Sequence[Experiment]) -> None:
    """Offer to undo the deletions of this session, and of the comparisons `found` that the URL names."""
    session: dict[str, str] = st.session_state.setdefault("deleted", {})
    for id_, name in (session | {one.id: one.name for one in found}).items():
        with st.container(horizontal=True, vertical_alignment="center", key=f"deleted-{id_}"):
            st.html(f"<p class='bhf-deleted'>Deleted: {html.escape(name)}</p>", width="content")
            if may_launch():
                st.button("Undo", key=f"undo-{id_}", icon=":material/undo:", on_click=_undo, args=(id_,))
            if id_ in session:
                st.button("Dismiss", key=f"dismiss-{id_}", type="tertiary", on_click=_dismiss, args=(id_,))


def _dismiss(id_: str) -> None:
    st.session_state["deleted"].pop(id_, None)


def _undo(id_: str) -> None:
    try:
        one = client().restore(id_)
    except BlockHFError as error:
        report(error)
        return
    st.session_state["deleted"].pop(id_, None)
    st.session_state["chosen"] = [*st.session_state.get("chosen", []), id_]
    stopped = sum(run.status == "cancelled" for run in one.runs)
    if stopped:
        st.toast(f"{counted(stopped, 'run')} cancelled. Retry continues from the last checkpoint.")
