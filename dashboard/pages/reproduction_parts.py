"""Parts of the pages that re-run experiments: state, duration, launch, refresh and figures."""

import math
from collections.abc import Sequence
from functools import partial
from uuid import uuid4

import streamlit as st

from backend.client import Client
from backend.errors import BlockHFError
from backend.schemas.base import MAX_RUNS_PER_EXPERIMENT
from backend.schemas.experiments import Budget, ExperimentSpec
from backend.schemas.paper import OwnRun, PlotlyFigure, Reproduction
from backend.schemas.runs import Experiment, Run
from dashboard.launch.estimate import estimate
from dashboard.ui import figure as ui_figure
from dashboard.ui.auto_refresh import WatchedQuery, auto_refresh
from dashboard.ui.backend import ask, client, timed_runs
from dashboard.ui.text import counted, duration, escape

RUN_FIELDS = ("id", "status", "summary")  # a change in one of these changes the figure


def ended_text(ended: int, total: int) -> str:
    """Write how many of an experiment's runs have ended: 24 runs, 8 ended."""
    return f"{counted(total, 'run')}, {'all' if ended == total else ended} ended"


def own_results(experiment: Experiment) -> OwnRun:
    """Summarize an experiment of the user like the recorded ones."""
    return OwnRun(
        experiment=experiment.id, name=experiment.name, created_at=experiment.created_at, total=len(experiment.runs),
        ended=sum(run.final for run in experiment.runs),
    )  # fmt: skip


def seconds(spec: ExperimentSpec, parameters: int, train_size: int, earlier: Sequence[Run]) -> float | None:
    """Estimate the training seconds of all runs, one after another; a budget in epochs is converted to updates.

    Returns:
        The seconds; None if one of the optimizers has no similar earlier run.
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


def duration_text(spec: ExperimentSpec) -> str:
    """Write how long the runs would train, estimated from earlier runs; empty if unknown."""
    known = _size(spec.model_dump_json())
    if known is None:
        return ""
    about = seconds(spec, *known, timed_runs())
    return "" if about is None else f"about {duration(about)} of training on one worker"


@st.cache_data(ttl=60, show_spinner=False)
def _size(spec_json: str) -> tuple[int, int] | None:
    """Return an experiment's numbers of parameters and training images; None if no worker can train it."""
    spec = ExperimentSpec.model_validate_json(spec_json)
    try:
        catalog = client().catalog().catalog
        images = {data.name: data.train_size for data in catalog.data} if catalog else {}
        return client().check(spec).total, spec.problem.train_size or images[spec.problem.data]
    except (BlockHFError, KeyError):
        return None


def launch(one: Reproduction) -> Experiment | None:
    """Queue an experiment's runs and return it; show an error if it is refused. A repeated press queues nothing."""
    tokens: dict[str, str] = st.session_state.setdefault("reproductions", {})
    try:
        made = client().launch(one.spec, idempotency_key=tokens.setdefault(one.spec.name, uuid4().hex))
    except BlockHFError as error:
        st.error(f"Nothing was queued: {escape(str(error))}")
        return None
    del tokens[one.spec.name]
    st.toast(f"{counted(len(made.runs), 'run')} queued")
    return made


def refresh_while_training(key: str, experiments: Sequence[str], *, every: float) -> None:
    """Run the calling fragment again if a run of these experiments reports updates or ends."""
    seen = ask(**{id_: partial(Client.runs, experiment=id_, limit=MAX_RUNS_PER_EXPERIMENT) for id_ in experiments})
    path = f"/api/v1/runs?limit={MAX_RUNS_PER_EXPERIMENT}&experiment="
    reads = [WatchedQuery(f"{path}{id_}", "runs", RUN_FIELDS, runs) for id_, runs in seen.items() if runs is not None]
    auto_refresh(key, reads, every=every)


def curves_button(experiment: str, *, key: str) -> None:
    """Draw a button that opens the comparison behind a figure."""
    if st.button("Show curves", icon=":material/monitoring:", help="Opens the comparison of these runs", key=key):
        st.switch_page(st.session_state["pages"]["compare"], query_params={"experiments": experiment})


def draw_figure(figure: PlotlyFigure, *, key: str, alt: str) -> None:
    """Draw a figure of the backend, or a message if it has no curves; `alt` describes it for screen readers."""
    if not figure.data:
        st.info("No run has been evaluated yet. The curves appear here automatically.")
        return
    ui_figure.draw_figure(figure.model_dump(mode="json"), key=key, alt=alt)
