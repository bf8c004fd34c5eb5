"""The queue page: what runs, what waits in which order, what is paused, and who trains."""

import html
from collections.abc import Collection, Sequence
from datetime import UTC, datetime

import streamlit as st

from backend.client import Client
from backend.schemas.api import Worker
from backend.schemas.runs import Run, RunStatus
from dashboard.runs import wording
from dashboard.runs.actions import ACTIONS, buttons, in_line, move_menu, perform
from dashboard.ui.auto_refresh import Read, fresh
from dashboard.ui.backend import ask
from dashboard.ui.html_table import table

SHOWN = 30
SHOWN_ENDED = 10
PAGE = 1000
WATCHED = 200  # the newest of each, by which the browser sees that something has changed
REFRESH_SECONDS = 5
STANDING = ("id", "experiment_name", "status", "cancel_requested", "pause_requested", "priority")
HOLDING = ("id", "alive", "silent", "run_id")


def page() -> None:
    """Draw the page."""
    st.title("Queue")
    _now()


@st.fragment
def _now() -> None:
    """Draw what changes by itself: anew where runs or workers stand otherwise than shown, else in its numbers alone."""
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
    queued = in_line(known["queued"] or [])
    paused: list[Run] = known["paused"] or []
    workers: list[Worker] = known["catalog"].workers if known["catalog"] else []
    _fresh([running, known["queued"] or [], paused], workers)
    _workers(workers, {run.id: run for run in running})
    _runs("Running", running, lost={worker.run_id for worker in workers if not worker.alive})
    _runs("Waiting", queued, known["queued"] or [])
    if paused:
        _runs("Paused", paused)
    if known["ended"]:
        _runs("Failed or cancelled lately", known["ended"])
    if not (running or queued or paused):
        st.write("Nothing runs and nothing waits.")
        if st.button("Launch a comparison", type="primary"):
            st.switch_page(st.session_state["pages"]["launch"])


def _fresh(listed: Sequence[Sequence[Run]], workers: Sequence[Worker]) -> None:
    """Have this drawn again when a run or a worker stands otherwise; a run that ends has stood in one of these."""
    reads = [
        Read(f"/api/v1/runs?status={status}&limit={WATCHED}", "runs", STANDING, rows[:WATCHED])
        for status, rows in zip(("running", "queued", "paused"), listed, strict=True)
    ]
    fresh(
        "fresh-queue",
        [*reads, Read("/api/v1/catalog", "workers", HOLDING, workers)],
        every=REFRESH_SECONDS,
        patch="queue",
    )


def _all(backend: Client, status: str) -> list[Run]:
    """Return every run that stands so, newest first."""
    found: list[Run] = []
    while more := backend.runs(status=status, limit=PAGE, before=found[-1].id if found else None):
        found += more
        if len(more) < PAGE:
            break
    return found


def _ended_badly(backend: Client) -> list[Run]:
    """Return the newest runs that could be tried again."""
    found = [run for status in ("failed", "cancelled") for run in backend.runs(status=status, limit=SHOWN_ENDED)]
    return sorted(found, key=lambda run: run.finished_at or run.created_at, reverse=True)[:SHOWN_ENDED]


def _workers(workers: Sequence[Worker], running: dict[str, Run]) -> None:
    st.subheader("Workers")
    if not workers:
        st.write("No worker has registered: start one with `python -m worker`.")
        return
    now = datetime.now(UTC)
    rows = []
    for worker in workers:
        run = running.get(worker.run_id or "")
        info, heard = worker.info, f"{max(0.0, (now - worker.seen_at).total_seconds()):.0f} s ago"
        state = standing(worker, run)
        rows.append([info.name, state, info.device, size(info.memory), str(info.threads), heard, wording.rate(run)])
    head = ["Worker", "State", "Device", "Memory", "Threads", "Last heard of", "Updates per second"]
    st.html(table(head, rows, label="Workers"))


def standing(worker: Worker, run: Run | None) -> str:
    """Say what a worker does, as far as it has been heard of."""
    if not worker.alive:
        return "gone"
    if worker.silent:
        return "silent, will soon count as gone"
    return f"trains {wording.title(run)}" if run else "idle"


def size(count: int | None) -> str:
    """Write a number of bytes in the unit of memory."""
    return "" if count is None else f"{count / 2**30:.3g} GiB"


def _runs(heading: str, listed: Sequence[Run], waiting: Sequence[Run] = (), lost: Collection[str | None] = ()) -> None:
    """Draw a heading and the runs under it, each with what can be asked of it, and of those that are ticked.

    `waiting`: those that wait for a worker, newest first. `lost`: ids of those whose worker is gone.
    """
    st.subheader(f"{heading}: {len(listed)}")
    ticked = [
        run for place, run in enumerate(listed[:SHOWN], 1) if _row(run, place, listed, waiting, lost=run.id in lost)
    ]
    if len(listed) > SHOWN:
        st.caption(f"and {len(listed) - SHOWN} more")
    if len(listed) > 1:
        _together(heading, ticked or listed, "the ticked" if ticked else "all")


def _row(run: Run, place: int, line: Sequence[Run], waiting: Sequence[Run], *, lost: bool) -> bool:
    """Draw one run; return whether it is ticked."""
    with st.container(horizontal=True, vertical_alignment="center", gap="small"):
        ticked = len(line) > 1 and st.checkbox(
            f"Tick {wording.title(run)}", key=f"tick-{run.id}", label_visibility="collapsed", width=24
        )
        st.html(_described(run, place, lost=lost), width="stretch")
        if run.status is RunStatus.QUEUED and len(line) > 1:
            move_menu(run, waiting)
        buttons(run)
    return ticked


def _described(run: Run, place: int, *, lost: bool) -> str:
    parts = [f"priority {run.priority}"] * bool(run.priority) + wording.asked(run) + [wording.LOST] * lost
    parts += [run.error.message] if run.error else []
    marks = "".join(f", {part}" for part in parts)
    name = f"<a href='/run?id={run.id}' target='_self'>{place}. {html.escape(wording.title(run))}</a>"
    progress = f"<span data-progress='{run.id}'>{wording.progress(run)}</span>"
    return (
        f"<div class='bhf-layer'><b>{name}</b>"
        f"<span>{html.escape(run.experiment_name)}</span><em>{progress}{html.escape(marks)}</em></div>"
    )


def _together(heading: str, chosen: Sequence[Run], which: str) -> None:
    names = list(dict.fromkeys(name for run in chosen for name in run.actions))
    with st.container(horizontal=True, gap="small"):
        for name in names:
            ids = [run.id for run in chosen if name in run.actions]
            label = f"{ACTIONS[name].label} {which} {len(ids)}"
            st.button(label, key=f"{name}-{heading}", on_click=perform, args=(name, ids))
