"""The page "Paper": launch the paper's experiments again, see their figures, and what runs say of each claim."""

import html
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import streamlit as st

from backend.client import Client
from backend.errors import BlockHFError
from backend.schemas.paper import Evidence, Finding, Own, PaperView, Reproduction, Verdict
from dashboard.pages import reproduction_parts
from dashboard.ui.backend import ask, client
from dashboard.ui.html_table import table
from dashboard.ui.text import counted, escape
from dashboard.ui.theme import mode

PROBLEMS = {
    "autoencoder": (
        "Deep autoencoder",
        "A network of dense layers that reproduces handwritten digits from 30 numbers; its loss is the "
        "reconstruction error on MNIST.",
    ),
    "lstm": (
        "Three-layer LSTM",
        "A stack of recurrent layers that reads a digit of 7 by 7 pixels in pieces and names it.",
    ),
    "cnn": ("Residual CNN", "A convolutional network with shortcuts that tells the ten classes of CIFAR-10 apart."),
}
SCALES = {
    "quick": "minutes, on a part of the data",
    "laptop": "up to two hours on two cores",
    "full": "the paper's data and length; for a GPU",
}
AXES = {"update": "Updates", "epoch": "Epochs", "seconds": "Seconds", "cost": "Cost"}
RECORDED = "recorded"
VERDICTS = {
    Verdict.REPRODUCED: ("finished", "\N{CHECK MARK}"),
    Verdict.PARTLY: ("paused", "\N{CIRCLE WITH LEFT HALF BLACK}"),
    Verdict.NOT: ("failed", "\N{BALLOT X}"),
    Verdict.PENDING: ("queued", "\N{HORIZONTAL ELLIPSIS}"),
}
EVERY = 5  # seconds between looks at runs that train


@dataclass(frozen=True)
class Shown:
    """What the page shows; lives in its URL. `source` is an experiment's id, "recorded", or empty: the newest."""

    problem: str = "autoencoder"
    source: str = ""
    axis: str = "update"

    def query(self) -> dict[str, str]:
        """Return what differs from the default, as parts of a URL."""
        return {name: value for name, value in vars(self).items() if value != getattr(Shown(), name)}


def read_shown(query: Mapping[str, str]) -> Shown:
    """Read what to show from the parts of a URL; what makes no sense is left out."""
    problem, source, axis = (query.get(name, "") for name in ("problem", "source", "axis"))
    return Shown(
        problem=problem if problem in PROBLEMS else Shown().problem,
        source=source if re.fullmatch(r"[a-z0-9]{1,32}", source) else "",
        axis=axis if axis in AXES else Shown().axis,
    )


def page() -> None:
    """Draw the page."""
    st.title("Paper")
    st.write(
        "Zhang, Xiong, Bradbury and Socher, *Block-diagonal Hessian-free Optimization for Training Neural Networks* "
        "(2017): its three experiments to run again, and its claims held against the runs."
    )
    known = ask(reproductions=lambda backend: backend.reproductions().reproductions)["reproductions"]
    if known is None:
        st.stop()
    shipped: list[Reproduction] = [one for one in known if one.kind == "paper"]
    asked = read_shown(st.query_params.to_dict())
    for place, problem in zip(st.columns(len(PROBLEMS)), PROBLEMS, strict=True):
        with place.container(border=True, height="stretch", key=f"card-{problem}"):
            _card(problem, [one for one in shipped if one.subject == problem])
    shown, own = _choose(asked, shipped)
    st.query_params.from_dict(shown.query())
    if not shown.source:
        st.info("There are no results of this experiment yet: press Reproduce above, and its figure grows here.")
        st.stop()
    st.fragment(_results)(shown, own)


def _card(problem: str, shipped: Sequence[Reproduction]) -> None:
    """Draw one of the paper's experiments: what it is, how it stands at each scale, and the button that launches it."""
    title, sentence = PROBLEMS[problem]
    st.subheader(title)
    st.write(sentence)
    by_scale = {one.scale: one for one in shipped}
    lines = "".join(f"<li>{html.escape(_standing(one))}</li>" for one in shipped)
    st.html(f"<ul class='bhf-history'>{lines}</ul>")
    scale = st.segmented_control(
        f"Scale of {title}",
        list(by_scale),
        default=next(iter(by_scale), None),
        required=True,
        format_func=lambda name: f"{name} ({counted(len(by_scale[name].spec.runs()), 'run')})",
        key=f"scale-{problem}",
    )
    if scale is None:
        return
    estimate = reproduction_parts.how_long(by_scale[scale].spec)
    st.caption(f"{scale}: {SCALES.get(scale, '')}" + (f"; {estimate}" if estimate else ""))
    if st.button(f"Reproduce {title}", type="primary", icon=":material/rocket_launch:", key=f"reproduce-{problem}"):
        made = reproduction_parts.launch(by_scale[scale])
        if made:
            st.query_params.from_dict(Shown(problem, made.id, read_shown(st.query_params.to_dict()).axis).query())
            st.rerun()


def _standing(one: Reproduction) -> str:
    """Say how an experiment stands at a scale."""
    words = [reproduction_parts.ended_text(one.own.ended, one.own.total) if one.own else "not run here"]
    return f"{one.scale}: {'; '.join(words + ['recorded results'] * one.recorded)}"


