"""What the page "Compare" shows before the first comparison: the recorded figure of one of the paper's experiments."""

import streamlit as st

from backend.client import Client
from backend.errors import BlockHFError
from backend.schemas.paper import PaperView, Reproduction
from dashboard.pages import reproduction_parts
from dashboard.ui.backend import ask, may_launch
from dashboard.ui.text import counted
from dashboard.ui.theme import mode

PROBLEM = "autoencoder"


def draw() -> None:
    """Draw the figure, and offer to train its smallest version; nothing if no results are recorded."""
    try:
        known = ask(first=_read)["first"]
    except BlockHFError:
        return
    if known is None:
        return
    view, live = known
    st.subheader("Recorded: the paper's deep autoencoder with Adam, HF and BHF")
    alt = f"{view.title}: losses over updates, left BHF and Adam, right BHF and HF"
    reproduction_parts.draw_figure(view.figure, key="first-look", alt=alt)
    count = counted(len(live.spec.runs()), "run")
    if not may_launch():
        return
    if st.button(f"Run this live: {live.scale}, {count}", icon=":material/rocket_launch:", key="run-live"):
        made = reproduction_parts.launch(live)
        if made:
            pages = st.session_state["pages"]
            st.switch_page(pages["compare"], query_params={"experiments": made.id})


def _read(backend: Client) -> tuple[PaperView, Reproduction]:
    shipped = backend.reproductions().reproductions
    live = min((one for one in shipped if one.subject == PROBLEM), key=lambda one: len(one.spec.runs()))
    return backend.recorded_paper(PROBLEM, axis="update", mode=mode()), live
