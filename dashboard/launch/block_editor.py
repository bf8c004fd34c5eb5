"""The blocks of layers in the form: their cell, custom blocks, and the size of each block."""

import fnmatch
import html
from collections.abc import Sequence
from typing import Any

import streamlit as st

from backend.schemas.api import BlockPlan
from backend.schemas.fields import SettingField
from backend.schemas.optimizers import partition_text
from backend.schemas.sweep_values import parse_values
from dashboard.launch.draft import Entry
from dashboard.launch.form import Form, help_text
from dashboard.ui.text import counted

CUSTOM = "custom"
FIELD = SettingField(
    name="blocks",
    kind="text",
    default="default",
    optional=False,
    unit=None,
    help="how layers are split into blocks: a number of blocks of about equal size, one per layer, default (those of "
    "the network), or custom. Each block is solved separately; curvature between blocks is ignored",
    paper=None,
    limits="",
)


def draw_cell(form: Form, entry: str, before: Sequence[dict[str, Any]]) -> list[Any]:
    """Draw the cell of an optimizer's blocks; return a value for each partition, as people write it."""
    text = st.text_input(
        FIELD.title,
        value=", ".join(map(partition_text, before)),
        key=form.describe(f"{entry}.blocks", help_text(FIELD)),
        persist_state="session",
    )
    form.slot(f"{entry}.partition")
    return parse_values(text, integer=True, words=True) or [text]


def draw_custom(
    form: Form, entry: Entry, title: str, own: Sequence[Sequence[str]], layers: Sequence[str]
) -> dict[str, Any]:
    """Draw the custom blocks of an optimizer, one line each; `own` are the problem's blocks, with which they begin."""
    before = [one["blocks"] for one in entry.values.get("partition", []) if one.get("kind") == "explicit"]
    text = st.text_area(
        f"Custom blocks of {title}: one line per block, with the names of its layers. encoder.* takes all that match.",
        value="\n".join(" ".join(block) for block in (before[0] if before else own)),
        key=form.describe(f"{entry.id}.custom", f"The layers are {', '.join(layers)}."),
        persist_state="session",
    )
    form.slot(f"{entry.id}.partition.blocks")
    return {"kind": "explicit", "blocks": read_blocks(text, layers)}


def read_blocks(text: str, layers: Sequence[str]) -> list[list[str]]:
    """Read one block per line, each with names of layers; a pattern takes the layers that no line before it took."""
    blocks: list[list[str]] = []
    for line in text.splitlines():
        free = [name for name in layers if not any(name in block for block in blocks)]
        found = [[word] if word in layers else fnmatch.filter(free, word) or [word] for word in line.split()]
        block = list(dict.fromkeys(name for names in found for name in names))
        blocks += [block] if block else []
    return blocks


def bar(blocks: Sequence[BlockPlan]) -> str:
    """Draw the blocks' sizes as a bar with their shares, as HTML."""
    total = sum(block.parameters for block in blocks) or 1
    shares = ", ".join(f"{block.parameters / total:.0%}" for block in blocks)
    parts = "".join(
        f'<i class="bhf-part bhf-part-{i % 6}" style="flex-grow:{block.parameters}"></i>'
        for i, block in enumerate(blocks)
    )
    text = f"{counted(len(blocks), 'block')}: {shares}"
    return f'<div class="bhf-bar" role="img" aria-label="{text}" title="{text}">{parts}</div>'


def draw_sizes(title: str, blocks: Sequence[BlockPlan]) -> None:
    """Show each block's layers and size as a table, and the imbalance."""
    total = sum(block.parameters for block in blocks) or 1
    rows = "".join(
        f"<tr><td><i class='bhf-dot bhf-part-{i % 6}'></i>Block {i + 1}</td>"
        f"<td>{html.escape(', '.join(block.layers))}</td>"
        f"<td>{block.parameters:,}</td><td>{block.parameters / total:.0%}</td></tr>"
        for i, block in enumerate(blocks)
    )
    ratio = max(block.parameters for block in blocks) * len(blocks) / total
    word = "balanced" if ratio < 1.05 else f"the largest block has {ratio:.2f} times the mean size"
    st.html(
        f'<div class="bhf-blocks"><table><thead><tr><th>{html.escape(title)}</th><th>Layers</th><th>Parameters</th>'
        f"<th>Share</th></tr></thead><tbody>{rows}</tbody></table><p>{counted(len(blocks), 'block')}, {word}.</p></div>"
    )
