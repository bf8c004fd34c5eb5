"""The queue page: what runs, what waits in which order, and who trains."""

import html
from collections.abc import Sequence
from datetime import UTC, datetime

import streamlit as st

from backend.errors import BlockHFError
from backend.schemas import Run, Worker
from dashboard import runs
from dashboard.connection import ask, client
from dashboard.tables import table

SHOWN = 30


def page() -> None:
    """Draw the page."""
    st.title("Queue")
    _now()


@st.fragment(run_every=2)
def _now() -> None:
    """Draw what changes by itself."""
    known = ask(
        running=lambda backend: backend.runs(status="running", limit=200),
        queued=lambda backend: backend.runs(status="queued", limit=200),
        catalog=lambda backend: backend.catalog(),
    )
    running: list[Run] = known["running"] or []
    queued: list[Run] = list(reversed(known["queued"] or []))
    workers: list[Worker] = known["catalog"].workers if known["catalog"] else []
    _workers(workers, {run.id: run for run in running})
    st.subheader(f"Running: {len(running)}")
    _runs(running)
    st.subheader(f"Waiting: {len(queued)}")
    _runs(queued)
    if not running and not queued:
        st.write("Nothing runs and nothing waits.")
        if st.button("Launch a comparison", type="primary"):
            st.switch_page(st.session_state["pages"]["launch"])


def _workers(workers: Sequence[Worker], running: dict[str, Run]) -> None:
    st.subheader("Workers")
    if not workers:
        st.write("No worker has registered: start one with `python -m worker`.")
        return
    now = datetime.now(UTC)
    rows = []
    for worker in workers:
        run = running.get(worker.run_id or "")
        seconds = max(0.0, (now - worker.seen_at).total_seconds())
        state = ("trains " + runs.title(run) if run else "idle") if worker.alive else "gone"
        heard = f"{seconds:.0f} s ago"
        rows.append([worker.info.name, state, worker.info.device, str(worker.info.threads), heard, runs.rate(run)])
    st.html(
        table(["Worker", "State", "Device", "Threads", "Last heard of", "Updates per second"], rows, label="Workers")
    )


def _runs(listed: Sequence[Run]) -> None:
    for place, run in enumerate(listed[:SHOWN], 1):
        with st.container(horizontal=True, vertical_alignment="center", gap="small"):
            st.html(
                f"<div class='bhf-layer'><b>{place}. {html.escape(runs.title(run))}</b>"
                f"<span>{html.escape(run.experiment_name)}</span>"
                f"<em>{html.escape(runs.progress(run))}</em></div>",
                width="stretch",
            )
            asked = run.cancel_requested
            if st.button("Cancelling" if asked else "Cancel", key=f"cancel-{run.id}", disabled=asked):
                _cancel(run.id)
    if len(listed) > SHOWN:
        st.caption(f"and {len(listed) - SHOWN} more")
    if len(listed) > 1 and st.button(f"Cancel all {len(listed)}", key=f"cancel-all-{listed[0].status}"):
        _cancel(*(run.id for run in listed))


def _cancel(*run_ids: str) -> None:
    try:
        for run_id in run_ids:
            client().cancel(run_id)
    except BlockHFError as error:
        st.error(str(error))
    st.rerun(scope="fragment")
