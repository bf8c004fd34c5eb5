"""The page "Paper": re-run the paper's experiments, and compare figures and claims with the results."""

import html
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import get_args

import streamlit as st

from backend.client import Client
from backend.errors import BlockHFError
from backend.schemas.measures import UPDATE_MEASURES
from backend.schemas.paper import Axis, ClaimResult, Evidence, OwnRun, PaperView, Reproduction, Verdict
from dashboard.pages import reproduction_parts
from dashboard.ui.backend import ask, client, may_launch
from dashboard.ui.html_table import table
from dashboard.ui.text import counted, escape, unique_labels
from dashboard.ui.theme import mode

PROBLEMS = {
    "autoencoder": (
        "Deep autoencoder",
        "A dense network that compresses MNIST digits to 30 numbers and reconstructs them; the loss is the "
        "reconstruction error.",
    ),
    "lstm": (
        "Three-layer LSTM",
        "A recurrent network that classifies digits of 7 by 7 pixels, read in pieces.",
    ),
    "cnn": ("Residual CNN", "A convolutional network with skip connections that classifies CIFAR-10 images."),
}
SCALES = {
    "quick": "minutes, on part of the data",
    "laptop": "up to two hours on two cores",
    "full": "the paper's data and number of updates; needs a GPU",
}
AXES = {name: UPDATE_MEASURES[name].label for name in get_args(Axis)}
RECORDED = "recorded"
VERDICTS = {
    Verdict.REPRODUCED: ("finished", "\N{CHECK MARK}"),
    Verdict.PARTLY: ("paused", "\N{CIRCLE WITH LEFT HALF BLACK}"),
    Verdict.NOT: ("failed", "\N{BALLOT X}"),
    Verdict.PENDING: ("queued", "\N{HORIZONTAL ELLIPSIS}"),
}
REFRESH_SECONDS = 5  # while runs train


@dataclass(frozen=True)
class PaperPageView:
    """What the page shows, stored in its URL. `source`: an experiment's id, "recorded", or empty for the newest."""

    problem: str = "autoencoder"
    source: str = ""
    axis: str = "update"

    def query(self) -> dict[str, str]:
        """Return what differs from the default, as parts of a URL."""
        return {name: value for name, value in vars(self).items() if value != getattr(PaperPageView(), name)}


def read_view(query: Mapping[str, str]) -> PaperPageView:
    """Read the view from the parts of a URL; invalid parts keep their default."""
    problem, source, axis = (query.get(name, "") for name in ("problem", "source", "axis"))
    return PaperPageView(
        problem=problem if problem in PROBLEMS else PaperPageView().problem,
        source=source if re.fullmatch(r"[a-z0-9]{1,32}", source) else "",
        axis=axis if axis in AXES else PaperPageView().axis,
    )


def page() -> None:
    """Draw the page."""
    st.title("Paper")
    st.write(
        "Zhang, Xiong, Bradbury and Socher, *Block-diagonal Hessian-free Optimization for Training Neural Networks* "
        "(2017). Re-run the three experiments and check each claim."
    )
    known = ask(reproductions=lambda backend: backend.reproductions().reproductions)["reproductions"]
    if known is None:
        st.stop()
    shipped: list[Reproduction] = [one for one in known if one.kind == "paper"]
    asked = read_view(st.query_params.to_dict())
    for place, problem in zip(st.columns(len(PROBLEMS)), PROBLEMS, strict=True):
        with place.container(border=True, height="stretch", key=f"card-{problem}"):
            _card(problem, [one for one in shipped if one.subject == problem])
    shown, own = _choose(asked, shipped)
    st.query_params.from_dict(shown.query())
    if not shown.source:
        st.info("There are no results of this experiment yet. Press Reproduce above; the figure appears here.")
        st.stop()
    st.fragment(_results)(shown, own)


