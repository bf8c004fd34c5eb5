"""Actions on runs: pause, resume, retry, cancel, and move in the queue."""

from collections.abc import Sequence
from dataclasses import dataclass

import streamlit as st

from backend.client import Client
from backend.errors import BlockHFError, Conflict, NotFound, QueueFull
from backend.schemas.runs import Run
from dashboard.ui.backend import client, may_launch, report
from dashboard.ui.text import counted

MAX_PRIORITY = 100  # the lowest is its negative
MAX_ERRORS = 3  # more messages would cover the page


@dataclass(frozen=True)
class Action:
    """An action: the text of its button, of the message that follows, and its help."""

    label: str
    message: str
    help: str


ACTIONS = {
    "pause": Action(
        "Pause training", "Pausing", "Stops after the current update and writes a checkpoint to resume from"
    ),
    "resume": Action("Resume", "Resuming", "Queues the run again; it continues from its checkpoint"),
    "retry": Action("Retry", "Queued again:", "Queues the run again; it continues from its last checkpoint"),
    "cancel": Action("Cancel", "Cancelling", "Ends the run; its data are kept"),
    "front": Action("To the front", "Moved:", "Starts this run next"),
    "back": Action("To the end", "Moved:", "Starts this run after all others"),
}
MOVES = ("front", "back")


def queue_order(queued: Sequence[Run]) -> list[Run]:
    """Sort queued runs, listed newest first, into the order in which they start."""
    oldest_first = list(reversed(queued))
    return sorted(oldest_first, key=lambda run: -run.priority)


def move_priority(move: str, others: Sequence[Run]) -> int:
    """Return the priority that moves a run before or after the other queued runs, within the bounds."""
    taken = [run.priority for run in others] or [0]
    return min(MAX_PRIORITY, max(taken) + 1) if move == "front" else max(-MAX_PRIORITY, min(taken) - 1)


def perform(name: str, run_ids: Sequence[str], queued: Sequence[Run] = ()) -> None:
    """Apply an action to each run and report it. If the backend refuses a run, report why and continue."""
    refused: list[str] = []
    done = 0
    for run_id in run_ids:
        try:
            _request(client(), name, run_id, [run for run in queued if run.id not in run_ids])
            done += 1
        except (Conflict, NotFound, QueueFull) as error:  # concerns this run only
            refused.append(str(error))
        except BlockHFError as error:  # concerns all runs: backend unreachable, or no permission
            refused.append(str(error))
            break
    if done:
        st.toast(f"{ACTIONS[name].message} {counted(done, 'run')}")
    for text in refused[:MAX_ERRORS]:
        report(text)


def _request(backend: Client, name: str, run_id: str, others: Sequence[Run]) -> None:
    if name in MOVES:
        backend.prioritize(run_id, move_priority(name, others))
        return
    verbs = {"pause": backend.pause, "resume": backend.resume, "retry": backend.retry, "cancel": backend.cancel}
    verbs[name](run_id)


def action_buttons(run: Run) -> None:
    """Draw a button for each possible action on a run."""
    for name in run.actions if may_launch() else ():
        st.button(
            ACTIONS[name].label,
            key=f"{name}-{run.id}",
            help=ACTIONS[name].help,
            on_click=perform,
            args=(name, [run.id]),
        )


def move_menu(run: Run, queued: Sequence[Run]) -> None:
    """Draw a menu that moves a queued run before or after all the others."""
    key = f"move-{run.id}"

    def move() -> None:
        perform(st.session_state[key], [run.id], queued)

    st.menu_button("Move", MOVES, key=key, format_func=lambda name: ACTIONS[name].label, on_click=move)


def launch_button() -> None:
    """Draw a button that opens the launch page, for who may launch."""
    if may_launch() and st.button("Launch a comparison", type="primary"):
        st.switch_page(st.session_state["pages"]["launch"])
