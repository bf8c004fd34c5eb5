"""The page of one run: what it is, what became of it, its curves, its downloads."""

import html

import streamlit as st

from backend.errors import BackendUnavailable, BlockHFError
from backend.schemas.looks import OPTIMIZER_NAMES
from backend.schemas.runs import Run, RunStatus
from dashboard.compare import groups
from dashboard.runs import wording
from dashboard.runs.actions import ACTIONS, buttons, perform
from dashboard.ui.auto_refresh import Read, fresh
from dashboard.ui.backend import ask, await_backend, client
from dashboard.ui.html_table import table
from dashboard.ui.live_curves import live, read_view
from dashboard.ui.setting_text import OPTIMIZER_TITLES, run_settings, setting_name, value_text
from dashboard.ui.text import escape

EVERY_SECONDS = 4
TOLD = (
    "experiment_name", "status", "cancel_requested", "pause_requested", "priority", "attempts", "started_at",
    "finished_at", "worker_id", "environment", "blocks", "parameters", "checkpoint", "notes",
)  # fmt: skip
ALIVE = ("id", "alive")


def page() -> None:
    """Draw the page of the run that the URL names."""
    run = _asked(st.query_params.get("id", ""))
    if run is None:
        st.stop()
    name = OPTIMIZER_TITLES[run.config.optimizer.kind]
    st.title(escape(f"{name}, seed {run.config.seed}"))
    _standing(run)
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
        _surroundings(run)


def _asked(run_id: str) -> Run | None:
    """Return the run; where there is none, say so and offer a way out."""
    try:
        if run_id:
            return client().run(run_id)
    except BackendUnavailable:
        st.title("Run")
        st.warning("The backend cannot be reached. This page goes on by itself.")
        await_backend()
        return None
    except BlockHFError:
        pass
    st.title("Run")
    st.write("There is no such run: choose one on the compare page." if run_id else "Choose a run on the compare page.")
    if st.button("Compare", type="primary"):
        st.switch_page(st.session_state["pages"]["compare"])
    return None


def _standing(run: Run) -> None:
    """Tell the run's history, which goes on by itself until the run has ended, and offer what can be asked of it."""
    st.fragment(_history)(run)


def _history(drawn: Run) -> None:
    known = ask(run=lambda backend: backend.run(drawn.id), catalog=lambda backend: backend.catalog())
    run: Run = known["run"] if known["run"] and known["run"].id == drawn.id else drawn
    workers = known["catalog"].workers if known["catalog"] else []
    own = next((worker for worker in workers if worker.id == run.worker_id), None)
    told = wording.history(run, own.info.name if own else "")
    if own and not own.alive and run.status is RunStatus.RUNNING:
        told.append(f"{wording.LOST.capitalize()}.")
    lines = "".join(f"<li>{html.escape(line)}</li>" for line in told)
    with st.container(horizontal=True, vertical_alignment="center"):
        st.html(f"<span class='bhf-state bhf-state-{run.status}'>{run.status.capitalize()}</span>", width="content")
        buttons(run)
    st.html(f"<div class='bhf-history'>{html.escape(wording.about(run))}<ol>{lines}</ol></div>")
    if (run.status, run.blocks, run.environment) != (drawn.status, drawn.blocks, drawn.environment):
        st.rerun()
    if not run.final:
        reads = [Read(f"/api/v1/runs/{run.id}", "", TOLD, [run]), Read("/api/v1/catalog", "workers", ALIVE, workers)]
        fresh(f"fresh-{run.id}", reads, every=EVERY_SECONDS)


def _downloads(run: Run) -> None:
    with st.container(horizontal=True):
        st.link_button("All updates as CSV", f"/api/v1/runs/{run.id}/export.csv", icon=":material/download:")
        st.link_button("As Parquet", f"/api/v1/runs/{run.id}/export.parquet", icon=":material/download:")
        st.download_button(
            "Configuration as JSON",
            run.config.model_dump_json(indent=2),
            file_name=f"{run.id}.json",
            mime="application/json",
            icon=":material/download:",
        )
        if run.weights:
            st.link_button("Weights", f"/api/v1/runs/{run.id}/weights.safetensors", icon=":material/download:")
        if run.checkpoint:
            st.link_button("Checkpoint", f"/api/v1/runs/{run.id}/checkpoint.safetensors", icon=":material/download:")
        _again(run)
        if st.button("Its comparison", icon=":material/monitoring:"):
            st.switch_page(st.session_state["pages"]["compare"], query_params={"experiments": run.experiment_id})


def _again(run: Run) -> None:
    """Offer a new comparison that starts from this run: as it is, or the same with another optimizer."""
    if st.button("Clone", icon=":material/content_copy:", help="A new comparison that starts from this run"):
        st.switch_page(st.session_state["pages"]["launch"], query_params={"from": run.id})
    for kind, name in OPTIMIZER_NAMES.items():
        if kind != run.config.optimizer.kind and st.button(
            f"The same with {name}", key=f"with-{kind}", help="What both optimizers have stays as it is in this run"
        ):
            st.switch_page(st.session_state["pages"]["launch"], query_params={"from": run.id, "optimizer": kind})


@st.fragment
def _curves(run: Run) -> None:
    catalog = ask(catalog=lambda backend: backend.catalog())["catalog"]
    known = catalog.catalog if catalog else None
    accuracy = groups.has_accuracy(known, [run])
    group = groups.Group(
        run.experiment_id, OPTIMIZER_NAMES[run.config.optimizer.kind], run.config.optimizer.kind, 0, [run]
    )
    asked = live(
        groups.live_groups([group]),
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


def _surroundings(run: Run) -> None:
    if run.blocks:
        st.subheader("Blocks")
        rows = [[f"Block\N{NO-BREAK SPACE}{i + 1}", ", ".join(layers)] for i, layers in enumerate(run.blocks)]
        st.html(table(["Block", "Layers"], rows, label="Blocks"))
    st.subheader("Environment")
    if run.environment:
        st.html(table(["What", "Value"], [list(row) for row in run.environment.items()], label="Environment"))
    else:
        st.caption("The run has not started.")
