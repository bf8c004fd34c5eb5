"""Automatic refresh: the browser polls the API and runs the page's script again only if something has changed."""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import streamlit as st
from pydantic import BaseModel

from dashboard.ui.live_curves import register


@dataclass(frozen=True)
class WatchedQuery:
    """A query whose answer the browser compares with what the page shows.

    Args:
        path: what to request.
        rows: name of the list in the answer; empty if the answer itself is the only row.
        fields: the fields whose changes count.
        seen: the rows that the page shows.
    """

    path: str
    rows: str
    fields: tuple[str, ...]
    seen: Sequence[BaseModel]

    def data(self) -> dict[str, Any]:
        """Return the query as the browser's script reads it."""
        dumps = [row.model_dump(mode="json", include=set(self.fields)) for row in self.seen]
        seen = [[row[name] for name in self.fields] for row in dumps]
        return {"path": self.path, "rows": self.rows, "fields": list(self.fields), "seen": json.dumps(seen)}


@st.cache_resource(show_spinner=False)
def _component() -> Callable[..., Any]:
    return register("blockhf_fresh", "panels/auto_refresh.js")


def auto_refresh(key: str, reads: Sequence[WatchedQuery], *, every: float, patch: str = "") -> None:
    """Run the page, or the fragment that calls this, again if an answer differs from what it shows.

    Args:
        key: key of the component.
        reads: the queries to poll.
        every: seconds between polls while the tab is visible.
        patch: name of the browser function that updates numbers in place without a run of the script.
    """
    data = {"reads": [read.data() for read in reads], "every": every, "patch": patch}
    _component()(
        key=key,
        data=data | {"now": datetime.now(UTC).timestamp()},
        on_changed_change=lambda: None,
    )
