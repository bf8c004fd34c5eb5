"""The pages' way to the backend, and what they show when it does not answer."""

from collections.abc import Callable
from typing import TypeVar

import streamlit as st

from backend.client import Client
from backend.errors import BackendUnavailable
from backend.settings import Settings

Answer = TypeVar("Answer")


@st.cache_resource(show_spinner=False)
def client() -> Client:
    """Return the one client that all visitors share."""
    return Client(Settings().api)


def ask(name: str, question: Callable[[Client], Answer]) -> Answer | None:
    """Ask the backend; where it is gone, say so and return this visitor's last answer of that name, if any."""
    held = st.session_state.setdefault("answers", {})
    try:
        held[name] = question(client())
    except BackendUnavailable:
        _say_gone()
    answer: Answer | None = held.get(name)
    return answer


def _say_gone() -> None:
    with st.container(key="gone"):
        st.warning("The backend cannot be reached. What is known is shown; this page goes on by itself.")
        _wait_for_backend()


@st.fragment(run_every=1.5)
def _wait_for_backend() -> None:
    if client().health():
        st.rerun()
