"""The form's optimizers: a table with one column each, and their other settings."""

import html
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import streamlit as st
from streamlit.delta_generator import DeltaGenerator

from backend.schemas.catalog import ProblemInfo
from backend.schemas.fields import SettingField
from backend.schemas.optimizer_registry import OPTIMIZERS
from backend.schemas.run_names import SEPARATOR
from dashboard.launch import block_editor
from dashboard.launch.draft import Draft, Entry
from dashboard.launch.form import Form, form_fields, help_text
from dashboard.launch.sweep import expand, swept
from dashboard.ui.setting_text import short_name, value_text
from dashboard.ui.text import counted

BATCH, CURVATURE_BATCH, PARTITION = "gradient_batch", "curvature_batch", "partition"
ROWS = ("learning_rate", BATCH, CURVATURE_BATCH, "damping")
"""settings in the table, if an optimizer has them; all others are advanced"""


@dataclass
class Column:
    """An optimizer of the form, with the values of its settings, and the place for the bar of its blocks."""

    entry: Entry
    title: str
    values: dict[str, Sequence[Any]]
    bar: DeltaGenerator | None = None

    @property
    def kind(self) -> str:
        """Return the optimizer's kind."""
        return self.entry.kind

    def configurations(self) -> list[dict[str, Any]]:
        """Return the settings of each combination of values."""
        return [{"kind": self.kind} | point for point in expand(self.values)]

    def label(self, configuration: Mapping[str, Any], blocks: int) -> str:
        """Name a configuration by the settings that the sweep varies."""
        names = swept(self.values)
        parts = [f"{short_name(name)} {value_text(configuration[name])}" for name in names if name != PARTITION]
        several = [counted(blocks, "block")] if PARTITION in names else []
        return SEPARATOR.join([self.title, *parts, *several])


def draw_table(form: Form, held: Draft, problem: ProblemInfo) -> list[Column]:
    """Draw the table of the optimizers' main settings; return the columns."""
    models = [OPTIMIZERS[entry.kind] for entry in held.entries]
    columns = [Column(entry, held.title(entry), {}) for entry in held.entries]
    fields = [{field.name: field for field in form_fields(model)} for model in models]
    rows = [name for name in ROWS if any(name in known for known in fields)] or [BATCH]
    with st.container(key="optimizer-table"):
        head, *places = st.columns([1.1, *[1] * len(columns)], gap="small")
        with head:
            with _cell():
                _edit_columns(form, held)
            for name in rows:
                with st.container(horizontal=True, gap="small"):
                    _row_head(next(known[name] for known in fields if name in known), kept=name == BATCH)
                    if name == BATCH:
                        linked = _link(form, held)
            if any(model.has_blocks for model in models):
                with _cell():
                    _row_head(block_editor.FIELD)
        for column, place, known, model in zip(columns, places, fields, models, strict=True):
            with place:
                with _cell():
                    head_of(column.title, model.long_title)
                first = column is columns[0]
                for name in rows:
                    with _cell():
                        if name == BATCH and linked and not first:
                            column.values[name] = columns[0].values[name]
                            _text("same")
                        elif name in known:
                            start = column.entry.values.get(name, [known[name].default])
                            if name == BATCH and not first and _starts_linked(held):
                                start = list(columns[0].values[name])  # it was shared until now
                            column.values[name] = form.cell(f"{column.entry.id}.{name}", known[name], start)
                        else:
                            _text("\N{EN DASH}")
                if any(model.has_blocks for model in models):
                    with _cell():
                        if model.has_blocks:
                            before = column.entry.values.get(PARTITION, [{"kind": "problem"}])
                            column.values[PARTITION] = block_editor.draw_cell(form, column.entry.id, before)
                            column.bar = st.empty()
                        else:
                            _text("1" if model.has_curvature else "\N{EN DASH}")
    form.slot("optimizers")
    layers = [layer.name for layer in problem.layers]
    for column in columns:
        partitions = column.values.get(PARTITION, [])
        if block_editor.CUSTOM in partitions:
            custom = block_editor.draw_custom(form, column.entry, column.title, problem.partition, layers)
            column.values[PARTITION] = [custom if one == block_editor.CUSTOM else one for one in partitions]
    _offer(form, columns)
    return columns


