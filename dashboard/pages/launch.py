"""The launch page: a comparison as a form, what it would queue, and the launch button."""

import html
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
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
from dashboard.launch import block_editor, optimizer_table, own_network, presets
from dashboard.launch.draft import Draft, clone, draft, problem_presets, seeds_of, start_draft
from dashboard.launch.estimate import is_timed, wall_seconds
from dashboard.launch.form import Form, form_fields
from dashboard.launch.naming import automatic_name
from dashboard.launch.optimizer_table import Column
from dashboard.ui.auto_refresh import WatchedQuery, auto_refresh
from dashboard.ui.backend import ask, await_backend, client, may_launch, timed_runs
from dashboard.ui.setting_text import TIMES, setting_name, short_name
from dashboard.ui.text import counted, duration, escape, unique_labels

_UNNAMED = "comparison"
"""name of a specification until one is made from its differences"""


def page() -> None:
    """Draw the page."""
    head = st.container(horizontal=True, vertical_alignment="bottom")
    head.title("Launch a comparison", width="stretch", anchor=False)
    if not may_launch():
        st.info("This dashboard only shows: launch at the address that `blockhf up` prints.")
        st.stop()
    answer: CatalogAnswer | None = ask(catalog=lambda backend: backend.catalog())["catalog"]
    if answer is None:
        st.stop()
    if answer.catalog is None or not answer.catalog.problems:
        _no_worker(answer.workers)
        st.stop()
    held = _draft(answer.catalog)
    built_in = problem_presets(answer.catalog)
    with head:
        mine = _start_from(built_in, held)
    form = Form(f"launch{held.generation}")
    info, data, problem = _problem(form, held, answer.catalog)
    columns = optimizer_table.draw_table(form, held, info)
    asked = _budget_and_seeds(form, held, built_in)
    form.differing.clear()  # from here on the settings are advanced ones
    advanced = st.container()
    with advanced, st.expander("Advanced"):
        problem |= _problem_settings(form, held, info, problem)
        optimizer_table.draw_advanced(form, columns)
        asked = _shared(form, held, asked)
        sizes = st.container()
    _say_differing(form, advanced)
    configurations = [(column, one) for column in columns for one in column.configurations()]
    asked |= {"problem": problem, "optimizers": [one for _, one in configurations]}
    names = _Names(form, [column for column, _ in configurations])
    spec, plan, links = _checked(names, asked)
    if spec and plan:
        if spec.name == _UNNAMED:
            spec = spec.model_copy(update={"name": automatic_name(spec, info, built_in)})
        _planned(columns, configurations, plan, sizes)
    _foot(names, held, spec, plan, links, data, answer.workers, mine)
    form.finish()


def _say_differing(form: Form, place: DeltaGenerator) -> None:
    """Say how many advanced settings differ from their default, and which."""
    if form.differing:
        names = html.escape(", ".join(form.differing[:6]) + (" \u2026" if len(form.differing) > 6 else ""))
        count = counted(len(form.differing), "advanced setting")
        verb = "differs" if len(form.differing) == 1 else "differ"
        place.html(f'<p class="bhf-differs">{count} {verb} from the default: {names}</p>')


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


def _start_from(built_in: Mapping[str, ExperimentSpec], held: Draft) -> list[Preset]:
    """Offer presets and earlier comparisons to start from; return the user's presets."""
    known = ask(saved=lambda backend: backend.presets(), recent=lambda backend: backend.experiments(limit=20))
    mine: list[Preset] = known["saved"] or []
    recent = {f"{one.name} ({one.id})": _named(one) for one in known["recent"] or []}
    earlier = {title: spec for title, spec in recent.items() if spec is not None}
    found = presets.named_specs(mine) | dict(built_in) | earlier
    chosen = st.selectbox(
        "Start from",
        list(found),
        index=None,
        placeholder="A preset or an earlier comparison",
        key=f"start{held.generation}",
        width=380,
    )
    presets.draw_list(mine)
    if chosen:
        start_draft(found[chosen], source=held.source)
        st.rerun()
    return mine


def _named(one: Experiment) -> ExperimentSpec | None:
    """Return the specification of a comparison under its current name; None if it cannot be launched again."""
    return one.spec.model_copy(update={"name": one.name}).to_launch()


def _no_worker(workers: Sequence[Worker]) -> None:
    st.write("No worker is running. Start one with `python -m worker`.")
    st.button("Refresh", type="primary")
    auto_refresh("refresh-worker", [WatchedQuery("/api/v1/catalog", "workers", ("id",), workers)], every=2)


