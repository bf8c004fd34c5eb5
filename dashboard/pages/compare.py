"""The compare page: live curves and the table of runs of one or more comparisons."""

import html
import json
from collections.abc import Callable, Sequence
from typing import Any

import streamlit as st

from backend.errors import BlockHFError
from backend.schemas.api import ExperimentName
from backend.schemas.runs import Experiment
from dashboard.compare import best_setting, differences, edit_dialog, groups, sweep_charts
from dashboard.compare.filters import (
    INITIAL_MAX,
    Filters,
    current_filters,
    details_query,
    draw_average_over,
    draw_filters,
    read_details,
    with_tags,
    write_details,
    write_filters,
)
from dashboard.pages import first_look
from dashboard.runs.actions import ACTIONS, launch_button, perform
from dashboard.ui.auto_refresh import WatchedQuery, auto_refresh
from dashboard.ui.backend import ask, client, may_launch
from dashboard.ui.figure import draw_figure
from dashboard.ui.html_table import page_heading, table
from dashboard.ui.live_curves import live, read_view
from dashboard.ui.text import escape, unique_labels
from dashboard.ui.theme import mode

OFFERED = 1000
"""Number of comparisons that the picker lists; older ones are found by their name."""


def page() -> None:
    """Draw the page."""
    asked = current_filters()
    write_filters(asked)
    tag = asked.tags[0] if asked.tags else None
    search = st.session_state.get("search", "").strip()
    known = ask(
        experiments=lambda backend: backend.experiments(limit=100, archived=asked.archived, tag=tag),
        names=lambda backend: backend.experiment_names(
            limit=OFFERED, archived=asked.archived, tag=tag, search=search or None
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
        edit_dialog.draw_deleted([])
        _empty(known=True)
        st.stop()
    names: list[ExperimentName] = known["names"] or []
    chosen, over = _choose(with_tags(experiments, asked.tags), with_tags(names, asked.tags), tags, asked)
    if not chosen:
        st.info("Choose one or more comparisons to see their curves: press *Comparisons*.")
        st.stop()
    edit_dialog.draw_notes(chosen)
    shown = Filters(asked.tags, asked.archived, over)
    write_filters(shown)
    runs = [run for experiment in chosen for run in experiment.runs]
    catalog = known["catalog"].catalog if known["catalog"] else None
    found = groups.group_runs(chosen)
    _warn(found)
    _live(
        groups.live_groups(groups.group_runs(chosen, over), over),
        _name([experiment.name for experiment in chosen]),
        {"experiments": ",".join(experiment.id for experiment in chosen)} | shown.query(),
        groups.has_accuracy(catalog, runs),
        groups.loss_unit(catalog, runs[0].config.problem.name),
    )
    _sweep(found)
    _differences(found)


def _is_empty(asked: Filters) -> bool:
    """Return whether there is no comparison at all, archived ones included."""
    if asked.tags or asked.archived:
        return False
    return not ask(archived=lambda backend: backend.experiments(limit=1, archived=True))["archived"]


def _empty(*, known: bool) -> None:
    st.title("Compare")
    if not known:
        return
    st.write("No comparisons yet. Choose a problem and the optimizers to compare, and watch them train.")
    launch_button()
    first_look.draw()
    auto_refresh("refresh-first", [WatchedQuery("/api/v1/experiments?limit=1", "experiments", ("id",), [])], every=2)


def _choose(
    experiments: Sequence[Experiment], names: Sequence[ExperimentName], tags: Sequence[str], asked: Filters
) -> tuple[list[Experiment], tuple[str, ...]]:
    """Draw the bar with the page's title, in which the user chooses comparisons; the URL stores the choice.

    Args:
        experiments: the newest comparisons.
        names: the names of all comparisons that are offered.
        tags: all tags.
        asked: the filters of the list.

    Returns:
        The chosen comparisons, and the settings over which runs are averaged.
    """
    by_id = {experiment.id: experiment for experiment in experiments}
    offered = {one.id: one for one in names}
    named = list(dict.fromkeys(id_ for id_ in st.query_params.get("experiments", "").split(",") if id_))
    gone = []
    for id_ in dict.fromkeys([*named, *st.session_state.get("chosen", [])]):
        if id_ not in by_id and (other := _find(id_)):
            if other.deleted_at:
                gone.append(other)
            else:
                by_id[id_] = other
    first = [one.id for one in experiments[: INITIAL_MAX if asked.tags else 1]]
    default = [id_ for id_ in named if id_ in by_id] or first
    if st.session_state.get("asked") != named:
        st.session_state["asked"] = named
        st.session_state["chosen"] = default
    st.session_state["chosen"] = [id_ for id_ in st.session_state.get("chosen", default) if id_ in by_id]
    offered |= {id_: _named(by_id[id_]) for id_ in st.session_state["chosen"]}
    edit_dialog.draw_deleted(gone)
    with st.container(horizontal=True, vertical_alignment="center", gap="small", key="title-bar"):
        st.html(page_heading(_name([by_id[id_].name for id_ in st.session_state["chosen"]])), width="stretch")
        with st.popover("Comparisons", icon=":material/list:"):
            if len(names) >= OFFERED or st.session_state.get("search"):
                st.text_input(
                    "Search by name", key="search", placeholder=f"The newest {OFFERED} are listed below; others by name"
                )
            chosen: list[str] = st.multiselect(
                "Comparisons",
                list(offered),
                key="chosen",
                format_func=unique_labels(offered, lambda id_: _title(offered[id_])),
                placeholder="Choose comparisons" if offered else "No comparison has this name or these tags",
            )
            draw_filters(tags, asked)
            picked = [by_id[id_] for id_ in chosen]
            over = draw_average_over(picked, asked) if picked else asked.over
        changes = may_launch()
        if changes and st.button(
            "Edit", icon=":material/edit_note:", disabled=not chosen, help="Name, note, tags, archive, delete"
        ):
            edit_dialog.edit(picked, tags)
        if changes and st.button("New", type="primary", icon=":material/add:", help="Launch a new comparison"):
            st.switch_page(st.session_state["pages"]["launch"])
    if chosen != named:
        st.query_params["experiments"] = ",".join(chosen)
        st.session_state["asked"] = chosen
    return picked, over


def _name(names: Sequence[str]) -> str:
    """Name the chosen comparisons: "One", "One and 2 more"."""
    first = names[0] if names else "Compare"
    return f"{first} and {len(names) - 1} more" if len(names) > 1 else first


def _find(experiment_id: str) -> Experiment | None:
    """Return an experiment that the list does not show; None if it does not exist."""
    try:
        return client().experiment(experiment_id)
    except BlockHFError:
        return None


def _named(one: Experiment) -> ExperimentName:
    return ExperimentName(id=one.id, name=one.name, created_at=one.created_at, tags=one.tags)


def _title(experiment: ExperimentName) -> str:
    when = experiment.created_at.astimezone().strftime("%d %b %H:%M")
    return f"{experiment.name} · {when}"


def _warn(found: Sequence[groups.Group]) -> None:
    """Warn if the chosen runs are not directly comparable."""
    reasons = differences.comparability_warnings(found)
    if reasons:
        st.html(f"<p class='bhf-caution'>Not directly comparable: {html.escape('; '.join(reasons))}.</p>")


@st.fragment
def _sweep(found: Sequence[groups.Group]) -> None:
    """Draw the outcome by the swept settings, if there are any."""
    fresh = _fresh(found)
    settings = differences.swept(differences.outcomes(fresh, "best_train_loss"))
    if not settings:
        return
    st.subheader("Effect of each setting")
    measures = differences.MEASURES
    asked = read_details(st.query_params.to_dict(), outcomes=list(measures), settings=settings)
    with st.container(horizontal=True, vertical_alignment="bottom"):
        measure = _picked("outcome", "Metric", list(measures), asked.outcome, measures.__getitem__)
        setting = _picked("setting", "Setting", settings, asked.setting, str)
        st.button("Refresh", key="refresh-sweep", help="These charts do not update automatically")
    write_details(outcome=measure, setting=setting if setting != settings[0] else "")
    rows = differences.outcomes(fresh, measure)
    for text in best_setting.answers(fresh, measure):
        st.write(escape(text))
    st.plotly_chart(sweep_charts.slice_plot(rows, setting, measures[measure], mode=mode()), key="slice")
    if len(settings) > 1:
        better = differences.higher_is_better(measure)
        drawn = sweep_charts.parallel_coordinates(rows, settings, measures[measure], mode=mode(), higher=better)
        alt = f"Settings and {measures[measure]} of each run, one line per run"
        draw_figure(json.loads(drawn.to_json()), key="parallel", alt=alt, brush=True)
        st.caption("Drag over one or more axes to show only the runs in these ranges.")


def _picked(name: str, label: str, options: Sequence[str], now: str, written: Callable[[str], str]) -> str:
    place = options.index(now) if now in options else 0
    picked: str = st.selectbox(
        label, options, index=place, format_func=unique_labels(options, written), key=name, width=240
    )
    return picked


def _fresh(found: Sequence[groups.Group]) -> list[groups.Group]:
    """Read the runs of the groups again, because a fragment keeps its first arguments."""
    ids = list(dict.fromkeys(run.experiment_id for group in found for run in group.runs))
    read = ask(swept=lambda backend: [backend.experiment(id_) for id_ in ids])["swept"]
    return groups.group_runs(read) if read else list(found)


@st.fragment
def _differences(found: Sequence[groups.Group]) -> None:
    """Show the settings that differ between configurations, or all settings with the differences marked."""
    st.subheader("What differs")
    asked = read_details(st.query_params.to_dict(), outcomes=(), settings=())
    show_all = st.toggle("Also show identical settings", value=bool(asked.alike), key="alike")
    write_details(alike="1" if show_all else "")
    rows = differences.all_settings(found) if show_all else differences.differences(found)
    if not rows:
        st.caption("All runs have the same settings.")
        return
    lines = [[row.setting, *row.values] for row in rows]
    marked = [i for i, row in enumerate(rows) if show_all and row.differs]
    st.html(table(["Setting", *(group.label for group in found)], lines, label="What differs", marked=marked))


@st.fragment
def _live(groups: list[dict[str, Any]], title: str, kept: dict[str, str], accuracy: bool, loss_unit: str) -> None:
    view = read_view(st.query_params.to_dict(), accuracy=accuracy)
    asked = live(
        groups,
        title=title,
        experiments=kept["experiments"].split(","),
        view=view,
        accuracy=accuracy,
        loss_unit=loss_unit,
        key="live",
    )
    st.query_params.from_dict(kept | details_query(st.query_params.to_dict()) | asked.view.query(accuracy=accuracy))
    if asked.verb in ACTIONS:
        perform(asked.verb, asked.runs)