def _cell() -> DeltaGenerator:
    """Make a cell of the table: a container of its own, so that a row's cells share their height."""
    return st.container(gap=None)


def _row_head(field: SettingField, *, kept: bool = False) -> None:
    """Write a row's name, its unit, and a link to its explanation, which the Tab key passes over.

    On a narrow page the fields have labels instead, unless the name is kept.
    """
    unit = f" <small>{html.escape(field.unit)}</small>" if field.unit and len(field.unit) < 10 else ""
    about = html.escape(help_text(field))
    link = f'<a href="guide?setting={field.name}" target="_blank" tabindex="-1" title="{about}">?</a>'
    class_ = "bhf-row-head bhf-kept" if kept else "bhf-row-head"
    st.html(f'<p class="{class_}">{html.escape(field.title)}{unit} {link}</p>', width="content")


def head_of(title: str, long_title: str) -> None:
    """Write the head of an optimizer's column, which names it as a group."""
    st.html(f'<p class="bhf-column-head" data-group="{html.escape(long_title)}"><b>{html.escape(title)}</b></p>')


def _text(text: str) -> None:
    st.html(f'<p class="bhf-no-field">{text}</p>')


def _edit_columns(form: Form, held: Draft) -> None:
    with st.popover("Optimizers", icon=":material/add:", width="content"):
        for kind, model in sorted(OPTIMIZERS.items(), key=lambda item: not item[1].featured):
            if st.button(model.title, icon=":material/add:", key=form.key(f"add.{kind}"), width="stretch"):
                held.add(kind)
                st.rerun()
        for entry in held.entries:
            text, key = f"Remove {held.title(entry)}", form.key(f"remove.{entry.id}")
            if len(held.entries) > 1 and st.button(text, icon=":material/close:", key=key, type="tertiary"):
                held.remove(entry)
                st.rerun()


def _link(form: Form, held: Draft) -> bool:
    """Offer to use one gradient batch for all optimizers."""
    return len(held.entries) > 1 and st.checkbox(
        "same for all", value=_starts_linked(held), key=form.key("same_batch"), persist_state="session"
    )


def _starts_linked(held: Draft) -> bool:
    """Return whether all optimizers that the form started with have one gradient batch."""
    return all(entry.values.get(BATCH) in (None, held.entries[0].values.get(BATCH)) for entry in held.entries)


def _offer(form: Form, columns: Sequence[Column]) -> None:
    """Offer a curvature batch that fits the gradient batch, if one no longer does."""
    wanted = {}
    for column in columns:
        size, curvature = (column.values.get(name, []) for name in (BATCH, CURVATURE_BATCH))
        model, before = OPTIMIZERS[column.kind], column.entry.values
        if not (len(size) == len(curvature) == 1 and isinstance(size[0], int) and isinstance(curvature[0], int)):
            continue
        old = {name: before.get(name, [model.model_fields[name].default])[0] for name in (BATCH, CURVATURE_BATCH)}
        fitting = max(1, round(size[0] * old[CURVATURE_BATCH] / old[BATCH]))
        unchanged = size[0] != old[BATCH] and curvature[0] == old[CURVATURE_BATCH]
        if (unchanged or curvature[0] >= size[0]) and fitting not in (curvature[0], size[0]):
            wanted[form.key(f"{column.entry.id}.{CURVATURE_BATCH}")] = str(fitting)
    if wanted:
        sizes, key = " and ".join(dict.fromkeys(wanted.values())), form.key("fit")
        text = f"Set the curvature batch to {sizes}, in proportion to the gradient batch"
        st.button(text, icon=":material/auto_fix_high:", key=key, on_click=st.session_state.update, args=(wanted,))


def draw_advanced(form: Form, columns: Sequence[Column]) -> None:
    """Draw the other settings of each optimizer, and add them to the columns."""
    for place, column in zip(st.columns(max(1, len(columns))), columns, strict=False):
        model = OPTIMIZERS[column.kind]
        with place:
            head_of(column.title, f"{model.long_title}, other settings")
            for field in form_fields(model):
                if field.name in ROWS:
                    continue
                start = column.entry.values.get(field.name, [field.default])
                answer = form.cell(f"{column.entry.id}.{field.name}", field, start)
                column.values[field.name] = answer
                if answer not in ([field.default], [""] if field.default == [] else []):
                    form.differing.append(f"{column.title} {field.title}")
