"""The pages' way to the backend, and what they show when it does not answer."""

from collections.abc import Callable
from typing import Any

import streamlit as st

from backend.client import Client
from backend.errors import BackendUnavailable, BlockHFError
from backend.schemas.runs import Run


@st.cache_resource(show_spinner=False, on_release=Client.close)
def client() -> Client:
    """Return the one client that all visitors share."""
    return Client.of()


def ask(**questions: Callable[[Client], Any]) -> dict[str, Any]:
    """Ask the backend by name; where it is gone, say so and give this visitor's last answers, or None."""
    held: dict[str, Any] = st.session_state.setdefault("answers", {})
    try:
        for name, question in questions.items():
            held[name] = question(client())
    except BackendUnavailable:
        st.warning("The backend cannot be reached. What is known is shown; this page goes on by itself.")
        await_backend()
    return {name: held.get(name) for name in questions}


@st.fragment(run_every=1.5)
def await_backend() -> None:
    """Run the page again as soon as the backend answers."""
    if client().health():
        st.rerun()


@st.cache_data(ttl=10, show_spinner=False)
def finished() -> list[Run]:
    """Return the newest runs that have finished, by which it is judged how long others will take."""
    try:
        return client().runs(status="finished", limit=200)
    except BlockHFError:
        return []
