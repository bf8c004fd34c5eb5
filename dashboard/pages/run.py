"""The page of one run: its history, curves, configuration and downloads."""

import html

import streamlit as st

from backend.errors import BackendUnavailable, BlockHFError
from backend.schemas.optimizer_registry import OPTIMIZERS
from backend.schemas.runs import Run, RunStatus
from dashboard.compare import groups
from dashboard.runs import wording
from dashboard.runs.actions import ACTIONS, action_buttons, perform
from dashboard.ui.auto_refresh import WatchedQuery, auto_refresh
from dashboard.ui.backend import ask, await_backend, client, may_launch, name_of
from dashboard.ui.html_table import page_heading, table
from dashboard.ui.live_curves import live, read_view
from dashboard.ui.setting_text import run_settings, setting_name, value_text
from dashboard.ui.text import escape

EVERY_SECONDS = 4
RUN_FIELDS = (
    "experiment_name", "status", "cancel_requested", "pause_requested", "priority", "claims", "started_at",
    "finished_at", "worker_id", "environment", "blocks", "parameters", "checkpoint", "notes",
)  # fmt: skip
WORKER_FIELDS = ("id", "alive")


def page() -> None:
    """Draw the page of the run in the URL."""
    run = _asked(st.query_params.get("id", ""))
    if run is None:
        st.stop()
    name = name_of(run)
    st.html(page_heading(name))
    _state(run)
    if run.error:
        st.error(escape(run.error.message))
        if run.error.traceback:
            with st.expander("Traceback"):
                st.code(run.error.traceback, language=None)
    _downloads(run)
    _curves(run)
    left, right = st.columns(2)
    with left:
        st.subheader("Configuration")
        rows = [[setting_name(path), value_text(value)] for path, value in run_settings(run.config).items()]
        st.html(table(["Setting", "Value"], rows, label="Configuration"))
    with right:
        _environment(run)


def _asked(run_id: str) -> Run | None:
    """Return the run; if there is none, say so and offer a button to the compare page."""
    try:
        if run_id:
            return client().run(run_id)
    except BackendUnavailable:
        st.title("Run")
        st.warning("Backend unreachable. Reconnecting automatically.")
        await_backend()
        return None
    except BlockHFError:
        pass
    st.title("Run")
    st.write("There is no such run. Choose one on the compare page." if run_id else "Choose a run on the compare page.")
    if st.button("Compare", type="primary"):
        st.switch_page(st.session_state["pages"]["compare"])
    return None


def _state(run: Run) -> None:
    """Draw the run's history and actions, refreshed until the run has ended."""
    st.fragment(_history)(run)


def _history(drawn: Run) -> None:
    known = ask(run=lambda backend: backend.run(drawn.id), catalog=lambda backend: backend.catalog())
    run: Run = known["run"] if known["run"] and known["run"].id == drawn.id else drawn
    workers = known["catalog"].workers if known["catalog"] else []
    worker = next((one for one in workers if one.id == run.worker_id), None)
    sentences = wording.history(run, worker.info.name if worker else "")
    if worker and not worker.alive and run.status is RunStatus.RUNNING:
        sentences.append(f"{wording.LOST.capitalize()}.")
    lines = "".join(f"<li>{html.escape(line)}</li>" for line in sentences)
    with st.container(horizontal=True, vertical_alignment="center"):
        st.html(f"<span class='bhf-state bhf-state-{run.status}'>{run.status.capitalize()}</span>", width="content")
        action_buttons(run)
    st.html(f"<div class='bhf-history'>{html.escape(wording.experiment_text(run))}<ol>{lines}</ol></div>")
    if (run.status, run.blocks, run.environment) != (drawn.status, drawn.blocks, drawn.environment):
        st.rerun()
    if not run.final:
        reads = [
            WatchedQuery(f"/api/v1/runs/{run.id}", "", RUN_FIELDS, [run]),
            WatchedQuery("/api/v1/catalog", "workers", WORKER_FIELDS, workers),
        ]
        auto_refresh(f"refresh-{run.id}", reads, every=EVERY_SECONDS)


def _downloads(run: Run) -> None:
    with st.container(horizontal=True):
        st.link_button("CSV", f"/api/v1/runs/{run.id}/export.csv", icon=":material/download:")
        st.link_button("Parquet", f"/api/v1/runs/{run.id}/export.parquet", icon=":material/download:")
        st.download_button(
            "Configuration (JSON)",
            run.config.model_dump_json(indent=2),
            file_name=f"{run.id}.json",
            mime="application/json",
            icon=":material/download:",
        )
        if run.weights:
            st.link_button("Weights", f"/api/v1/runs/{run.id}/weights.safetensors", icon=":material/download:")
        if run.checkpoint:
            st.link_button("Checkpoint", f"/api/v1/runs/{run.id}/checkpoint.safetensors", icon=":material/download:")
        if may_launch():
            _again(run)
        if st.button("Open comparison", icon=":material/monitoring:"):
            st.switch_page(st.session_state["pages"]["compare"], query_params={"experiments": run.experiment_id})


def _again(run: Run) -> None:
    """Offer to clone the run into a new comparison, also with another optimizer."""
    if st.button("Clone", icon=":material/content_copy:", help="A new comparison that starts from this run"):
        st.switch_page(st.session_state["pages"]["launch"], query_params={"from": run.id})
    for kind, optimizer in OPTIMIZERS.items():
        name = optimizer.title
        if kind != run.config.optimizer.kind and st.button(
            f"Repeat with {name}", key=f"with-{kind}", help="Copies this run's settings that both optimizers have"
        ):
            st.switch_page(st.session_state["pages"]["launch"], query_params={"from": run.id, "optimizer": kind})


@st.fragment
def _curves(run: Run) -> None:
    catalog = ask(catalog=lambda backend: backend.catalog())["catalog"]
    known = catalog.catalog if catalog else None
    accuracy = groups.has_accuracy(known, [run])
    group = groups.Group(run.experiment_id, run.config.optimizer.title, run.config.optimizer.kind, 0, [run])
    asked = live(
        groups.live_groups([group]),
        title=name_of(run),
        experiments=[run.experiment_id],
        view=read_view(st.query_params.to_dict(), accuracy=accuracy),
        accuracy=accuracy,
        loss_unit=groups.loss_unit(known, run.config.problem.name),
        key=f"live-{run.id}",
        comparing=False,
    )
    st.query_params.from_dict({"id": run.id} | asked.view.query(accuracy=accuracy))
    if asked.verb in ACTIONS:
        perform(asked.verb, asked.runs)


def _environment(run: Run) -> None:
    if run.blocks:
        st.subheader("Blocks")
        rows = [[f"Block\N{NO-BREAK SPACE}{i + 1}", ", ".join(layers)] for i, layers in enumerate(run.blocks)]
        st.html(table(["Block", "Layers"], rows, label="Blocks"))
    st.subheader("Environment")
    if run.environment:
        st.html(table(["Item", "Value"], [list(row) for row in run.environment.items()], label="Environment"))
    else:
        st.caption("The run has not started.")