def _card(problem: str, shipped: Sequence[Reproduction]) -> None:
    """Draw one of the paper's experiments: its description, its state at each size, and the launch button."""
    title, sentence = PROBLEMS[problem]
    st.subheader(title)
    st.write(sentence)
    by_scale = {one.scale: one for one in shipped}
    lines = "".join(f"<li>{html.escape(_state(one))}</li>" for one in shipped)
    st.html(f"<ul class='bhf-history'>{lines}</ul>")
    scale = st.segmented_control(
        "Size",
        list(by_scale),
        default=next(iter(by_scale), None),
        required=True,
        format_func=lambda name: f"{name} ({counted(len(by_scale[name].spec.runs()), 'run')})",
        key=f"scale-{problem}",
    )
    if scale is None:
        return
    estimate = reproduction_parts.duration_text(by_scale[scale].spec)
    st.caption(f"{scale}: {SCALES.get(scale, '')}" + (f"; {estimate}" if estimate else ""))
    if may_launch() and st.button(
        f"Reproduce {title}",
        type="primary",
        icon=":material/rocket_launch:",
        key=f"reproduce-{problem}",
    ):
        made = reproduction_parts.launch(by_scale[scale])
        if made:
            st.query_params.from_dict(
                PaperPageView(problem, made.id, read_view(st.query_params.to_dict()).axis).query()
            )
            st.rerun()


def _state(one: Reproduction) -> str:
    """Return the state of an experiment at a size."""
    words = [reproduction_parts.ended_text(one.own.ended, one.own.total) if one.own else "not run yet"]
    return f"{one.scale}: {'; '.join(words + ['recorded results'] * one.recorded)}"


def _choose(asked: PaperPageView, shipped: Sequence[Reproduction]) -> tuple[PaperPageView, OwnRun | None]:
    """Let the user choose experiment, runs and axis of the figure; a changed URL takes precedence."""
    if asked != st.session_state.get("paper") or "paper-problem" not in st.session_state:
        st.session_state["paper-problem"], st.session_state["paper-axis"] = asked.problem, asked.axis
        if asked.source:
            st.session_state[f"paper-source-{asked.problem}"] = asked.source
    st.subheader("Figure and claims")
    with st.container(horizontal=True, vertical_alignment="bottom"):
        picked = st.segmented_control(
            "Experiment", list(PROBLEMS), required=True, format_func=lambda name: PROBLEMS[name][0], key="paper-problem"
        )
        problem = picked or asked.problem
        named = asked.source if problem == asked.problem else ""
        sources = _sources([one for one in shipped if one.subject == problem], named)
        key = f"paper-source-{problem}"
        if st.session_state.get(key) not in sources:
            st.session_state[key] = next(iter(sources), None)
        source = st.selectbox(
            "Runs", list(sources), key=key, width=380, placeholder="None yet", disabled=not sources,
            format_func=unique_labels(sources, lambda id_: _title(sources[id_])),
        )  # fmt: skip
        axis = st.segmented_control("X axis", list(AXES), required=True, format_func=AXES.__getitem__, key="paper-axis")
        own = sources.get(source or "")
        if own:
            reproduction_parts.curves_button(own.experiment, key="curves")
    shown = PaperPageView(problem, source or "", axis or asked.axis)
    st.session_state["paper"] = shown
    return shown, own


def _sources(shipped: Sequence[Reproduction], named: str) -> dict[str, OwnRun | None]:
    """List the results to choose from: the user's own, newest first, the recorded ones, and those in the URL."""
    mine = [one.own for one in shipped if one.own]
    found: dict[str, OwnRun | None] = {
        one.experiment: one for one in sorted(mine, key=lambda one: one.created_at, reverse=True)
    }
    if any(one.recorded for one in shipped):
        found[RECORDED] = None
    if named and named not in found and named != RECORDED:
        try:
            found[named] = reproduction_parts.own_results(client().experiment(named))
        except BlockHFError:
            st.warning(f"There is no experiment {escape(named)}.")
    return found


def _title(own: OwnRun | None) -> str:
    if own is None:
        return "Recorded results"
    return f"{own.name} \N{MIDDLE DOT} {own.created_at.astimezone().strftime('%d %b %H:%M')}"


