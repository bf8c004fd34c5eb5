"""What the compare page shows of which comparisons, beside the view of the curves; all of it stands in the URL."""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import streamlit as st

from backend.schemas.runs import Experiment
from dashboard.compare import groups
from dashboard.ui.setting_text import setting_name

MOST_AT_FIRST = 8  # comparisons of a tag that are shown where the URL names none
_SLUG = r"[a-z0-9][a-z0-9_.-]{0,63}"
_PATH = r"[a-z0-9_.]{1,120}"


@dataclass(frozen=True)
class Filters:
    """Which comparisons are offered, and what the runs of one line may differ in."""

    tags: tuple[str, ...] = ()
    archived: bool = False
    over: tuple[str, ...] = groups.OVER

    def query(self) -> dict[str, str]:
        """Return what differs from the default, as parts of a URL."""
        parts = {"tag": ",".join(self.tags)} if self.tags else {}
        parts |= {"archived": "1"} if self.archived else {}
        return parts | ({"over": ",".join(self.over) or "none"} if self.over != groups.OVER else {})


def read_filters(query: Mapping[str, str]) -> Filters:
    """Read filters from the parts of a URL; what makes no sense is left out."""
    over = tuple(_matching(_PATH, query["over"])) if "over" in query else groups.OVER
    return Filters(
        tags=tuple(_matching(_SLUG, query.get("tag", "")))[:20],
        archived=query.get("archived") == "1",
        over=tuple(path for path in over if path != "none"),
    )


def _matching(form: str, text: str) -> Iterable[str]:
    return dict.fromkeys(part for part in text.split(",") if re.fullmatch(form, part))


def filters() -> Filters:
    """Return what the user has chosen: in the widgets just now, else in the URL, which has the last word."""
    asked = read_filters(st.query_params.to_dict())
    if st.session_state.get("filters") != asked:
        st.session_state["filters"] = asked
        for name, value in _values(asked).items():
            st.session_state[name] = value
    held = {name: st.session_state.get(name, value) for name, value in _values(asked).items()}
    return Filters(tuple(held["tag"]), bool(held["archived"]), tuple(held["over"]))


def _values(chosen: Filters) -> dict[str, Any]:
    return {"tag": list(chosen.tags), "archived": chosen.archived, "over": list(chosen.over)}


def keep(chosen: Filters) -> None:
    """Write the filters into the URL, beside what else stands there."""
    if st.session_state.get("filters") != chosen:
        st.session_state["filters"] = chosen
        rest = {name: value for name, value in st.query_params.to_dict().items() if name not in _values(chosen)}
        st.query_params.from_dict(rest | chosen.query())


def having(experiments: Sequence[Experiment], tags: Sequence[str]) -> list[Experiment]:
    """Return the comparisons that have all of the tags."""
    return [experiment for experiment in experiments if set(tags) <= set(experiment.tags)]


def draw_filters(known: Sequence[str], chosen: Filters) -> None:
    """Draw what narrows the offered comparisons down: tags, where there are any, and whether archived ones count."""
    options = sorted({*known, *chosen.tags})
    if options:
        st.multiselect("Tags", options, key="tag", placeholder="Any", width=230, help="Only comparisons with all these")
    st.toggle("Archived", key="archived", help="Offer archived comparisons too", width="content")


def draw_over(experiments: Sequence[Experiment], chosen: Filters) -> tuple[str, ...]:
    """Draw the choice of what to average over, where there is one; return those settings that the runs differ in."""
    options = groups.poolable(experiments)
    held = [path for path in chosen.over if path in options]
    if len(options) == 1 and tuple(held) == groups.OVER:
        return groups.OVER
    if held != st.session_state.get("over", held):
        st.session_state["over"] = held
    over: list[str] = st.multiselect(
        "Average over",
        options,
        default=None if "over" in st.session_state else held,
        key="over",
        format_func=setting_name,
        placeholder="Each run has its own line",
        width=320,
        help="Runs that differ in nothing else share a line, a band and a row of the tables; usually the seed alone",
    )
    return tuple(over)


@dataclass(frozen=True)
class Below:
    """What stands below the curves: a sweep's outcome and over what (empty: the first setting), settings alike too."""

    outcome: str = "best_train_loss"
    setting: str = ""
    alike: str = ""

    def query(self) -> dict[str, str]:
        """Return what differs from the default, as parts of a URL."""
        return {name: value for name, value in vars(self).items() if value != getattr(Below(), name)}


def read_below(query: Mapping[str, str], *, outcomes: Sequence[str], settings: Sequence[str]) -> Below:
    """Read the choice from the parts of a URL; what there is not is left at its default."""
    known: dict[str, Sequence[str]] = {"outcome": outcomes, "setting": settings, "alike": ["1"]}
    return Below(**{name: query[name] for name, values in known.items() if query.get(name) in values})


def below_query(query: Mapping[str, str]) -> dict[str, str]:
    """Return those parts of a URL that are such a choice."""
    return {name: query[name] for name in vars(Below()) if name in query}


def keep_below(**chosen: str) -> None:
    """Write some of the choice into the URL, beside what else stands there."""
    held = st.query_params.to_dict()
    wanted = Below(**(vars(Below()) | below_query(held) | chosen)).query()
    if below_query(held) != wanted:
        rest = {name: value for name, value in held.items() if name not in vars(Below())}
        st.query_params.from_dict(rest | wanted)
