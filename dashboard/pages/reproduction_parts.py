"""Experiments that ship with BlockHF: how they stand, how long they take, and the button that launches them."""

import math
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any
from uuid import uuid4

import streamlit as st

from backend.client import Client
from backend.errors import BlockHFError
from backend.schemas.base import MAX_RUNS_PER_EXPERIMENT
from backend.schemas.experiments import Budget, ExperimentSpec
from backend.schemas.paper import Own, PlotlyFigure, Reproduction
from backend.schemas.runs import Experiment, Run
from dashboard.launch.estimate import estimate
from dashboard.ui.auto_refresh import Read, fresh
from dashboard.ui.backend import ask, client, finished
from dashboard.ui.live_curves import register
from dashboard.ui.text import counted, duration, escape

GROWING = ("id", "status", "summary")  # of a run: where one of these changes, its figure does


def ended_text(ended: int, total: int) -> str:
    """Say how many of an experiment's runs have ended: 24 runs, 8 ended."""
    return f"{counted(total, 'run')}, {'all' if ended == total else ended} ended"


def own(experiment: Experiment) -> Own:
    """Sum up an experiment as those that ship are."""
    return Own(
        experiment=experiment.id, name=experiment.name, created_at=experiment.created_at, total=len(experiment.runs),
        ended=sum(run.final for run in experiment.runs),
    )  # fmt: skip


def seconds(spec: ExperimentSpec, parameters: int, train_size: int, earlier: Sequence[Run]) -> float | None:
    """Estimate the training seconds of all runs, one after another; a budget in epochs counts as so many updates.

    None where there is no earlier run to judge one of the optimizers by.
    """
    total = 0.0
    for optimizer in spec.optimizers:
        own = spec.model_copy(update={"optimizers": [optimizer]})
        if spec.budget.updates is None and spec.budget.epochs is not None:
            updates = math.ceil(spec.budget.epochs * train_size / optimizer.gradient_batch)
            own = own.model_copy(update={"budget": Budget(updates=updates, seconds=spec.budget.seconds)})
        part = estimate(own, parameters, earlier)
        if part is None:
            return None
        total += part
    return total


def how_long(spec: ExperimentSpec) -> str:
    """Say how long the runs would take by earlier runs like them; empty where that is not known."""
    known = _size(spec.model_dump_json())
    if known is None:
        return ""
    about = seconds(spec, *known, finished())
    return "" if about is None else f"about {duration(about)} of training on one worker, by earlier runs"


@st.cache_data(ttl=60, show_spinner=False)
def _size(spec_json: str) -> tuple[int, int] | None:
    """Return how many parameters and training images an experiment has; None where no worker can train it."""
    spec = ExperimentSpec.model_validate_json(spec_json)
    try:
        catalog = client().catalog().catalog
        images = {data.name: data.train_size for data in catalog.data} if catalog else {}
        return client().check(spec).total, spec.problem.train_size or images[spec.problem.data]
    except (BlockHFError, KeyError):
        return None


def launch(one: Reproduction) -> Experiment | None:
    """Queue an experiment's runs and return it; where that is refused, say why. A second press queues nothing more."""
    tokens: dict[str, str] = st.session_state.setdefault("reproductions", {})
    try:
        made = client().launch(one.spec, idempotency_key=tokens.setdefault(one.spec.name, uuid4().hex))
    except BlockHFError as error:
        st.error(f"Nothing was queued: {escape(str(error))}")
        return None
    del tokens[one.spec.name]
    st.toast(f"{counted(len(made.runs), 'run')} queued")
    return made


def follow(key: str, experiments: Sequence[str], *, every: float) -> None:
    """Have the fragment that calls this run again when a run of these experiments goes on or ends."""
    seen = ask(**{id_: partial(Client.runs, experiment=id_, limit=MAX_RUNS_PER_EXPERIMENT) for id_ in experiments})
    path = f"/api/v1/runs?limit={MAX_RUNS_PER_EXPERIMENT}&experiment="
    reads = [Read(f"{path}{id_}", "runs", GROWING, runs) for id_, runs in seen.items() if runs is not None]
    fresh(key, reads, every=every)


def curves(experiment: str, *, key: str) -> None:
    """Offer the runs behind a figure, as they train."""
    if st.button("Its curves", icon=":material/monitoring:", help="The comparison, as it trains", key=key):
        st.switch_page(st.session_state["pages"]["compare"], query_params={"experiments": experiment})


def draw(figure: PlotlyFigure, *, key: str, alt: str) -> None:
    """Draw a figure as the backend made it; `alt` says in words what it shows. Without curves, say so.

    Streamlit's own chart is another element each time its values change: the page would hold the old and the new one
    for a moment, and forget what is zoomed.
    """
    if not figure.data:
        st.info("No run has been evaluated yet; the curves appear by themselves.")
        return
    _figure()(key=key, data={"figure": figure.model_dump(mode="json"), "alt": alt})


@st.cache_resource(show_spinner=False)
def _figure() -> Callable[..., Any]:
    return register("blockhf_figure", "plot/figure.js")
