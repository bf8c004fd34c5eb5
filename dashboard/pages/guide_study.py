"""The second half of the guide: the sensitivity study, sweeps over settings that the paper leaves open."""

import html
from collections.abc import Sequence

import streamlit as st

from backend.client import Client
from backend.schemas.paper import Answer, PlotlyFigure, Reproduction
from dashboard.pages import reproduction_parts
from dashboard.ui.backend import ask
from dashboard.ui.html_table import table
from dashboard.ui.text import counted
from dashboard.ui.theme import mode

REFRESH_SECONDS = 10


def draw() -> None:
    """Draw each question with its answer, and offer to run its sweep."""
    st.header("Sensitivity study")
    st.write(
        "Each sweep varies one setting that the paper leaves open. The short sweeps train a smaller autoencoder on the "
        "digits that ship with BlockHF, with three seeds. Two long sweeps train the paper's network on all of MNIST, "
        "with one seed. Re-run a sweep to replace the recorded answer with your own results."
    )
    known = ask(reproductions=lambda backend: backend.reproductions().reproductions, study=_read)
    if known["study"] is None or known["reproductions"] is None:
        return
    sweeps: dict[str, Reproduction] = {one.subject: one for one in known["reproductions"] if one.kind == "study"}
    st.fragment(_answers)(sweeps)


def _read(backend: Client) -> list[Answer]:
    return backend.study(mode=mode()).answers


def origin(answer: Answer) -> str:
    """Write which runs an answer is based on, and how many of them have ended."""
    if not answer.total:
        return "No runs yet"
    name = "Recorded results" if answer.recorded else "Your runs"
    return f"{name}: {reproduction_parts.ended_text(answer.ended, answer.total)}"


def training(answers: Sequence[Answer]) -> list[str]:
    """List the visitor's own sweeps with runs that have not ended."""
    return [one.experiment for one in answers if one.experiment is not None and one.ended < one.total]


def numbers(figure: PlotlyFigure) -> tuple[list[str], list[list[str]]]:
    """Return a figure as a table, head and rows: each line's value at each setting, with the seeds' in brackets."""
    lines = [trace for trace in figure.data if "lines" in trace["mode"]]
    seeds = {trace["name"].partition(",")[0]: trace for trace in figure.data if "lines" not in trace["mode"]}
    rows = []
    for setting in dict.fromkeys(x for line in lines for x in line["x"]):
        cells = []
        for line in lines:
            middle = [y for x, y in zip(line["x"], line["y"], strict=True) if x == setting]
            each = seeds.get(line["name"], {"x": [], "y": []})
            found = [f"{y:.4g}" for x, y in zip(each["x"], each["y"], strict=True) if x == setting]
            cells.append(f"{middle[0]:.4g} ({', '.join(found)})" if middle else "\u2013")
        rows.append([str(setting), *cells])
    return ["Setting", *(f"{line['name']}, final train loss" for line in lines)], rows


def _answers(sweeps: dict[str, Reproduction]) -> None:
    """Draw every answer; redraw while runs of a sweep train."""
    answers: list[Answer] = ask(study=_read)["study"]
    if training(answers):
        reproduction_parts.refresh_while_training("refresh-study", training(answers), every=REFRESH_SECONDS)
    for answer in answers:
        with st.container(border=True, key=f"answer-{answer.question}"):
            _answer(answer, sweeps.get(answer.question))


def _answer(answer: Answer, sweep: Reproduction | None) -> None:
    st.subheader(answer.title)
    st.caption(origin(answer))
    if answer.figure.data:
        alt = f"{answer.title} Final train loss for each setting, for BHF and HF"
        reproduction_parts.draw_figure(answer.figure, key=f"figure-{answer.question}", alt=alt)
        with st.expander("Table"):
            st.html(table(*numbers(answer.figure), label=f"{answer.title} Table"))
            st.caption("Median over the seeds that ended; each seed in brackets.")
    st.html(
        f"<p class='bhf-plan'>{html.escape(answer.text)}</p><p class='bhf-plan'><b>{html.escape(answer.advice)}</b></p>"
    )
    if answer.experiment is not None:
        reproduction_parts.curves_button(answer.experiment, key=f"curves-{answer.question}")
        return
    if sweep is None:
        return
    count = counted(len(sweep.spec.runs()), "run")
    pressed = st.button(f"Run this sweep: {count}", icon=":material/rocket_launch:", key=f"sweep-{answer.question}")
    if pressed and reproduction_parts.launch(sweep):
        st.rerun()
