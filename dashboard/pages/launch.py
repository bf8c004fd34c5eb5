"""The launch page: a comparison as a form, its review, and the launch button."""

import html
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any
from uuid import uuid4

import streamlit as st
from pydantic import ValidationError
from streamlit.delta_generator import DeltaGenerator

from backend.errors import (
    BackendUnavailable,
    BlockHFError,
    Conflict,
    FieldError,
    InvalidInput,
    StorageUnavailable,
    from_validation,
)
from backend.schemas.api import CatalogAnswer, Plan, Worker
from backend.schemas.catalog import Catalog, DataSet, ProblemInfo
from backend.schemas.experiments import Budget, Evaluation, ExperimentSpec, Problem
from backend.schemas.fields import SettingField
from backend.schemas.optimizer_registry import OPTIMIZERS
from backend.schemas.runs import Experiment, Preset
from dashboard.launch import block_editor, optimizer_table, presets
from dashboard.launch.draft import Draft, clone, draft, problem_presets, seeds_of, start_draft
from dashboard.launch.estimate import estimate
from dashboard.launch.form import Form, form_fields
from dashboard.launch.layers import LayerRow, layer_rows
from dashboard.ui.auto_refresh import WatchedQuery, auto_refresh
from dashboard.ui.backend import ask, await_backend, client, finished_runs
from dashboard.ui.setting_text import TIMES
from dashboard.ui.text import counted, duration, escape


def page() -> None:
    """Draw the page."""
    st.title("Launch a comparison")
    answer: CatalogAnswer | None = ask(catalog=lambda backend: backend.catalog())["catalog"]
    if answer is None:
        st.stop()
    if answer.catalog is None or not answer.catalog.problems:
        _no_worker(answer.workers)
        st.stop()
    held = _draft(answer.catalog)
    mine = _start_from(answer.catalog, held)
    form = Form(f"launch{held.generation}")
    info, data, problem = _problem(form, held, answer.catalog)
    layers = layer_rows(info, data, problem["options"])
    chosen, places = optimizer_table.draw_optimizers(form, held, layers, info.partition)
    shared = _shared(form, held)
    _review(form, shared | {"problem": problem, "optimizers": chosen}, held, layers, places, mine)


def _draft(catalog: Catalog) -> Draft:
    """Return the draft; the URL may name a run to clone, and another optimizer for the clone."""
    run_id, kind = st.query_params.get("from", ""), st.query_params.get("optimizer", "")
    kind = kind if kind in OPTIMIZERS else ""
    return draft(catalog, ",".join(filter(None, [run_id, kind])), lambda: _find_clone(run_id, kind))


def _find_clone(run_id: str, kind: str) -> tuple[ExperimentSpec, str] | None:
    """Return the clone of a run and the comparison to show next to it; None if there is no such run."""
    try:
        run = client().run(run_id)
        return clone(run, kind), run.experiment_id if kind else ""
    except BlockHFError as error:
        st.warning(f"The run {escape(run_id[:40])} cannot be cloned: {escape(str(error))}")
    except ValidationError as error:
        st.warning(f"The run {escape(run_id[:40])} cannot be cloned: {escape(str(from_validation(error)))}")
    return None


def _start_from(catalog: Catalog, held: Draft) -> list[Preset]:
    """Offer presets and earlier comparisons to start from; return the user's presets."""
    known = ask(saved=lambda backend: backend.presets(), recent=lambda backend: backend.experiments(limit=20))
    mine: list[Preset] = known["saved"] or []
    earlier = {f"{one.name} ({one.id})": _named(one) for one in known["recent"] or []}
    found = presets.named_specs(mine) | problem_presets(catalog) | earlier
    with st.container(horizontal=True, vertical_alignment="bottom"):
        chosen = st.selectbox(
            "Start from",
            list(found),
            index=None,
            placeholder="Keep current values, or load a preset or earlier comparison",
            key=f"start{held.generation}",
        )
        presets.draw_list(mine)
    if chosen:
        start_draft(found[chosen], source=held.source)
        st.rerun()
    return mine


def _named(one: Experiment) -> ExperimentSpec:
    """Return the specification of a comparison under its current name."""
    return one.spec.model_copy(update={"name": one.name})


