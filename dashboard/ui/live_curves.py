"""The live curves in the browser: registers the component, sends it data and receives what the user did."""

import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import streamlit as st

from backend.schemas.measures import BLOCK_MEASURES, COMPARED, UPDATE_MEASURES, Level, Measure
from backend.schemas.optimizer_registry import OPTIMIZERS
from dashboard.ui.backend import may_launch
from dashboard.ui.theme import OTHER_COLOURS

# The scripts come from the dashboard's own route, so the browser fetches them once and not with every rerun. They may
# arrive after the first calls; then the newest data are shown.
_LOADER = """
const loading = import(new URL("/assets/%s", window.location.origin).href);
const waiting = new WeakMap();
export default function (component) {
  const host = component.parentElement;
  const first = !waiting.has(host);
  const state = waiting.get(host) ?? { gone: false };
  waiting.set(host, state);
  state.component = component;
  if (state.module) state.stop = state.module.default(component);
  else if (first) loading.then((module) => {
    if (state.gone) return;
    state.module = module;
    state.stop = module.default(state.component);
  });
  state.leave ??= () => {
    state.gone = true;
    waiting.delete(host);
    state.stop?.();
  };
  return state.leave;
}
"""

MEASURES = [measure for measure in (*UPDATE_MEASURES.values(), *BLOCK_MEASURES.values()) if measure.drawn]
X_AXES = tuple(measure.name for measure in MEASURES if measure.level is Level.AXIS)
TARGETS = tuple(COMPARED)
COMPOSITES = ("decreases", "time")
"""panels that draw several measures at once; `static/store/measures.js` describes them"""


def panel_name(measure: Measure) -> str:
    """Return the name of a measure's panel: a block's measure may have the name of an update's."""
    own = UPDATE_MEASURES.get(measure.name)
    return f"block_{measure.name}" if measure.level is Level.BLOCK and own in MEASURES[len(X_AXES) :] else measure.name


PANELS = (
    *TARGETS,
    *(panel_name(m) for m in MEASURES if m.level is not Level.AXIS and m.name not in TARGETS),
    *COMPOSITES,
)


def measure_records() -> list[dict[str, Any]]:
    """Return the measures that can be drawn, as the browser's script reads them."""
    return [vars(measure) | {"panel": panel_name(measure)} for measure in MEASURES]


def optimizer_records() -> dict[str, Any]:
    """Return names, colours and first dashes of the optimizers by kind, and the kinds that report blocks."""
    return {
        "names": {kind: optimizer.title for kind, optimizer in OPTIMIZERS.items()},
        "solvers": [kind for kind, optimizer in OPTIMIZERS.items() if optimizer.has_curvature],
        "colours": {
            mode: {kind: getattr(optimizer.colour, mode) for kind, optimizer in OPTIMIZERS.items()}
            for mode in ("light", "dark")
        },
        "dashes": {kind: place for place, kind in enumerate(sorted(OPTIMIZERS, key=_line_order))},
    }


def _line_order(kind: str) -> tuple[bool, bool]:
    """Sort optimizers so that the ones with blocks have the most visible lines, and first-order ones the least."""
    optimizer = OPTIMIZERS[kind]
    return not optimizer.has_blocks, not optimizer.has_curvature


@dataclass(frozen=True)
class LiveView:
    """What the user chose to see; stored in the page's URL."""

    view: str = ""
    x: str = "update"
    panels: tuple[str, ...] = ("train_loss", "test_loss")
    logX: bool = False  # noqa: N815 # read by the browser's script
    logY: bool = True  # noqa: N815 # read by the browser's script
    layout: str = "grid"
    seeds: str = "both"
    centre: str = "median"
    band: str = "range"
    full: bool = False
    smooth: float = 0
    refresh: float = 1
    hidden: tuple[str, ...] = ()
    zoom: str = ""
    target: str = ""
    targetOf: str = "train_loss"  # noqa: N815 # read by the browser's script
    targetSort: str = ""  # noqa: N815 # read by the browser's script
    baseline: str = ""
    at: str = ""
    atOf: str = "train_loss"  # noqa: N815 # read by the browser's script
    atSort: str = ""  # noqa: N815 # read by the browser's script
    sort: str = ""
    filter: str = ""
    status: str = ""
    optimizer: str = ""
    problem: str = ""

    def query(self, *, accuracy: bool) -> dict[str, str]:
        """Return what differs from the default, which depends on whether there is an accuracy, as parts of a URL."""
        default = vars(read_view({}, accuracy=accuracy))
        return {name: _text(value) for name, value in vars(self).items() if value != default[name]}