def _results(shown: PaperPageView, own: OwnRun | None) -> None:
    """Draw the figure and the verdicts, and refresh them while runs train.

    `own` is the state of the runs when the page was drawn; if more runs have ended since, the page is drawn again.
    """
    if own is not None and own.ended < own.total:
        reproduction_parts.refresh_while_training("refresh-paper", [own.experiment], every=REFRESH_SECONDS)
    view = _view(shown)
    if view is None:
        return
    state = (shown.source, view.ended)
    if own is not None and view.ended != own.ended and st.session_state.get("paper-ended") != state:
        st.session_state["paper-ended"] = state
        st.rerun()
    title = "Recorded results" if view.recorded else view.title
    st.caption(
        f"{escape(title)}: {reproduction_parts.ended_text(view.ended, view.total)}. "
        "Lines: median over seeds; bands: lowest to highest seed. The tables below list the numbers."
    )
    alt = f"{view.title}: losses over {AXES[shown.axis].lower()}, left BHF and Adam, right BHF and HF"
    reproduction_parts.draw_figure(view.figure, key="paper-figure", alt=alt)
    st.subheader("Claims and results")
    st.write(summary(view.findings))
    for finding in view.findings:
        _finding(finding)
    _environment(view, shown)


def _view(shown: PaperPageView) -> PaperView | None:
    """Return the results; the last known ones if the backend is unreachable, None if there are none."""
    key = (*vars(shown).values(), mode())

    def read(backend: Client) -> tuple[tuple[str, ...], PaperView]:
        style = {"axis": shown.axis, "mode": mode()}
        if shown.source == RECORDED:
            return key, backend.recorded_paper(shown.problem, **style)
        return key, backend.paper(shown.source, **style)

    try:
        held = ask(paper=read)["paper"]
    except BlockHFError as error:
        st.error(escape(str(error)))
        return None
    view: PaperView | None = held[1] if held and held[0] == key else None
    return view


def summary(findings: Sequence[ClaimResult]) -> str:
    """Count the verdicts: of 4 claims, 3 are reproduced, 1 not."""
    counts = [(verdict, sum(finding.verdict is verdict for finding in findings)) for verdict in Verdict]
    words = ", ".join(f"{count} {verdict.value}" for verdict, count in counts if count)
    return f"Of {counted(len(findings), 'claim')}: {words}."


def _finding(finding: ClaimResult) -> None:
    """Draw a claim with its verdict, the rule and the numbers."""
    tone, sign = VERDICTS[finding.verdict]
    with st.container(border=True, key=f"claim-{finding.number}"):
        st.html(
            f"<p class='bhf-plan'><span class='bhf-state bhf-state-{tone}'><span aria-hidden='true'>{sign}</span> "
            f"{html.escape(finding.verdict.value)}</span> <b>{finding.number}. {html.escape(finding.claim)}</b></p>"
            f"<p class='bhf-plan'>{html.escape(finding.text)}</p>"
        )
        with st.expander(f"Claim {finding.number}: rule and numbers"):
            st.html(f"<p class='bhf-plan'>{html.escape(finding.rule)}</p>")
            if finding.evidence:
                head = ["Quantity", "Median", "Min", "Max", "Seeds", "Unit"]
                rows = [evidence_row(one) for one in finding.evidence]
                st.html(table(head, rows, label=f"Numbers of claim {finding.number}"))


def evidence_row(one: Evidence) -> list[str]:
    """Return a number over seeds as a row of a table."""
    values = ["unbounded" if value is None else f"{value:.4g}" for value in (one.middle, one.low, one.high)]
    return [one.what, *values, str(one.n), one.unit]


def _environment(view: PaperView, shown: PaperPageView) -> None:
    """Show notes, the environment of the runs, and how to export them."""
    if view.notes:
        st.subheader("Notes")
        st.html(f"<ul class='bhf-history'>{''.join(f'<li>{html.escape(note)}</li>' for note in view.notes)}</ul>")
    if view.made_with:
        st.subheader("Environment")
        st.html(table(["Item", "Value"], [list(row) for row in view.made_with.items()], label="Environment"))
    if shown.source != RECORDED:
        st.caption(f"Export this page as an HTML file: `blockhf report {shown.source}`")