def _no_worker(workers: Sequence[Worker]) -> None:
    st.write("No worker is running. Start one with `python -m worker`.")
    st.button("Refresh", type="primary")
    auto_refresh("refresh-worker", [WatchedQuery("/api/v1/catalog", "workers", ("id",), workers)], every=2)


def _problem(form: Form, held: Draft, catalog: Catalog) -> tuple[ProblemInfo, DataSet, dict[str, Any]]:
    """Draw the section with the problem, its data and its options."""
    problems = {info.name: info for info in catalog.problems}
    with st.container(border=True, key="section-problem"):
        st.subheader("Problem")
        first, second, third, fourth = st.columns([2, 2, 1, 1])
        with first:
            name = _pick(form, "problem.name", "Network", list(problems), held.spec.problem.name, problems)
        info = problems[name]
        sets = {data.name: data for data in catalog.data if data.name in info.data}
        with second:
            chosen = _pick(form, "problem.data", "Data set", list(sets), held.spec.problem.data, sets)
        sizes = {field.name: field for field in form_fields(Problem) if field.name in {"train_size", "test_size"}}
        if held.spec.problem.name not in problems:
            st.warning(f"No worker can train the network {escape(held.spec.problem.name)}; another one is selected.")
        elif name == held.spec.problem.name and held.spec.problem.data not in sets:
            data = escape(held.spec.problem.data)
            st.warning(f"No worker has the data set {data} for this network; another one is selected.")
        answer: dict[str, Any] = {"name": name, "data": chosen}
        for place, size in ((third, "train_size"), (fourth, "test_size")):
            with place:
                answer[size] = form.setting(f"problem.{size}", sizes[size], getattr(held.spec.problem, size))
        st.caption(f"{info.summary} Loss: {info.loss_unit}. {_described(sets[chosen])}")
        form.slot("problem.options")
        options = [_without_empty(field) for field in form_fields(info.options)]
        given = form.settings(
            "problem.options",
            options,
            held.spec.problem.options if name == held.spec.problem.name else {},
            columns=max(1, min(5, len(options))),
            key=f"{name}.options",
        )
        answer["options"] = {option: value for option, value in given.items() if value is not None}
    return info, sets[chosen], answer


def _without_empty(field: SettingField) -> SettingField:
    """Return an option without its empty value, if leaving the option out would mean its default instead."""
    if field.default is None:
        return field
    return replace(field, optional=False, choices=tuple(choice for choice in field.choices if choice is not None))


def _pick(form: Form, path: str, label: str, names: list[str], now: str, titles: Mapping[str, Any]) -> str:
    picked: str = st.selectbox(
        label,
        names,
        index=names.index(now) if now in names else 0,
        format_func=lambda name: titles[name].title,
        key=form.key(path),
        persist_state="session",
    )
    form.slot(path)
    return picked


def _described(data: DataSet) -> str:
    shape = TIMES.join(map(str, data.shape))
    where = "ships with BlockHF" if data.embedded else "downloaded at first use"
    return f"{data.train_size:,} training and {data.test_size:,} test images of {shape}, {where}."


def _shared(form: Form, held: Draft) -> dict[str, Any]:
    """Draw the sections with the settings that all runs share."""
    spec = held.spec
    answer: dict[str, Any] = {}
    places = st.columns(3)
    with places[0].container(border=True, height="stretch", key="section-budget"):
        st.subheader("Budget", help="A run ends at the first limit it reaches; empty: no limit")
        answer["budget"] = form.settings("budget", form_fields(Budget), spec.budget.model_dump())
        form.slot("budget")
    with places[1].container(border=True, height="stretch", key="section-evaluation"):
        st.subheader(
            "Evaluation",
            help="When and on which data the curves are computed; not counted as training time",
        )
        answer["evaluation"] = form.settings("evaluation", form_fields(Evaluation), spec.evaluation.model_dump())
    with places[2].container(border=True, height="stretch", key="section-machine"):
        st.subheader("Seeds and machine")
        text = st.text_input(
            "Seeds",
            value=", ".join(map(str, spec.seeds)),
            key=form.key("seeds"),
            help="One run per optimizer and seed, e.g. 0, 1, 2 or 0-4. A seed sets initialization and data order; they "
            "are the same for every optimizer.",
            persist_state="session",
        )
        form.slot("seeds")
        answer["seeds"] = seeds_of(text)
        machine = [field for field in form_fields(ExperimentSpec) if field.name not in {"name", "reproduces"}]
        answer |= form.settings("", machine, spec.model_dump(mode="json"))
    return answer


