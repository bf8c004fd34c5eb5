"""Which comparisons and details the compare page shows; all of it is stored in the URL."""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import streamlit as st

from backend.schemas.api import ExperimentName
from backend.schemas.runs import Experiment
from dashboard.compare import groups
from dashboard.ui.setting_text import setting_name
from dashboard.ui.text import unique_labels

Tagged = TypeVar("Tagged", Experiment, ExperimentName)

INITIAL_MAX = 8  # comparisons of a tag that are shown if the URL names none
_SLUG = r"[a-z0-9][a-z0-9_.-]{0,63}"
_PATH = r"[a-z0-9_.]{1,120}"


@dataclass(frozen=True)
class Filters:
    """Which comparisons are listed, and in which settings the runs of one line may differ."""

    tags: tuple[str, ...] = ()
    archived: bool = False
    over: tuple[str, ...] = groups.DEFAULT_OVER

    def query(self) -> dict[str, str]:
        """Return what differs from the default, as parts of a URL."""
        parts = {"tag": ",".join(self.tags)} if self.tags else {}
        parts |= {"archived": "1"} if self.archived else {}
        return parts | ({"over": ",".join(self.over) or "none"} if self.over != groups.DEFAULT_OVER else {})


def read_filters(query: Mapping[str, str]) -> Filters:
    """Read filters from the parts of a URL; invalid parts are ignored."""
    over = tuple(_matching(_PATH, query["over"])) if "over" in query else groups.DEFAULT_OVER
    return Filters(
        tags=tuple(_matching(_SLUG, query.get("tag", "")))[:20],
        archived=query.get("archived") == "1",
        over=tuple(path for path in over if path != "none"),
    )


def _matching(form: str, text: str) -> Iterable[str]:
    return dict.fromkeys(part for part in text.split(",") if re.fullmatch(form, part))


def current_filters() -> Filters:
    """Return the user's filters: from the URL if it has changed, else from the widgets."""
    asked = read_filters(st.query_params.to_dict())
    if st.session_state.get("filters") != asked:
        st.session_state["filters"] = asked
        for name, value in _values(asked).items():
            st.session_state[name] = value
    held = {name: st.session_state.get(name, value) for name, value in _values(asked).items()}
    return Filters(tuple(held["tag"]), bool(held["archived"]), tuple(held["over"]))


def _values(chosen: Filters) -> dict[str, Any]:
    return {"tag": list(chosen.tags), "archived": chosen.archived, "over": list(chosen.over)}


def write_filters(chosen: Filters) -> None:
    """Write the filters into the URL and keep its other parts."""
    if st.session_state.get("filters") != chosen:
        st.session_state["filters"] = chosen
        rest = {name: value for name, value in st.query_params.to_dict().items() if name not in _values(chosen)}
        st.query_params.from_dict(rest | chosen.query())


def with_tags(experiments: Sequence[Tagged], tags: Sequence[str]) -> list[Tagged]:
    """Return the comparisons with all of the tags."""
    return [experiment for experiment in experiments if set(tags) <= set(experiment.tags)]


def draw_filters(known: Sequence[str], chosen: Filters) -> None:
    """Draw the filters of the listed comparisons: tags, if there are any, and the archive."""
    options = sorted({*known, *chosen.tags})
    if options:
        st.multiselect(
            "Tags",
            options,
            key="tag",
            placeholder="Any",
            width=230,
            help="Only comparisons with all of these",
        )
    st.toggle("Archived", key="archived", help="Lists archived comparisons, too", width="content")


def draw_average_over(experiments: Sequence[Experiment], chosen: Filters) -> tuple[str, ...]:
    """Draw the choice of settings to average over, if there is one; return the chosen settings."""
    options = groups.average_choices(experiments)
    held = [path for path in chosen.over if path in options]
    if len(options) == 1 and tuple(held) == groups.DEFAULT_OVER:
        return groups.DEFAULT_OVER
    if held != st.session_state.get("over", held):
        st.session_state["over"] = held
    over: list[str] = st.multiselect(
        "Average over",
        options,
        default=None if "over" in st.session_state else held,
        key="over",
        format_func=unique_labels(options, setting_name),
        placeholder="One line per run",
        width=320,
        help="Runs that differ only in these settings share a line, a band and a table row",
    )
    return tuple(over)


@dataclass(frozen=True)
class DetailView:
    """The details below the curves: metric and setting of a sweep (empty: the first setting), identical settings."""

    outcome: str = "best_train_loss"
    setting: str = ""
    alike: str = ""

    def query(self) -> dict[str, str]:
        """Return what differs from the default, as parts of a URL."""
        return {name: value for name, value in vars(self).items() if value != getattr(DetailView(), name)}


def read_details(query: Mapping[str, str], *, outcomes: Sequence[str], settings: Sequence[str]) -> DetailView:
    """Read the details from the parts of a URL; unknown values keep their default."""
    known: dict[str, Sequence[str]] = {"outcome": outcomes, "setting": settings, "alike": ["1"]}
    return DetailView(**{name: query[name] for name, values in known.items() if query.get(name) in values})


def details_query(query: Mapping[str, str]) -> dict[str, str]:
    """Return the parts of a URL that choose details."""
    return {name: query[name] for name in vars(DetailView()) if name in query}


def write_details(**chosen: str) -> None:
    """Write some of the details into the URL and keep its other parts."""
    held = st.query_params.to_dict()
    details = DetailView(**(vars(DetailView()) | details_query(held) | chosen)).query()
    if details_query(held) != details:
        rest = {name: value for name, value in held.items() if name not in vars(DetailView())}
        st.query_params.from_dict(rest | details)
