"""The compare page: live curves and the table of the runs of one or more comparisons."""

from collections.abc import Callable, Sequence
from typing import Any

import streamlit as st

from backend.errors import BlockHFError
from backend.schemas.runs import Experiment
from dashboard.compare import differences, edit_dialog, groups, sweep_charts
from dashboard.compare.filters import (
    MOST_AT_FIRST,
    Filters,
    below_query,
    draw_filters,
    draw_over,
    filters,
    having,
    keep,
    keep_below,
    read_below,
)
from dashboard.runs.actions import ACTIONS, perform
from dashboard.ui.auto_refresh import Read, fresh
from dashboard.ui.backend import ask, client
from dashboard.ui.html_table import table
from dashboard.ui.live_curves import live, read_view
from dashboard.ui.text import escape
from dashboard.ui.theme import mode


def page() -> None:
    """Draw the page."""
    asked = filters()
    keep(asked)
    known = ask(
        experiments=lambda backend: backend.experiments(
            limit=100, archived=asked.archived, tag=asked.tags[0] if asked.tags else None
        ),
        tags=lambda backend: backend.tags(),
        catalog=lambda backend: backend.catalog(),
    )
    experiments: list[Experiment] | None = known["experiments"]
    tags: list[str] = known["tags"] or []
    if experiments is None:
        _empty(known=False)
        st.stop()
    if not experiments and not st.query_params.get("experiments") and _is_empty(asked):
        edit_dialog.deleted([])
        _empty(known=True)
        st.stop()
    chosen = _choose(having(experiments, asked.tags), tags, asked)
    if not chosen:
        st.info("Choose one or more comparisons above to see their curves.")
        st.stop()
    edit_dialog.about(chosen)
    over = draw_over(chosen, asked)
    shown = Filters(asked.tags, asked.archived, over)
    keep(shown)
    runs = [run for experiment in chosen for run in experiment.runs]
    catalog = known["catalog"].catalog if known["catalog"] else None
    found = groups.groups(chosen)
    _unlike(found)
    _live(
        groups.live_groups(groups.groups(chosen, over), over),
        {"experiments": ",".join(experiment.id for experiment in chosen)} | shown.query(),
        groups.has_accuracy(catalog, runs),
        groups.loss_unit(catalog, runs[0].config.problem.name),
    )
    _sweep(found)
    _differences(found)


def _is_empty(asked: Filters) -> bool:
    """Tell whether nothing is there at all: neither by other tags nor in the archive."""
    if asked.tags or asked.archived:
        return False
    return not ask(put_away=lambda backend: backend.experiments(limit=1, archived=True))["put_away"]


def _empty(*, known: bool) -> None:
    st.title("Compare")
    if not known:
        return
    st.write("Nothing has been launched yet: choose a problem and the optimizers to compare, and watch them train.")
    if st.button("Launch a comparison", type="primary"):
        st.switch_page(st.session_state["pages"]["launch"])
    fresh("fresh-first", [Read("/api/v1/experiments?limit=1", "experiments", ("id",), [])], every=2)


def _choose(experiments: Sequence[Experiment], tags: Sequence[str], asked: Filters) -> list[Experiment]:
    """Let the user pick comparisons; the choice stands in the URL."""
    by_id = {experiment.id: experiment for experiment in experiments}
    named = list(dict.fromkeys(id_ for id_ in st.query_params.get("experiments", "").split(",") if id_))
    gone = []
    for id_ in dict.fromkeys([*named, *st.session_state.get("chosen", [])]):
        if id_ not in by_id and (other := _find(id_)):
            if other.deleted_at:
                gone.append(other)
            else:
                by_id[id_] = other
    first = [one.id for one in experiments[: MOST_AT_FIRST if asked.tags else 1]]
    default = [id_ for id_ in named if id_ in by_id] or first
    if st.session_state.get("asked") != named:
        st.session_state["asked"] = named
        st.session_state["chosen"] = default
    st.session_state["chosen"] = [id_ for id_ in st.session_state.get("chosen", default) if id_ in by_id]
    edit_dialog.deleted(gone)
    with st.container(horizontal=True, vertical_alignment="bottom"):
        chosen: list[str] = st.multiselect(
            "Comparisons",
            list(by_id),
            key="chosen",
            format_func=lambda id_: _title(by_id[id_]),
            placeholder="Choose comparisons" if by_id else "No comparison has these tags",
        )
        draw_filters(tags, asked)
        picked = [by_id[id_] for id_ in chosen]
        if st.button(
            "Edit", icon=":material/edit_note:", disabled=not chosen, help="Name, note, tags, archive, delete"
        ):
            edit_dialog.manage(picked, tags)
        if st.button("New comparison", type="primary", icon=":material/add:"):
            st.switch_page(st.session_state["pages"]["launch"])
    if chosen != named:
        st.query_params["experiments"] = ",".join(chosen)
        st.session_state["asked"] = chosen
    return picked