def _choose(asked: Shown, shipped: Sequence[Reproduction]) -> tuple[Shown, Own | None]:
    """Let the visitor choose whose figure is shown, from which runs, over what; the URL has the last word."""
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
            "Runs", list(sources), format_func=lambda id_: _title(sources[id_]), key=key, width=380,
            placeholder="None yet", disabled=not sources,
        )  # fmt: skip
        axis = st.segmented_control("Over", list(AXES), required=True, format_func=AXES.__getitem__, key="paper-axis")
        own = sources.get(source or "")
        if own:
            reproduction_parts.curves(own.experiment, key="curves")
    shown = Shown(problem, source or "", axis or asked.axis)
    st.session_state["paper"] = shown
    return shown, own


def _sources(shipped: Sequence[Reproduction], named: str) -> dict[str, Own | None]:
    """List whose runs can be shown: one's own, newest first, then those that ship; and one that the URL names."""
    mine = [one.own for one in shipped if one.own]
    found: dict[str, Own | None] = {
        one.experiment: one for one in sorted(mine, key=lambda one: one.created_at, reverse=True)
    }
    if any(one.recorded for one in shipped):
        found[RECORDED] = None
    if named and named not in found and named != RECORDED:
        try:
            found[named] = reproduction_parts.own(client().experiment(named))
        except BlockHFError:
            st.warning(f"There is no experiment {escape(named)}.")
    return found


def _title(own: Own | None) -> str:
    if own is None:
        return "Recorded results, which ship with BlockHF"
    return f"{own.name} \N{MIDDLE DOT} {own.created_at.astimezone().strftime('%d %b %H:%M')}"


def _results(shown: Shown, own: Own | None) -> None:
    """Draw the figure and the verdicts, anew as runs go on; `own` is how they stood when the page was drawn.

    Where more have ended since then, the page is drawn anew.
    """
    if own is not None and own.ended < own.total:
        reproduction_parts.follow("fresh-paper", [own.experiment], every=EVERY)
    view = _view(shown)
    if view is None:
        return
    news = (shown.source, view.ended)
    if own is not None and view.ended != own.ended and st.session_state.get("paper-ended") != news:
        st.session_state["paper-ended"] = news
        st.rerun()
    whose = "Recorded results, which ship with BlockHF" if view.recorded else view.title
    st.caption(
        f"{escape(whose)}: {reproduction_parts.ended_text(view.ended, view.total)}. "
        "Lines: median over seeds; bands: lowest to highest seed. The tables below list the numbers."
    )
    alt = f"{view.title}: losses over {AXES[shown.axis].lower()}, left BHF and Adam, right BHF and HF"
    reproduction_parts.draw(view.figure, key="paper-figure", alt=alt)
    st.subheader("What the paper claims, and what these runs say")
    st.write(summary(view.findings))
    for finding in view.findings:
        _finding(finding)
    _surroundings(view, shown)


def _view(shown: Shown) -> PaperView | None:
    """Return what the runs say; where the backend is gone what they said last, where there is nothing None."""
    key = (*vars(shown).values(), mode())

    def read(backend: Client) -> tuple[tuple[str, ...], PaperView]:
        looks = {"axis": shown.axis, "mode": mode()}
        if shown.source == RECORDED:
            return key, backend.recorded_paper(shown.problem, **looks)
        return key, backend.paper(shown.source, **looks)

    try:
        held = ask(paper=read)["paper"]
    except BlockHFError as error:
        st.error(escape(str(error)))
        return None
    view: PaperView | None = held[1] if held and held[0] == key else None
    return view


def summary(findings: Sequence[Finding]) -> str:
    """Count the verdicts: of 4 claims, 3 are reproduced, 1 not."""
    counts = [(verdict, sum(finding.verdict is verdict for finding in findings)) for verdict in Verdict]
    words = ", ".join(f"{count} {verdict.value}" for verdict, count in counts if count)
    return f"Of {counted(len(findings), 'claim')}: {words}."


def _finding(finding: Finding) -> None:
    """Draw a claim with its verdict, and the rule and the numbers behind it."""
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
                head = ["What", "Median", "Least", "Largest", "Seeds", "Unit"]
                rows = [evidence_row(one) for one in finding.evidence]
                st.html(table(head, rows, label=f"Numbers of claim {finding.number}"))


def evidence_row(one: Evidence) -> list[str]:
    """Write a number over seeds as a row of a table."""
    values = ["unbounded" if value is None else f"{value:.4g}" for value in (one.middle, one.low, one.high)]
    return [one.what, *values, str(one.n), one.unit]


def _surroundings(view: PaperView, shown: Shown) -> None:
    """Show what else is to be known of the runs, and how to take them along."""
    if view.notes:
        st.subheader("Notes")
        st.html(f"<ul class='bhf-history'>{''.join(f'<li>{html.escape(note)}</li>' for note in view.notes)}</ul>")
    if view.made_with:
        st.subheader("Made with")
        st.html(table(["What", "Value"], [list(row) for row in view.made_with.items()], label="Made with"))
    if shown.source != RECORDED:
        st.caption(f"All of this as one HTML file: `blockhf report {shown.source}`")