def _problem(form: Form, held: Draft, catalog: Catalog) -> tuple[ProblemInfo, DataSet, dict[str, Any]]:
    """Draw the choice of the network and its data."""
    problems = {info.name: info for info in catalog.problems}
    with st.container(horizontal=True, vertical_alignment="bottom"):
        name = _pick(form, "problem.name", "Network", list(problems), held.spec.problem.name, problems)
        info = problems[name]
        sets = {data.name: data for data in catalog.data if data.name in info.data}
        chosen = _pick(form, "problem.data", "Data set", list(sets), held.spec.problem.data, sets)
        own_network.draw()
    if held.spec.problem.name not in problems:
        st.warning(f"No worker can train the network {escape(held.spec.problem.name)}; another one is selected.")
    elif name == held.spec.problem.name and held.spec.problem.data not in sets:
        data = escape(held.spec.problem.data)
        st.warning(f"No worker has the data set {data} for this network; another one is selected.")
    st.caption(f"{info.summary} Loss: {info.loss_unit}. {_described(sets[chosen])}")
    return info, sets[chosen], {"name": name, "data": chosen}


def _problem_settings(form: Form, held: Draft, info: ProblemInfo, chosen: Mapping[str, Any]) -> dict[str, Any]:
    """Draw the sizes of the data set and the network's options."""
    before = held.spec.problem
    st.markdown("**Network and data**")
    sizes = [field for field in form_fields(Problem) if field.name in {"train_size", "test_size"}]
    options = [_without_empty(field) for field in form_fields(info.options)]
    answer = form.settings("problem", sizes, before.model_dump(), columns=4)
    form.slot("problem.options")
    given = form.settings(
        "problem.options",
        options,
        before.options if chosen["name"] == before.name else {},
        columns=4,
        key=f"{chosen['name']}.options",
    )
    return answer | {"options": {option: value for option, value in given.items() if value is not None}}


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
        format_func=unique_labels(names, lambda name: str(titles[name].title)),
        key=form.key(path),
        persist_state="session",
    )
    form.slot(path)
    return picked


def _described(data: DataSet) -> str:
    shape = TIMES.join(map(str, data.shape))
    where = "ships with BlockHF" if data.embedded else "downloaded at first use"
    return f"{data.train_size:,} training and {data.test_size:,} test images of {shape}, {where}."


def _budget_and_seeds(form: Form, held: Draft, built_in: Mapping[str, ExperimentSpec]) -> dict[str, Any]:
    """Draw the number of updates, the seeds and the name."""
    budget = {field.name: field for field in form_fields(Budget)}
    first, second, third = st.columns([1, 1, 2])
    with first:
        updates = form.setting("budget.updates", replace(budget["updates"], paper=None), held.spec.budget.updates)
    with second:
        text = st.text_input(
            "Seeds",
            value=", ".join(map(str, held.spec.seeds)),
            key=form.describe("seeds", "One run per optimizer and seed, e.g. 0, 1, 2 or 0-4."),
            persist_state="session",
        )
        form.slot("seeds")
    with third:
        name = st.text_input(
            "Name",
            value="" if held.spec.name in built_in else held.spec.name,
            key=form.describe("name", "Name of the comparison. If empty, it is made from what differs."),
            placeholder="made from what differs",
            persist_state="session",
        )
        form.slot("name")
    return {"budget": {"updates": updates}, "seeds": seeds_of(text), "name": name.strip() or _UNNAMED}


def _shared(form: Form, held: Draft, asked: dict[str, Any]) -> dict[str, Any]:
    """Draw the other settings that all runs share; return them with those asked before."""
    spec = held.spec
    st.markdown("**Budget, evaluation and machine**")
    limits = [field for field in form_fields(Budget) if field.name != "updates"]
    budget = form.settings("budget", limits, spec.budget.model_dump(), columns=4)
    form.slot("budget")
    evaluation = form.settings("evaluation", form_fields(Evaluation), spec.evaluation.model_dump(), columns=4)
    machine = [field for field in form_fields(ExperimentSpec) if field.name not in {"name", "reproduces"}]
    answer = form.settings("", machine, spec.model_dump(mode="json"), columns=4)
    return asked | answer | {"budget": asked["budget"] | budget, "evaluation": evaluation}


