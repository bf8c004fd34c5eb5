"""What users ask of runs from the pages: pause, resume, try again, move in line, cancel."""

from collections.abc import Sequence
from dataclasses import dataclass

import streamlit as st

from backend.client import Client
from backend.errors import BlockHFError, Conflict, NotFound, QueueFull
from backend.schemas.runs import Run
from dashboard.ui.backend import client
from dashboard.ui.text import counted, escape

MOST = 100  # the highest priority; its negative is the lowest
MOST_SAID = 3  # refusals; more would cover the page


@dataclass(frozen=True)
class Action:
    """One thing that can be asked: as a button's text, as what happens then, and as help."""

    label: str
    doing: str
    help: str


ACTIONS = {
    "pause": Action("Pause", "Pausing", "It stops after its update, keeps a checkpoint, and can go on from there"),
    "resume": Action("Resume", "Resuming", "It waits for a worker again and goes on from its checkpoint"),
    "retry": Action("Try again", "Queued again:", "It waits for a worker again and goes on from its last checkpoint"),
    "cancel": Action("Cancel", "Cancelling", "It ends; what it has reported stays"),
    "front": Action("To the front", "Moved:", "It is the next to start"),
    "back": Action("To the end", "Moved:", "It starts after all the others"),
}
MOVES = ("front", "back")


def in_line(waiting: Sequence[Run]) -> list[Run]:
    """Put runs that were listed newest first into the order in which they will start."""
    oldest_first = list(reversed(waiting))
    return sorted(oldest_first, key=lambda run: -run.priority)


def priority(move: str, others: Sequence[Run]) -> int:
    """Return the priority that puts a run before or after all the others that wait, within the bounds."""
    taken = [run.priority for run in others] or [0]
    return min(MOST, max(taken) + 1) if move == "front" else max(-MOST, min(taken) - 1)


def perform(name: str, run_ids: Sequence[str], waiting: Sequence[Run] = ()) -> None:
    """Ask it of each run and say so; where the backend refuses one, say why, and go on with the others."""
    refused: list[str] = []
    done = 0
    for run_id in run_ids:
        try:
            _ask(client(), name, run_id, [run for run in waiting if run.id not in run_ids])
            done += 1
        except (Conflict, NotFound, QueueFull) as error:  # of this run, or of those that would wait
            refused.append(str(error))
        except BlockHFError as error:  # of all of them: the backend is away, or lets nobody in
            refused.append(str(error))
            break
    if done:
        st.toast(f"{ACTIONS[name].doing} {counted(done, 'run')}")
    for text in refused[:MOST_SAID]:
        st.toast(escape(text), icon=":material/error:")


def _ask(backend: Client, name: str, run_id: str, others: Sequence[Run]) -> None:
    if name in MOVES:
        backend.prioritize(run_id, priority(name, others))
        return
    verbs = {"pause": backend.pause, "resume": backend.resume, "retry": backend.retry, "cancel": backend.cancel}
    verbs[name](run_id)


def buttons(run: Run) -> None:
    """Draw a button for everything that can be asked of a run."""
    for name in run.actions:
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
