"""The block editor: which layers form a block, the size of each block, and their balance."""

import fnmatch
import html
from collections.abc import Sequence
from typing import Any

import streamlit as st

from backend.schemas.api import BlockPlan
from backend.schemas.base import MAX_BLOCKS
from backend.schemas.optimizers import EqualPartition
from dashboard.launch.form import Form, form_fields
from dashboard.launch.layers import LayerRow, imbalance
from dashboard.ui.text import counted

KINDS = {
    "problem": "Default (paper)",
    "layers": "One per layer",
    "equal": "N balanced blocks",
    "explicit": "Custom",
}


def draw_partition(
    form: Form, path: str, key: str, held: dict[str, Any], layers: Sequence[LayerRow], own: Sequence[Sequence[str]]
) -> dict[str, Any]:
    """Draw the choice of a partition; return it as the schema writes it. `own` are the problem's blocks."""
    kind = st.segmented_control(
        "Blocks",
        list(KINDS),
        default=held.get("kind", "problem"),
        required=True,
        format_func=KINDS.__getitem__,
        key=form.key(f"{key}.kind"),
        help="Which layers form a block. Each block is solved separately; curvature between blocks is ignored.",
        persist_state="session",
    )
    form.slot(path)
    if kind == "equal":
        [field] = form_fields(EqualPartition)
        with st.container(width=220):
            count = form.setting(f"{path}.count", field, held.get("count", 2), key=f"{key}.count")
        return {"kind": kind, "count": count}
    if kind == "explicit":
        start, least = (held["blocks"], 1) if held.get("blocks") else (own, 2)
        return {"kind": kind, "blocks": _assignment(form, f"{path}.blocks", key, start, layers, least=least)}
    return {"kind": kind or "problem"}


def _assignment(
    form: Form, path: str, key: str, held: Sequence[Sequence[str]], layers: Sequence[LayerRow], *, least: int
) -> list[list[str]]:
    """Draw one row per layer with a choice of its block; the backend refuses a layer without a block.

    Initially there are as many blocks as in `held`, but at least `least`.
    """
    form.slot(path)
    with st.container(width=220):
        count = int(
            st.number_input(
                "Number of blocks",
                1,
                MAX_BLOCKS,
                value=max(least, len(held)),
                key=form.key(f"{key}.blocks"),
                persist_state="session",
            )
        )
    _bulk(form, key, count, [layer.name for layer in layers])
    half = sum(layer.parameters for layer in layers) / count
    chosen: list[list[str]] = [[] for _ in range(count)]
    seen = 0
    for layer in layers:
        guess = min(count - 1, int(seen / half)) if half else 0
        kept = held if len(held) == count else []
        now = next((b for b, names in enumerate(kept) if layer.name in names), guess)
        seen += layer.parameters
        block = _row(form, key, layer, count, min(now, count - 1))
        if block is not None:
            chosen[block].append(layer.name)
    return [names for names in chosen if names]


def _bulk(form: Form, key: str, count: int, layers: Sequence[str]) -> None:
    """Offer to move the selected layers, and all layers that match a pattern, to a block."""
    pattern, block = form.key(f"{key}.{count}.pattern"), form.key(f"{key}.{count}.into")

    def chosen() -> list[str]:
        like = fnmatch.filter(layers, st.session_state.get(pattern, ""))
        return [name for name in layers if name in like or st.session_state.get(_selected_key(form, key, name))]

    def assign() -> None:
        for name in chosen():
            st.session_state[form.key(f"{key}.{count}.{name}")] = st.session_state[block]
            st.session_state[_selected_key(form, key, name)] = False
        st.session_state[pattern] = ""

    with st.container(horizontal=True, vertical_alignment="bottom", gap="small"):
        st.text_input(
            "Move selected layers, or layers matching",
            key=pattern,
            placeholder="encoder.*",
            width=220,
            help="* matches any text, ? one character. Select layers in the rows below to move them together.",
        )
        st.selectbox("to", range(1, count + 1), key=block, format_func=lambda n: f"Block {n}", width=130)
        moved = len(chosen())
        st.button(f"Move {counted(moved, 'layer')}" if moved else "Move", key=f"{pattern}.assign", on_click=assign)


def _selected_key(form: Form, key: str, layer: str) -> str:
    """Return the key of a layer's checkbox."""
    return form.key(f"{key}.tick.{layer}")


def _row(form: Form, key: str, layer: LayerRow, count: int, now: int) -> int | None:
    with st.container(horizontal=True, vertical_alignment="center", gap="small"):
        st.checkbox(
            f"Select {layer.name}", key=_selected_key(form, key, layer.name), label_visibility="collapsed", width=24
        )
        number = st.selectbox(
            f"Block of {layer.name}",
            [*range(1, count + 1), None],
            index=now,
            format_func=lambda n: "no block" if n is None else f"Block {n}",
            key=form.key(f"{key}.{count}.{layer.name}"),
            label_visibility="collapsed",
            width=130,
            persist_state="session",
        )
        st.html(_described(layer))
    return None if number is None else number - 1


def _described(layer: LayerRow) -> str:
    return (
        f'<div class="bhf-layer"><b>{html.escape(layer.name)}</b><span>{html.escape(layer.shapes)}</span>'
        f"<em>{layer.parameters:,} parameters</em></div>"
    )


def draw_sizes(blocks: Sequence[BlockPlan], layers: Sequence[LayerRow]) -> None:
    """Show each block's layers and size, as a bar and a table, and the imbalance."""
    total = sum(block.parameters for block in blocks) or 1
    known = {layer.name: layer for layer in layers}
    bar = "".join(
        f'<i class="bhf-part bhf-part-{i % 6}" style="flex-grow:{block.parameters}" title="Block {i + 1}"></i>'
        for i, block in enumerate(blocks)
    )
    rows = "".join(
        f"<tr><td><i class='bhf-dot bhf-part-{i % 6}'></i>Block {i + 1}</td><td>{_names(block, known)}</td>"
        f"<td>{block.parameters:,}</td><td>{block.parameters / total:.0%}</td></tr>"
        for i, block in enumerate(blocks)
    )
    ratio = imbalance([block.parameters for block in blocks])
    word = "balanced" if ratio < 1.05 else f"the largest block has {ratio:.2f} times the mean size"
    st.html(
        f'<div class="bhf-blocks"><div class="bhf-bar" aria-hidden="true">{bar}</div>'
        f"<table><thead><tr><th>Block</th><th>Layers</th><th>Parameters</th><th>Share</th></tr></thead>"
        f"<tbody>{rows}</tbody></table><p>{len(blocks)} blocks, {word}.</p></div>"
    )


def _names(block: BlockPlan, known: dict[str, LayerRow]) -> str:
    return ", ".join(
        f'<span title="{html.escape(known[name].shapes) if name in known else ""}">{html.escape(name)}</span>'
        for name in block.layers
    )