_CHOICES: dict[str, tuple[Any, ...]] = {
    "view": ("", "present"),
    "x": X_AXES,
    "layout": ("grid", "stack"),
    "seeds": ("both", "band", "each"),
    "centre": ("mean", "median"),
    "band": ("range", "deviation", "confidence"),
    "smooth": (0, 0.6, 0.9, 0.97),
    "refresh": (0, 0.5, 1, 5),
    "targetOf": TARGETS,
    "atOf": TARGETS,
    "logX": (True, False),
    "logY": (True, False),
    "full": (False, True),
    "status": ("", "running", "open", "ended", "queued", "paused", "finished", "failed"),
    "optimizer": ("", *OPTIMIZERS),
}

_FORMS = {
    "zoom": r"[a-z_]+:[-+.0-9e]+:[-+.0-9e]+(,[a-z_]+:[-+.0-9e]+:[-+.0-9e]+){0,7}",
    "target": r"[-+.0-9e]{1,24}",
    "baseline": r"[a-z0-9-]{1,40}",
    "at": r"[1-9][0-9]{0,6}(,[1-9][0-9]{0,6}){0,7}",
    "filter": r"[^\x00-\x1f]{1,80}",
    "problem": r"[a-z0-9][a-z0-9_.-]{0,63}",
    "sort": r"-?[a-z_]{1,24}",
    "targetSort": r"-?[a-z_]{1,24}",
    "atSort": r"-?[1-9][0-9]{0,6}",
}


def read_view(query: dict[str, str], *, accuracy: bool) -> LiveView:
    """Read a view from the parts of a URL; invalid parts keep their default."""
    known: dict[str, Any] = {"panels": ("train_loss", "test_loss", *(["test_accuracy"] if accuracy else []))}
    for name, choices in _CHOICES.items():
        found = [choice for choice in choices if _text(choice) == query.get(name)]
        known |= {name: found[0]} if found else {}
    panels = tuple(name for name in PANELS if name in query.get("panels", "").split(","))
    known |= {"panels": panels} if panels else {}
    known |= {name: query[name] for name, form in _FORMS.items() if re.fullmatch(form, query.get(name, ""))}
    known["hidden"] = tuple(key for key in query.get("hidden", "").split(",") if key)[:200]
    return LiveView(**known)


def _text(value: Any) -> str:
    if isinstance(value, bool):
        return str(int(value))
    return ",".join(value) if isinstance(value, tuple) else f"{value:g}" if isinstance(value, float | int) else value


def register(name: str, module: str) -> Callable[..., Any]:
    """Register a component whose script is a module under /assets."""
    renderer: Callable[..., Any] = st.components.v2.component(name, js=_LOADER % module, isolate_styles=False)
    return renderer


@st.cache_resource(show_spinner=False)
def _component() -> Callable[..., Any]:
    return register("blockhf_live", "live.js")


@st.cache_resource(show_spinner=False)
def _banner() -> Callable[..., Any]:
    return register("blockhf_watch", "panels/backend_banner.js")


def backend_banner() -> None:
    """Show a banner while the backend is unreachable, and run the page again once it is back."""
    _banner()(key="watch", on_back_change=lambda: None)


@dataclass(frozen=True)
class LiveRequest:
    """What the user did in the component since the last run of the script: the view, and an action on runs."""

    view: LiveView
    verb: str
    runs: tuple[str, ...]


def live(
    groups: list[dict[str, Any]],
    *,
    title: str,
    experiments: list[str],
    view: LiveView,
    accuracy: bool,
    loss_unit: str,
    key: str,
    comparing: bool = True,
) -> LiveRequest:
    """Show live curves and the table of the groups' runs; when comparing, also the cost of reaching a target.

    `title` is the name of what is shown, for the browser's tab and for exports.
    """
    data = {
        "groups": groups,
        "title": title,
        "experiments": experiments,
        "view": vars(view),
        "accuracy": accuracy,
        "lossUnit": loss_unit,
        "comparing": comparing,
        "readOnly": not may_launch(),
        "measures": measure_records(),
        **optimizer_records(),
        "others": OTHER_COLOURS,
    }
    result = _component()(
        key=key,
        data=json.loads(json.dumps(data)),
        default={"view": None},
        on_view_change=lambda: None,
        on_asked_change=lambda: None,
    )
    chosen = result.view
    verb, _, ids = (result.asked or "").partition(":")
    return LiveRequest(_chosen(chosen) if chosen else view, verb, tuple(filter(None, ids.split(","))))


def _chosen(view: Any) -> LiveView:
    query = {name: _text(tuple(value) if isinstance(value, list) else value) for name, value in view.items()}
    return read_view(query, accuracy=False)
