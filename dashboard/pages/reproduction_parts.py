"""Parts of the pages that re-run experiments: state, duration, launch, refresh and figures."""

from collections.abc import Sequence
from functools import partial
from uuid import uuid4

import streamlit as st

from backend.client import Client
from backend.errors import BlockHFError
from backend.schemas.base import MAX_RUNS_PER_EXPERIMENT
from backend.schemas.catalog import WorkerInfo
from backend.schemas.experiments import ExperimentSpec
from backend.schemas.paper import OwnRun, PlotlyFigure, Reproduction
from backend.schemas.runs import Experiment
from dashboard.launch.estimate import is_timed, wall_seconds
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


def duration_text(spec: ExperimentSpec) -> str:
    """Write how long the runs would take; empty if no run of the network has been timed, or no worker can train it."""
    known, timed = _sizes(spec.model_dump_json()), timed_runs()
    if known is None:
        return ""
    parameters, images, workers = known
    if not is_timed(spec, timed, workers):
        return ""
    return f"about {duration(wall_seconds(spec, parameters, images, timed, workers))}"


@st.cache_data(ttl=60, show_spinner=False)
def _sizes(spec_json: str) -> tuple[int, tuple[int, int], list[WorkerInfo]] | None:
    """Return an experiment's parameters, its training and test images, and the workers; None if unknown."""
    spec = ExperimentSpec.model_validate_json(spec_json)
    try:
        answer = client().catalog()
        data = {one.name: one for one in answer.catalog.data}[spec.problem.data] if answer.catalog else None
        if data is None:
            return None
        images = (spec.problem.train_size or data.train_size, spec.problem.test_size or data.test_size)
        workers = [worker.info for worker in answer.workers if worker.alive]
        return client().check(spec).total, images, workers
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
