"""The draft of a comparison: where the form starts from, and its optimizers."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any
from uuid import uuid4

import streamlit as st

from backend.schemas.catalog import Catalog
from backend.schemas.experiments import Budget, ExperimentSpec, RunConfig
from backend.schemas.optimizer_registry import OPTIMIZERS
from backend.schemas.optimizers import OptimizerSettings
from backend.schemas.runs import Run
from dashboard.launch.sweep import collapse

_KEY = "draft"


@dataclass
class Entry:
    """One column of the form, an optimizer; `values` are the initial values of each setting, several for a sweep."""

    id: str
    kind: str
    values: dict[str, list[Any]] = field(default_factory=dict)


@dataclass
class Draft:
    """The initial values of the form. A new generation gets new widgets, so that they show the new values.

    `beside` is the comparison to show next to the launched one: that of the cloned run.
    """

    spec: ExperimentSpec
    generation: int = 0
    source: str = ""
    beside: str = ""
    token: str = field(default_factory=lambda: uuid4().hex)
    entries: list[Entry] = field(default_factory=list)
    added: int = 0

    def __post_init__(self) -> None:
        for kind, values in collapse(self.spec.optimizers):
            self.add(kind, values)

    def add(self, kind: str, values: dict[str, list[Any]] | None = None) -> None:
        """Add an optimizer to the form, with the schema's defaults unless `values` are given."""
        self.entries.append(Entry(f"{kind}{self.added}", kind, values or {}))
        self.added += 1

    def remove(self, entry: Entry) -> None:
        """Remove an optimizer from the form."""
        self.entries.remove(entry)

    def title(self, entry: Entry) -> str:
        """Return an optimizer's name in the form, with a number if there are several of its kind."""
        same = [other.id for other in self.entries if other.kind == entry.kind]
        title = OPTIMIZERS[entry.kind].title
        return title if len(same) == 1 else f"{title} {same.index(entry.id) + 1}"


def draft(
    catalog: Catalog, cloned: str = "", find: Callable[[], tuple[ExperimentSpec, str] | None] | None = None
) -> Draft:
    """Return this visitor's draft; initially the first problem's preset, or a clone of the run in the URL.

    `find` returns the clone and the comparison to show next to it.
    """
    before: Draft | None = st.session_state.get(_KEY)
    if cloned and find and (before is None or before.source != cloned):
        found = find()
        if found:
            start_draft(found[0], source=cloned, beside=found[1])
    if _KEY not in st.session_state:
        start_draft(catalog.problems[0].preset)
    held: Draft = st.session_state[_KEY]
    return held


def start_draft(spec: ExperimentSpec, *, source: str = "", beside: str = "") -> None:
    """Fill the form from a specification; `source` names the run or preset it comes from."""
    held: Draft | None = st.session_state.get(_KEY)
    st.session_state[_KEY] = Draft(spec, held.generation + 1 if held else 0, source=source, beside=beside)


def clone(run: Run, kind: str = "") -> ExperimentSpec:
    """Return a specification of one run, with another optimizer if a `kind` is given."""
    shared = {name: getattr(run.config, name) for name in RunConfig.model_fields if name not in {"optimizer", "seed"}}
    optimizer = convert(run.config.optimizer, kind) if kind else run.config.optimizer
    name = f"{run.experiment_name[:100]}, {f'with {OPTIMIZERS[kind].title}' if kind else 'again'}"
    return ExperimentSpec(**shared, name=name, optimizers=[optimizer], seeds=[run.config.seed])


def convert(optimizer: OptimizerSettings, kind: str) -> OptimizerSettings:
    """Return an optimizer of another kind with the settings that mean the same for both; others get their defaults.

    Only optimizers with curvature share more than the gradient batch: the learning rate of a Newton step is not that of
    a gradient step, and names such as momentum mean different things.
    """
    model = OPTIMIZERS[kind]
    both = model.has_curvature and optimizer.has_curvature
    names = set(model.model_fields) - {"kind"} if both else {"gradient_batch"}
    held = {name: value for name, value in optimizer.model_dump().items() if name in names}
    batch = model.model_fields.get("curvature_batch")
    if batch and "curvature_batch" not in held and batch.default >= optimizer.gradient_batch:
        held["curvature_batch"] = max(1, optimizer.gradient_batch // 4)
    return model.model_validate(held)


def problem_presets(catalog: Catalog) -> dict[str, ExperimentSpec]:
    """Return the built-in starting points by name: each problem's paper settings, a short version, and a first test."""
    found: dict[str, ExperimentSpec] = {}
    for info in catalog.problems:
        short = info.preset.budget.model_copy(update={"updates": 15, "epochs": None, "seconds": None})
        quick = info.preset.model_copy(update={"name": f"{info.title}, a quick look", "budget": short})
        found |= {spec.name: spec for spec in (info.preset, quick, will_it_help(info.preset, info.title))}
    return found


def will_it_help(preset: ExperimentSpec, title: str) -> ExperimentSpec:
    """Return the test of the main optimizers on a network: three seeds, two minutes of training in all."""
    given = {optimizer.kind: optimizer for optimizer in preset.optimizers}
    kinds = [kind for kind, model in OPTIMIZERS.items() if model.featured]
    optimizers = [given.get(kind) or convert(preset.optimizers[0], kind) for kind in kinds]
    budget = Budget(updates=None, seconds=round(120 / (3 * len(kinds)), 1))
    changes = {"name": f"{title}: will BHF help?", "optimizers": optimizers, "seeds": [0, 1, 2], "budget": budget}
    return preset.model_copy(update=changes)


def seeds_of(text: str) -> list[Any]:
    """Read "0, 1, 5-7" as seeds; other text stays text, which the schema refuses."""
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