def _review(
    form: Form,
    asked: dict[str, Any],
    held: Draft,
    layers: Sequence[LayerRow],
    places: Mapping[int, DeltaGenerator],
    mine: Sequence[Preset],
) -> None:
    """Show what a launch would queue, with the launch button and the saving of presets."""
    with st.container(border=True, key="section-review"):
        st.subheader("Review and launch")
        name = next(field for field in form_fields(ExperimentSpec) if field.name == "name")
        asked["name"] = form.setting("name", name, held.spec.name)
        spec, plan = _checked(form, asked)
        if plan and spec:
            _planned(plan, layers, places)
            _duration(spec, plan)
        queued = st.button(
            f"Launch {counted(len(plan.runs), 'run')}" if plan else "Launch",
            type="primary",
            icon=":material/rocket_launch:",
            disabled=plan is None,
            key=form.key("launch"),
        )
        presets.draw_save(form, spec, mine)
    if queued and spec:
        _launch(form, held, spec)


def _checked(form: Form, asked: dict[str, Any]) -> tuple[ExperimentSpec | None, Plan | None]:
    """Validate the form with the backend; show errors beside the fields."""
    try:
        spec = ExperimentSpec.model_validate(asked)
        return spec, client().check(spec)
    except ValidationError as error:
        _refused(form, from_validation(error).errors)
    except InvalidInput as error:
        _refused(form, error.errors)
    except BackendUnavailable:
        st.warning("Backend unreachable: launching is not possible now. Your entries are kept.")
        await_backend()
    except BlockHFError as error:
        st.error(escape(str(error)))
    return None, None


def _refused(form: Form, errors: Sequence[FieldError]) -> None:
    unplaced = form.show_errors(errors)
    st.warning(f"Fix {counted(len(errors), 'field')} to launch; see the messages beside the fields.")
    for error in unplaced:
        st.error(escape(str(error)))


def _planned(plan: Plan, layers: Sequence[LayerRow], places: Mapping[int, DeltaGenerator]) -> None:
    for position, place in places.items():
        with place.container():
            block_editor.draw_sizes(plan.runs[position].blocks, layers)
    count = counted(len(plan.runs), "run")
    names = ", ".join(run.label for run in plan.runs[:12]) + (" …" if len(plan.runs) > 12 else "")
    total = f"<b>{count}</b>, <b>{plan.total:,}</b> parameters each"
    st.html(f"<p class='bhf-plan'>{total}: {html.escape(names)}</p>")


def _duration(spec: ExperimentSpec, plan: Plan) -> None:
    """Write how long the runs will train, estimated from earlier ones."""
    seconds = estimate(spec, plan.total, finished_runs())
    if seconds is not None:
        st.write(f"About {duration(seconds)} of training on one worker, estimated from earlier runs.")


def _launch(form: Form, held: Draft, spec: ExperimentSpec) -> None:
    try:
        experiment = client().launch(spec, idempotency_key=held.token)
    except InvalidInput as error:
        _refused(form, error.errors)
        return
    except Conflict as error:
        held.token = uuid4().hex
        st.warning(f"Your previous launch was queued: {escape(str(error))}. Press again to queue these settings.")
        return
    except BlockHFError as error:
        if isinstance(error, BackendUnavailable) and not isinstance(error, StorageUnavailable):
            advice = "The launch may have been queued. Press again: the same settings are not queued twice"
            st.warning(f"{advice}. ({escape(str(error))})")
        else:
            st.error(f"Nothing was queued: {escape(str(error))}")
        return
    held.token = uuid4().hex
    shown = ",".join(filter(None, [held.beside, experiment.id]))
    held.beside = ""
    st.switch_page(st.session_state["pages"]["compare"], query_params={"experiments": shown})
