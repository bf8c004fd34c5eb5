"""Keeping a page fresh at little cost: the browser asks whether anything has changed, and only then the script runs."""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import streamlit as st
from pydantic import BaseModel

from dashboard.ui.live_curves import register


@dataclass(frozen=True)
class Read:
    """What to ask the API for, which fields of its rows count as a change, and the rows as the page shows them.

    `rows` names the list in the answer; empty: the answer itself is the one row.
    """

    path: str
    rows: str
    fields: tuple[str, ...]
    seen: Sequence[BaseModel]

    def data(self) -> dict[str, Any]:
        """Write it as the browser's script reads it."""
        held = [row.model_dump(mode="json", include=set(self.fields)) for row in self.seen]
        seen = [[row[name] for name in self.fields] for row in held]
        return {"path": self.path, "rows": self.rows, "fields": list(self.fields), "seen": json.dumps(seen)}


@st.cache_resource(show_spinner=False)
def _component() -> Callable[..., Any]:
    return register("blockhf_fresh", "panels/auto_refresh.js")


def fresh(key: str, reads: Sequence[Read], *, every: float, patch: str = "") -> None:
    """Have the page, or the fragment that calls this, run again when an answer differs from what it shows.

    The browser asks every `every` seconds while its tab is seen. `patch` names what the answers change in the page
    without a run of the script, such as counts of updates.
    """
    data = {"reads": [read.data() for read in reads], "every": every, "patch": patch}
    _component()(
        key=key,
        data=data | {"now": datetime.now(UTC).timestamp()},
        on_changed_change=lambda: None,
    )
