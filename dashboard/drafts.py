"""What a visitor is about to launch: where the form starts from, and which optimizers stand in it."""

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any
from uuid import uuid4

import streamlit as st

from backend.schemas import Catalog, ExperimentSpec, Run, RunConfig

_KEY = "draft"


@dataclass
class Entry:
    """One optimizer of the form; `values` are where its widgets start."""

    id: str
    kind: str
    values: dict[str, Any] = field(default_factory=dict)


@dataclass
class Draft:
    """The form's start. A new generation has new widgets, so that they take the new values."""

    spec: ExperimentSpec
    generation: int = 0
    source: str = ""
    token: str = field(default_factory=lambda: uuid4().hex)
    entries: list[Entry] = field(default_factory=list)
    added: int = 0

    def __post_init__(self) -> None:
        for optimizer in self.spec.optimizers:
            self.add(optimizer.kind, optimizer.model_dump(mode="json"))

    def add(self, kind: str, values: dict[str, Any] | None = None) -> None:
        """Put one more optimizer into the form, at the contract's defaults unless `values` are given."""
        self.entries.append(Entry(f"{kind}{self.added}", kind, values or {}))
        self.added += 1

    def remove(self, entry: Entry) -> None:
        """Take an optimizer out of the form."""
        self.entries.remove(entry)


def draft(catalog: Catalog, cloned: str = "", find: Callable[[str], ExperimentSpec | None] | None = None) -> Draft:
    """Return this visitor's draft; at first, the first problem's preset, or a clone of what the URL names."""
    before: Draft | None = st.session_state.get(_KEY)
    if cloned and find and (before is None or before.source != cloned):
        spec = find(cloned)
        if spec:
            start(spec, source=cloned)
    if _KEY not in st.session_state:
        start(catalog.problems[0].preset)
    held: Draft = st.session_state[_KEY]
    return held


def start(spec: ExperimentSpec, *, source: str = "") -> None:
    """Begin the form anew from a specification; `source` names the run or preset that it is of."""
    held: Draft | None = st.session_state.get(_KEY)
    st.session_state[_KEY] = Draft(spec, held.generation + 1 if held else 0, source=source)


def clone(run: Run) -> ExperimentSpec:
    """Return a specification of one run alone."""
    shared = {name: getattr(run.config, name) for name in RunConfig.model_fields if name not in {"optimizer", "seed"}}
    return ExperimentSpec(
        **shared, name=f"{run.experiment_name[:110]}, again", optimizers=[run.config.optimizer], seeds=[run.config.seed]
    )


def presets(catalog: Catalog) -> dict[str, ExperimentSpec]:
    """Return what a form may start from, by name: each problem's paper settings, and a quick look at each."""
    found: dict[str, ExperimentSpec] = {}
    for info in catalog.problems:
        short = info.preset.budget.model_copy(update={"updates": 15, "epochs": None, "seconds": None})
        found[info.preset.name] = info.preset
        found[f"{info.title}, a quick look"] = info.preset.model_copy(
            update={"name": f"{info.title}, a quick look", "budget": short}
        )
    return found


def values_of(text: str) -> list[float]:
    """Read "0.01, 0.1 1" as numbers, each once, in their order; what is no number is left out."""
    found = []
    for part in text.replace(",", " ").split():
        try:
            found.append(float(part))
        except ValueError:
            continue
    return list(dict.fromkeys(value for value in found if math.isfinite(value)))


def seeds_of(text: str) -> list[Any]:
    """Read "0, 1, 5-7" as seeds; what is no number stays text, for the contract to refuse."""
    found: list[Any] = []
    for part in text.replace(",", " ").split():
        low, dash, high = part.partition("-")
        if part.isdecimal():
            found.append(int(part))
        elif dash and low.isdecimal() and high.isdecimal() and 0 <= int(high) - int(low) < 1000:
            found.extend(range(int(low), int(high) + 1))
        else:
            found.append(part)
    return found