@dataclass
class _Names:
    """Where an error belongs: `owners` are the columns of the configurations, in their order."""

    form: Form
    owners: Sequence[Column]

    def show(self, errors: Sequence[FieldError]) -> list[str]:
        """Show errors beside their fields; return links to them."""
        return self.form.show_errors([replace(error, field=self._path(error.field)) for error in errors], self._title)

    def _path(self, field: str) -> str:
        group, _, rest = field.partition(".")
        number, _, setting = rest.partition(".")
        if group != "optimizers" or not number.isdecimal() or int(number) >= len(self.owners):
            return field
        path = f"{self.owners[int(number)].entry.id}.{setting}"
        shared = f"{self.owners[0].entry.id}.{setting}"
        return shared if setting == optimizer_table.BATCH and path not in self.form.slots else path

    def _title(self, path: str) -> str:
        """Write a field's path as its name: "HF: curvature batch"."""
        owner = next((one for one in self.owners if path.startswith(f"{one.entry.id}.")), None)
        return setting_name(path) if owner is None else f"{owner.title}: {short_name(path.partition('.')[2])}"


def _checked(names: _Names, asked: dict[str, Any]) -> tuple[ExperimentSpec | None, Plan | None, list[str]]:
    """Validate the form with the backend; show errors beside the fields, and return links to them."""
    try:
        spec = ExperimentSpec.model_validate(asked)
        return spec, client().check(spec), []
    except ValidationError as error:
        return None, None, names.show(from_validation(error).errors)
    except InvalidInput as error:
        return None, None, names.show(error.errors)
    except BackendUnavailable:
        st.warning("Backend unreachable: launching is not possible now. Your entries are kept.")
        await_backend()
    except BlockHFError as error:
        st.error(escape(str(error)))
    return None, None, []


def _planned(
    columns: Sequence[Column],
    configurations: Sequence[tuple[Column, dict[str, Any]]],
    plan: Plan,
    sizes: DeltaGenerator,
) -> None:
    """Show the blocks' sizes, and what a sweep expands to as rows of a table."""
    planned = list(zip(configurations, plan.runs, strict=False))
    with sizes:
        for (column, one), run in planned:
            if OPTIMIZERS[column.kind].has_blocks:
                block_editor.draw_sizes(column.label(one, len(run.blocks)), run.blocks)
    for column in columns:
        found = [run.blocks for (owner, _), run in planned if owner is column]
        if (place := column.bar) and len(found) == 1:
            place.html(block_editor.bar(found[0]))
    if len(planned) > len(columns):
        rows = "".join(
            f"<tr><th scope='row'>{html.escape(column.label(one, len(run.blocks)))}</th>"
            f"<td>{block_editor.bar(run.blocks) if run.blocks else ''}</td></tr>"
            for (column, one), run in planned
        )
        st.html(
            '<div class="bhf-sheet bhf-configurations" role="region" aria-label="Configurations"><table><thead><tr>'
            f"<th scope='col'>{len(planned)} configurations</th><th scope='col'>Blocks</th></tr></thead>"
            f"<tbody>{rows}</tbody></table></div>"
        )


def _foot(
    names: _Names,
    held: Draft,
    spec: ExperimentSpec | None,
    plan: Plan | None,
    links: Sequence[str],
    data: DataSet,
    workers: Sequence[Worker],
    mine: Sequence[Preset],
) -> None:
    """Say what a launch would queue and how long it would take, or what to fix; launch, and save presets."""
    with st.container(key="launch-foot", horizontal=True, vertical_alignment="center"):
        queued = st.button(
            f"Launch {counted(len(plan.runs), 'run')}" if plan else "Launch",
            type="primary",
            icon=":material/rocket_launch:",
            disabled=plan is None,
            key=names.form.key("launch"),
        )
        if spec and plan:
            images = (spec.problem.train_size or data.train_size, spec.problem.test_size or data.test_size)
            alive, timed = [worker.info for worker in workers if worker.alive], timed_runs()
            seconds = wall_seconds(spec, plan.total, images, timed, alive)
            untimed = "" if is_timed(spec, timed, alive) else ", a guess until a run of this network has made updates"
            st.html(
                f"<p class='bhf-plan'><b>{counted(len(plan.runs), 'run')}</b>, <b>{plan.total:,}</b> parameters each, "
                f"about <b>{duration(seconds)}</b>{untimed}: {html.escape(spec.name)}</p>"
            )
        elif links:
            fix = f"Fix {counted(len(links), 'field')} to launch: {'; '.join(links)}"
            st.html(f'<p class="bhf-fix" role="status">{fix}</p>')
        presets.draw_save(names.form, spec, mine)
    if queued and spec:
        _launch(names, held, spec)


def _launch(names: _Names, held: Draft, spec: ExperimentSpec) -> None:
    try:
        experiment = client().launch(spec, idempotency_key=held.token)
    except InvalidInput as error:
        names.show(error.errors)
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
