"""The queue page: running, queued and paused runs, and the workers."""

import html
from collections.abc import Collection, Sequence
from datetime import UTC, datetime

import streamlit as st

from backend.client import Client
from backend.schemas.api import Worker
from backend.schemas.runs import Run, RunStatus
from dashboard.runs import wording
from dashboard.runs.actions import ACTIONS, action_buttons, launch_button, move_menu, perform, queue_order
from dashboard.ui.auto_refresh import WatchedQuery, auto_refresh
from dashboard.ui.backend import ask, may_launch, name_of
from dashboard.ui.html_table import table

SHOWN = 30
SHOWN_ENDED = 10
PAGE = 1000
WATCHED = 200  # the newest runs of each state, which the browser watches for changes
REFRESH_SECONDS = 5
RUN_FIELDS = ("id", "experiment_name", "status", "cancel_requested", "pause_requested", "priority")
WORKER_FIELDS = ("id", "alive", "silent", "run_id")


def page() -> None:
    """Draw the page."""
    st.title("Queue")
    _now()


@st.fragment
def _now() -> None:
    """Draw the part that refreshes: redrawn if a run or worker changes state, else only its numbers are updated."""
    known = ask(
        running=lambda backend: _all(backend, "running"),
        queued=lambda backend: _all(backend, "queued"),
        paused=lambda backend: _all(backend, "paused"),
        ended=_ended_badly,
        catalog=lambda backend: backend.catalog(),
    )
    if known["catalog"] is None:
        return
    running: list[Run] = known["running"] or []
    # The lists are read one after another: a run that was claimed meanwhile is in both.
    begun = {run.id for run in running}
    queued = queue_order([run for run in known["queued"] or [] if run.id not in begun])
    paused: list[Run] = known["paused"] or []
    workers: list[Worker] = known["catalog"].workers if known["catalog"] else []
    _fresh([running, known["queued"] or [], paused], workers)
    _workers(workers, {run.id: run for run in running})
    _runs("Running", running, lost={worker.run_id for worker in workers if not worker.alive})
    _runs("Queued", queued, known["queued"] or [])
    if paused:
        _runs("Paused", paused)
    if known["ended"]:
        _runs("Recently failed or cancelled", known["ended"])
    if not (running or queued or paused):
        st.write("The queue is empty.")
        launch_button()


def _fresh(listed: Sequence[Sequence[Run]], workers: Sequence[Worker]) -> None:
    """Redraw this part if a run or worker changes state. A run that ends leaves one of these lists."""
    reads = [
        WatchedQuery(f"/api/v1/runs?status={status}&limit={WATCHED}", "runs", RUN_FIELDS, rows[:WATCHED])
        for status, rows in zip(("running", "queued", "paused"), listed, strict=True)
    ]
    auto_refresh(
        "fresh-queue",
        [*reads, WatchedQuery("/api/v1/catalog", "workers", WORKER_FIELDS, workers)],
        every=REFRESH_SECONDS,
        patch="queue",
    )


def _all(backend: Client, status: str) -> list[Run]:
    """Return every run in this state, newest first."""
    found: list[Run] = []
    while more := backend.runs(status=status, limit=PAGE, before=found[-1].id if found else None):
        found += more
        if len(more) < PAGE:
            break
    return found


def _ended_badly(backend: Client) -> list[Run]:
    """Return the newest failed or cancelled runs."""
    found = [run for status in ("failed", "cancelled") for run in backend.runs(status=status, limit=SHOWN_ENDED)]
    return sorted(found, key=lambda run: run.finished_at or run.created_at, reverse=True)[:SHOWN_ENDED]


def _workers(workers: Sequence[Worker], running: dict[str, Run]) -> None:
    st.subheader("Workers")
    if not workers:
        st.write("No worker has registered. Start one with `python -m worker`.")
        return
    now = datetime.now(UTC)
    rows = []
    for worker in workers:
        run = running.get(worker.run_id or "")
        info, heard = worker.info, f"{max(0.0, (now - worker.seen_at).total_seconds()):.0f} s ago"
        state = worker_state(worker, run)
        rows.append(
            [info.name, state, info.device, memory_text(info.memory), str(info.threads), heard, wording.rate_text(run)]
        )
    head = ["Worker", "State", "Device", "Memory", "Threads", "Last seen", "Updates per second"]
    st.html(table(head, rows, label="Workers"))


def worker_state(worker: Worker, run: Run | None) -> str:
    """Return what a worker does, as far as is known."""
    if not worker.alive:
        return "offline"
    if worker.silent:
        return "not responding"
    if len(worker.run_ids) > 1:
        return f"training {len(worker.run_ids)} runs"
    return f"training {name_of(run)}" if run else "idle"


def memory_text(count: int | None) -> str:
    """Write a number of bytes in GiB."""
    return "" if count is None else f"{count / 2**30:.3g} GiB"


def _runs(heading: str, listed: Sequence[Run], waiting: Sequence[Run] = (), lost: Collection[str | None] = ()) -> None:
    """Draw a heading and its runs with their actions, and the actions on the selected runs.

    Args:
        heading: the title.
        listed: the runs to draw.
        waiting: the queued runs, newest first, if these can be moved.
        lost: ids of the runs whose worker is offline.
    """
    st.subheader(f"{heading}: {len(listed)}")
    selected = [
        run for place, run in enumerate(listed[:SHOWN], 1) if _row(run, place, listed, waiting, lost=run.id in lost)
    ]
    if len(listed) > SHOWN:
        st.caption(f"and {len(listed) - SHOWN} more")
    if len(listed) > 1 and may_launch():
        _bulk(heading, selected or listed, "selected" if selected else "all")


def _row(run: Run, place: int, line: Sequence[Run], waiting: Sequence[Run], *, lost: bool) -> bool:
    """Draw one run; return whether it is selected."""
    with st.container(horizontal=True, vertical_alignment="center", gap="small"):
        several = len(line) > 1 and may_launch()
        selected = several and st.checkbox(
            f"Select {name_of(run)}", key=f"tick-{run.id}", label_visibility="collapsed", width=24
        )
        st.html(_described(run, place, lost=lost), width="stretch")
        if run.status is RunStatus.QUEUED and several:
            move_menu(run, waiting)
        action_buttons(run)
    return selected


def _described(run: Run, place: int, *, lost: bool) -> str:
    parts = [f"priority {run.priority}"] * bool(run.priority) + wording.pending_request(run) + [wording.LOST] * lost
    parts += [run.error.message] if run.error else []
    marks = "".join(f", {part}" for part in parts)
    name = f"<a href='/run?id={run.id}' target='_self'>{place}. {html.escape(name_of(run))}</a>"
    progress = f"<span data-progress='{run.id}'>{wording.progress_text(run)}</span>"
    return (
        f"<div class='bhf-layer'><b>{name}</b>"
        f"<span>{html.escape(run.experiment_name)}</span><em>{progress}{html.escape(marks)}</em></div>"
    )


def _bulk(heading: str, chosen: Sequence[Run], which: str) -> None:
    names = list(dict.fromkeys(name for run in chosen for name in run.actions))
    with st.container(horizontal=True, gap="small"):
        for name in names:
            ids = [run.id for run in chosen if name in run.actions]
            label = f"{ACTIONS[name].label} {which} {len(ids)}"
            if name == "cancel" and len(ids) > 1:
                with st.popover(label):
                    text = f"Really cancel {len(ids)} runs"
                    st.button(text, key=f"{name}-{heading}", on_click=perform, args=(name, ids), type="primary")
            else:
                st.button(label, key=f"{name}-{heading}", on_click=perform, args=(name, ids))
