"""Access to the backend from the pages, and what they show if it is unreachable."""

from collections.abc import Callable
from typing import Any

import httpx
import streamlit as st

from backend.client import Client
from backend.errors import BackendUnavailable, BlockHFError, Forbidden
from backend.schemas.api import Scope
from backend.schemas.run_names import run_name
from backend.schemas.runs import Run
from backend.settings import Settings
from dashboard.ui.text import escape


class ReadOnlyClient(Client):
    """A client that only reads, for a dashboard that anyone in the network may open."""

    def _send(self, method: str, path: str, *, retry: bool, **request: Any) -> httpx.Response:
        if method != "GET":
            raise Forbidden("this dashboard only shows: launch and change runs at the address of `blockhf up`")
        return super()._send(method, path, retry=retry, **request)


@st.cache_resource(show_spinner=False, on_release=Client.close)
def client() -> Client:
    """Return the client that all visitors share."""
    settings = Settings()
    return (ReadOnlyClient if settings.dashboard_read_only else Client).of(settings)


def may_launch() -> bool:
    """Return whether this dashboard may launch and change runs; if the backend does not answer, suppose so."""
    return not isinstance(client(), ReadOnlyClient) and Scope.LAUNCH in _scopes()


@st.cache_data(ttl=10, show_spinner=False)
def _scopes() -> list[Scope]:
    try:
        return client().access().scopes
    except BlockHFError:
        return list(Scope)


def ask(**questions: Callable[[Client], Any]) -> dict[str, Any]:
    """Return the answers by name. If the backend is unreachable, warn and return this visitor's last ones, or None."""
    answers: dict[str, Any] = st.session_state.setdefault("answers", {})
    try:
        for name, question in questions.items():
            answers[name] = question(client())
    except BackendUnavailable:
        st.warning("Backend unreachable. Showing the last known data; reconnecting automatically.")
        await_backend()
    return {name: answers.get(name) for name in questions}


def report(error: BlockHFError | str) -> None:
    """Say briefly why an action failed."""
    st.toast(escape(str(error)), icon=":material/error:")


@st.fragment(run_every=1.5)
def await_backend() -> None:
    """Run the page again as soon as the backend answers."""
    if client().health():
        st.rerun()


@st.cache_data(ttl=10, show_spinner=False)
def timed_runs() -> list[Run]:
    """Return the newest runs that have made updates, from which the duration of planned runs is estimated.

    Running ones count, too: on a first visit the comparison that `blockhf up` queues is timed after its first updates.
    """
    try:
        known = [run for status in ("finished", "running") for run in client().runs(status=status, limit=200)]
        return [run for run in known if run.summary.updates]
    except BlockHFError:
        return []


def name_of(run: Run) -> str:
    """Return the name that a run has on every page; without an answer it is told apart by its seed alone."""
    try:
        return run_name(run, _comparison(run.experiment_id))
    except BlockHFError:
        return run_name(run, [run])


@st.cache_data(ttl=3600, max_entries=200, show_spinner=False)
def _comparison(experiment_id: str) -> list[Run]:
    """Return the runs of a comparison, whose settings never change."""
    return client().experiment(experiment_id).runs