def _find(experiment_id: str) -> Experiment | None:
    """Return an experiment that the list does not show; None where there is no such one."""
    try:
        return client().experiment(experiment_id)
    except BlockHFError:
        return None


def _title(experiment: Experiment) -> str:
    when = experiment.created_at.astimezone().strftime("%d %b %H:%M")
    return f"{experiment.name} · {when}"


def _unlike(found: Sequence[groups.Group]) -> None:
    """Warn where the chosen runs are not comparable."""
    words = differences.unlike(found)
    if words:
        st.warning(escape(f"Compare with care, since these runs are not alike: {'; '.join(words)}."))


@st.fragment
def _sweep(found: Sequence[groups.Group]) -> None:
    """Where settings were swept, draw them against an outcome; nothing otherwise."""
    fresh = _fresh(found)
    settings = differences.swept(differences.outcomes(fresh, "best_train_loss"))
    if not settings:
        return
    st.subheader("What the settings do")
    measures = differences.MEASURES
    asked = read_below(st.query_params.to_dict(), outcomes=list(measures), settings=settings)
    with st.container(horizontal=True, vertical_alignment="bottom"):
        measure = _picked("outcome", list(measures), asked.outcome, measures.__getitem__)
        setting = _picked("setting", settings, asked.setting, str)
        st.button("Read again", help="The outcomes are those of the moment when they were read")
    keep_below(outcome=measure, setting=setting if setting != settings[0] else "")
    rows = differences.outcomes(fresh, measure)
    st.plotly_chart(sweep_charts.slice_plot(rows, setting, measures[measure], mode=mode()), key="slice")
    if len(settings) > 1:
        st.plotly_chart(
            sweep_charts.parallel_coordinates(rows, settings, measures[measure], mode=mode()), key="parallel"
        )


def _picked(name: str, options: Sequence[str], now: str, written: Callable[[str], str]) -> str:
    place = options.index(now) if now in options else 0
    picked: str = st.selectbox(name.capitalize(), options, index=place, format_func=written, key=name, width=240)
    return picked


def _fresh(found: Sequence[groups.Group]) -> list[groups.Group]:
    """Read the runs of the groups again, since a fragment keeps what it was first given."""
    ids = list(dict.fromkeys(run.experiment_id for group in found for run in group.runs))
    read = ask(swept=lambda backend: [backend.experiment(id_) for id_ in ids])["swept"]
    return groups.groups(read) if read else list(found)


@st.fragment
def _differences(found: Sequence[groups.Group]) -> None:
    """Show the configurations side by side: where they differ, or all of them with the differences marked."""
    st.subheader("What differs")
    asked = read_below(st.query_params.to_dict(), outcomes=(), settings=())
    whole = st.toggle("Settings that are alike too", value=bool(asked.alike), key="alike")
    keep_below(alike="1" if whole else "")
    rows = differences.settings_of(found) if whole else differences.differences(found)
    if not rows:
        st.caption("All these runs have the same settings.")
        return
    lines = [[row.setting, *row.values] for row in rows]
    marked = [i for i, row in enumerate(rows) if whole and row.differs]
    st.html(table(["Setting", *(group.label for group in found)], lines, label="What differs", marked=marked))


@st.fragment
def _live(groups: list[dict[str, Any]], kept: dict[str, str], accuracy: bool, loss_unit: str) -> None:
    view = read_view(st.query_params.to_dict(), accuracy=accuracy)
    asked = live(
        groups,
        experiments=kept["experiments"].split(","),
        view=view,
        accuracy=accuracy,
        loss_unit=loss_unit,
        key="live",
    )
    st.query_params.from_dict(kept | below_query(st.query_params.to_dict()) | asked.view.query(accuracy=accuracy))
    if asked.verb in ACTIONS:
        perform(asked.verb, asked.runs)
