"""The recommendations of the guide: each with the sweep of the study that it rests on, and when it does not hold."""

import html
from collections.abc import Sequence

import streamlit as st

from backend.client import Client
from backend.schemas.paper import Answer, PlotlyFigure, Reproduction
from dashboard.pages import reproduction_parts
from dashboard.ui.backend import ask, may_launch
from dashboard.ui.html_table import table
from dashboard.ui.text import counted, escape
from dashboard.ui.theme import mode

REFRESH_SECONDS = 10
WIDTHS = [2, 2.4, 3, 2.4, 1.6]

ADVICE = {
    "blocks": (
        "Start with the network's default blocks, and compare with HF.",
        "On this small network with curvature batch 62, one block (HF) ends lower. On the paper's network BHF does.",
    ),
    "curvature_batch": (
        "Take 1/4 to 1/2 of the gradient batch.",
        "A larger curvature batch makes an update slower: compare over seconds, too.",
    ),
    "warm_start": (
        "Take 0.5 if the curvature batch is small, else the paper's 0.95.",
        "The sweep has the curvature batch 62; the paper has larger ones.",
    ),
    "max_cg_iterations": (
        "Take 10 if the curvature batch is small, else the paper's 30. Never take many more.",
        "With damping, more iterations do less harm.",
    ),
    "learning_rate": (
        "Take 0.03 to 0.1. The paper has 0.1.",
        "With damping, a larger rate is possible.",
    ),
    "damping": (
        "Take 0.1.",
        "The unit is loss per weight squared: another loss needs another damping. Sweep 0.01..1/3.",
    ),
    "cg_stop": (
        "Leave it at iterations.",
        "If many iterations are allowed, an early stop saves time.",
    ),
    "small_batch": (
        "Take 10 CG iterations, or a larger curvature batch: other settings collapse.",
        "On the whole network, no setting collapses.",
    ),
    "whole": (
        "Take BHF with damping 0.1.",
        "One seed only.",
    ),
    "whole_float64": (
        "float32 is enough: BHF leads HF in float64, too.",
        "One seed only.",
    ),
}
"""What to choose, and when that does not hold, by question. It follows from the recorded runs and from the paper."""


def draw() -> None:
    """Draw each question with its recommendation and evidence, and offer to run its sweep again."""
    st.header("Recommendations")
    st.write(
        "Each sweep varies one setting that the paper leaves open. The short sweeps train a smaller autoencoder on the "
        "digits that ship with BlockHF, with three seeds. Two long sweeps train the paper's network on all of MNIST, "
        "with one seed. Run a sweep again, and the evidence is that of your own runs."
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
    seeds = {trace["name"].partition(",")[0]: trace for trace in figure.data if trace["mode"] == "markers"}
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
    heads = ("Question", "Recommendation", "Evidence", "When it does not hold", "Runs")
    for place, head in zip(st.columns(WIDTHS), heads, strict=True):
        place.markdown(f"**{head}**")
    for answer in answers:
        with st.container(border=True, key=f"answer-{answer.question}"):
            _answer(answer, sweeps.get(answer.question))


def _answer(answer: Answer, sweep: Reproduction | None) -> None:
    recommended, limits = ADVICE.get(answer.question, (answer.advice, ""))
    title, advice, evidence, exceptions, runs = st.columns(WIDTHS)
    title.markdown(f"**{escape(answer.title)}**")
    advice.markdown(f"**{escape(recommended)}**")
    evidence.html(f"<p class='bhf-plan'>{html.escape(answer.text)}</p>")
    evidence.caption(origin(answer))
    exceptions.write(escape(limits))
    with runs:
        if answer.figure.data:
            with st.popover("See the runs", icon=":material/monitoring:"):
                alt = f"{answer.title} Final train loss for each setting, for BHF and HF"
                reproduction_parts.draw_figure(answer.figure, key=f"figure-{answer.question}", alt=alt)
                st.html(table(*numbers(answer.figure), label=f"{answer.title} Table"))
                st.caption("Median over the seeds that ended; each seed in brackets.")
        if answer.experiment is not None:
            reproduction_parts.curves_button(answer.experiment, key=f"curves-{answer.question}")
        elif sweep is not None and may_launch():
            count = counted(len(sweep.spec.runs()), "run")
            key = f"sweep-{answer.question}"
            pressed = st.button(f"Run again: {count}", icon=":material/rocket_launch:", key=key)
            if pressed and reproduction_parts.launch(sweep):
                st.rerun()
