"""What a visitor is about to launch: where the form starts from, and which optimizers stand in it."""

from dataclasses import dataclass, field
from typing import Any
from uuid import uuid4

import streamlit as st

from backend.schemas import Catalog, ExperimentSpec

_KEY = "draft"


@dataclass
class Entry:
    """One optimizer of the form; `values` are where its widgets start."""

    id: str
    kind: str
    values: dict[str, Any] = field(default_factory=dict)


@dataclass
class Draft:
    """The form's start. A new generation has new widgets, so that they take the new values."""

    spec: ExperimentSpec
    generation: int = 0
    token: str = field(default_factory=lambda: uuid4().hex)
    entries: list[Entry] = field(default_factory=list)
    added: int = 0

    def __post_init__(self) -> None:
        for optimizer in self.spec.optimizers:
            self.add(optimizer.kind, optimizer.model_dump(mode="json"))

    def add(self, kind: str, values: dict[str, Any] | None = None) -> None:
        """Put one more optimizer into the form, at the contract's defaults unless `values` are given."""
        self.entries.append(Entry(f"{kind}{self.added}", kind, values or {}))
        self.added += 1

    def remove(self, entry: Entry) -> None:
        """Take an optimizer out of the form."""
        self.entries.remove(entry)


def draft(catalog: Catalog) -> Draft:
    """Return this visitor's draft; at first, the first problem's preset."""
    if _KEY not in st.session_state:
        start(catalog.problems[0].preset)
    held: Draft = st.session_state[_KEY]
    return held


def start(spec: ExperimentSpec) -> None:
    """Begin the form anew from a specification."""
    held: Draft | None = st.session_state.get(_KEY)
    st.session_state[_KEY] = Draft(spec, held.generation + 1 if held else 0)


def seeds_of(text: str) -> list[Any]:
    """Read "0, 1, 5-7" as seeds; what is no number stays text, for the contract to refuse."""
    found: list[Any] = []
    for part in text.replace(",", " ").split():
        low, dash, high = part.partition("-")
        if part.isdecimal():
            found.append(int(part))
        elif dash and low.isdecimal() and high.isdecimal() and 0 <= int(high) - int(low) < 1000:
            found.extend(range(int(low), int(high) + 1))
        else:
            found.append(part)
    return found
