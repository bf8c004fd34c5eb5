"""The launch page, without a browser."""

import re
from typing import Any, Literal

import pytest
from streamlit.testing.v1 import AppTest

from backend.client import Client
from backend.errors import BackendUnavailable
from backend.schemas.base import Contract as Options
from backend.schemas.base import setting
from backend.schemas.catalog import WorkerInfo
from backend.schemas.experiments import ExperimentSpec
from backend.schemas.optimizer_registry import OPTIMIZERS
from backend.schemas.optimizers import (
    BlockHessianFree,
    CgStop,
    EqualPartition,
    ExplicitPartition,
    HessianFree,
    LayerPartition,
    ProblemPartition,
)
from backend.schemas.runs import Experiment
from dashboard.launch.form import form_fields
from tests.clients import BothClient
from tests.dashboard.conftest import OpenPage
from tests.dashboard.samples import CATALOG, SPEC

KINDS = (
    "number_input",
    "text_input",
    "text_area",
    "selectbox",
    "multiselect",
    "toggle",
    "checkbox",
    "button_group",
    "button",
)


PARTS = (EqualPartition(count=2), ProblemPartition())
CURVATURE = ["learning_rate", "curvature_batch", "damping"]


def widget(page: AppTest, key: str) -> Any:
    """Find a widget of the form."""
    (one,) = found(page, key)
    return one


def found(page: AppTest, key: str) -> list[Any]:
    """Find the widgets with a key: one, or none."""
    return [one for kind in KINDS for one in page.get(kind) if getattr(one, "key", None) == f"launch0.{key}"]


def launched(api: BothClient, page: AppTest) -> ExperimentSpec:
    """Press the launch button; return what was queued. It then opens Compare, which a test of one page has not."""
    widget(page, "launch").click().run()
    spec = api.experiments()[0].spec.to_launch()
    assert spec is not None
    return spec


def texts(page: AppTest) -> str:
    """Return all that is written as HTML."""
    return "\n".join(found.proto.body for found in page.get("html"))


@pytest.mark.usefixtures("api")
def test_every_setting_is_drawn_with_the_presets_value(open_page: OpenPage) -> None:
    """Each optimizer's column holds every setting of the contract, at the value of the problem's preset."""
    page = open_page("launch")
    widget(page, "same_batch").uncheck().run()
    for position, optimizer in enumerate(SPEC.optimizers):
        for one in form_fields(OPTIMIZERS[optimizer.kind]):
            held = widget(page, f"{optimizer.kind}{position}.{one.name}")
            value = getattr(optimizer, one.name)
            numeric = isinstance(value, float)
            written = {"choice": [value], "switch": [value], "numbers": ""}.get(one.kind or "", str(value))
            assert held.value == (f"{value:g}" if numeric else written)
            if one.paper is not None:
                assert f"(paper: {one.paper:g})" in held.label


@pytest.mark.usefixtures("api")
def test_ten_entries_stand_before_the_others(open_page: OpenPage) -> None:
    """Network, data, the table, updates, seeds and the name come first; what is under Advanced is not needed."""
    page = open_page("launch")
    inputs = ("number_input", "text_input", "selectbox", "multiselect", "toggle", "text_area")
    inside = {found.key for box in page.expander for kind in inputs for found in box.get(kind)}
    first = {found.key for kind in inputs for found in page.get(kind)} - inside
    table = {"adam0": ["learning_rate", "gradient_batch"], "hf1": CURVATURE, "bhf2": [*CURVATURE, "blocks"]}
    cells = {f"launch0.{entry}.{name}" for entry, names in table.items() for name in names}
    shared = {f"launch0.{name}" for name in ("problem.name", "problem.data", "budget.updates", "seeds", "name")}
    assert first == cells | shared | {"start0", "launch0.preset"}
    assert len(inside) > 30


@pytest.mark.usefixtures("api")
def test_advanced_settings_that_differ_are_counted(open_page: OpenPage) -> None:
    """What differs from its default is counted and named; with the defaults nothing is said."""
    page = open_page("launch")
    widget(page, "budget.updates").set_value(50).run()
    assert "bhf-differs" not in texts(page)
    widget(page, "hf1.max_cg_iterations").set_value("10").run()
    widget(page, "bhf2.line_search").set_value([True]).run()
    widget(page, "sample.options.hidden").set_value(20).run()
    assert "3 advanced settings differ" in texts(page)
    assert "HF Max CG iterations" in texts(page)


@pytest.mark.usefixtures("api")
def test_one_gradient_batch_serves_all_until_it_is_unlinked(api: BothClient, open_page: OpenPage) -> None:
    """All optimizers have the first one's gradient batch; a fitting curvature batch is offered when it changes."""
    page = open_page("launch")
    assert not found(page, "hf1.gradient_batch")
    widget(page, "adam0.gradient_batch").set_value("200").run()
    assert widget(page, "launch").disabled
    assert "HF: curvature batch" in texts(page)
    widget(page, "fit").click().run()
    assert [widget(page, f"{entry}.curvature_batch").value for entry in ("hf1", "bhf2")] == ["50", "50"]
    widget(page, "same_batch").uncheck().run()
    widget(page, "hf1.gradient_batch").set_value("400").run()
    assert not found(page, "launch")[0].disabled
    assert [one.gradient_batch for one in launched(api, page).optimizers] == [200, 400, 200]


@pytest.mark.usefixtures("api")
def test_the_name_is_made_from_what_differs(api: BothClient, open_page: OpenPage) -> None:
    """The preset's name holds for the preset alone; a name that was typed stays."""
    page = open_page("launch")
    assert ": The sample&#x27;s settings</p>" in texts(page)
    widget(page, "bhf2.damping").set_value("0, 0.1").run()
    assert ": Sample \u00b7 BHF damping 0, 0.1</p>" in texts(page)
    assert launched(api, page).name == "Sample \u00b7 BHF damping 0, 0.1"


@pytest.mark.usefixtures("api")
def test_a_duration_is_there_on_a_first_visit(open_page: OpenPage) -> None:
    """Without any earlier run, the work of the runs says how long they take."""
    assert re.search(r"about <b>\d+ (s|min)</b>", texts(open_page("launch")))


def test_it_says_what_will_be_queued(api: BothClient, open_page: OpenPage) -> None:
    """Runs and parameters are counted before the button, for all seeds, and nothing is queued by looking."""
    before = len(api.experiments())
    page = open_page("launch")
    widget(page, "seeds").set_value("0-4").run()
    assert "<b>15 runs</b>, <b>83</b> parameters each" in texts(page)
    assert widget(page, "launch").label == "Launch 15 runs"
    assert len(api.experiments()) == before


@pytest.mark.usefixtures("api")
def test_an_option_changes_the_blocks_sizes(open_page: OpenPage) -> None:
    """The blocks' sizes follow the problem's options."""
    page = open_page("launch")
    assert "2 blocks, the largest block has 1.20 times the mean size" in texts(page)
    assert 'aria-label="2 blocks: 60%, 40%"' in texts(page)
    widget(page, "sample.options.hidden").set_value(100).run()
    assert "<td>500</td>" in texts(page)


@pytest.mark.usefixtures("api")
def test_refusals_stand_under_their_fields(open_page: OpenPage) -> None:
    """The API's message is shown, the launch button is off, and both go when the input is mended."""
    page = open_page("launch")
    widget(page, "hf1.curvature_batch").set_value("1000").run()
    assert "HF: curvature batch is 1000: must be smaller than gradient_batch, which is 1000" in texts(page)
    assert 'data-field="st-key-launch0-hf1-curvature_batch">HF: curvature batch</a>' in texts(page)
    assert widget(page, "launch").disabled
    widget(page, "hf1.curvature_batch").set_value("100").run()
    assert "bhf-error" not in texts(page)
    assert not widget(page, "launch").disabled


@pytest.mark.usefixtures("api")
def test_a_run_without_an_end_is_refused(open_page: OpenPage) -> None:
    """An optional entry can be cleared; a budget without any limit is refused in its section."""
    page = open_page("launch")
    widget(page, "budget.updates").set_value(None).run()
    assert "updates, epochs and seconds are all empty" in texts(page)


@pytest.mark.usefixtures("api")
def test_a_further_configuration_can_be_added_and_removed(open_page: OpenPage) -> None:
    """A second Adam stands beside the first and must differ from it."""
    page = open_page("launch")
    widget(page, "add.adam").click().run()
    assert "duplicate optimizer" in texts(page)
    widget(page, "adam3.learning_rate").set_value("0.01").run()
    assert "<b>4 runs</b>" in texts(page)
    widget(page, "remove.adam3").click().run()
    assert "<b>3 runs</b>" in texts(page)


def test_without_a_backend_the_page_says_so(open_page: OpenPage) -> None:
    """The page warns that the backend is unreachable."""
    page = open_page("launch", url="http://127.0.0.1:9")
    assert page.warning


@pytest.mark.usefixtures("api")
def test_cells_with_several_values_are_a_sweep(api: BothClient, open_page: OpenPage) -> None:
    """Each combination of lists, ranges and partitions is a configuration, and a row of a table."""
    page = open_page("launch")
    widget(page, "hf1.damping").set_value("0, 0.1..1/2").run()
    widget(page, "bhf2.blocks").set_value("1, 2, one per layer").run()
    widget(page, "bhf2.cg_stop").set_value(["iterations", "martens"]).run()
    assert "10 configurations" in texts(page)
    assert "BHF \u00b7 CG stop criterion martens \u00b7 1 block</th>" in texts(page)
    optimizers = launched(api, page).optimizers
    assert [one.damping for one in optimizers if isinstance(one, HessianFree)] == [0, 0.1, 1]
    blocks = [(one.cg_stop, one.partition) for one in optimizers if isinstance(one, BlockHessianFree)]
    partitions = [EqualPartition(count=1), EqualPartition(count=2), LayerPartition()]
    assert sorted(blocks, key=str) == sorted(
        [(stop, one) for stop in (CgStop.ITERATIONS, CgStop.MARTENS) for one in partitions], key=str
    )


@pytest.mark.usefixtures("api")
def test_too_many_combinations_are_refused(open_page: OpenPage) -> None:
    """Millions of combinations are refused in words, and are not built."""
    page = open_page("launch")
    for name in ("learning_rate", "damping", "cg_tolerance", "warm_start"):
        widget(page, f"hf1.{name}").set_value("0.1..0.9/200").run()
    assert not page.exception
    assert widget(page, "launch").disabled
    assert "optimizers" in texts(page)


def test_a_sweep_fills_its_cells_again(api: BothClient, open_page: OpenPage) -> None:
    """A comparison that was swept comes back as lists in cells, with one column per optimizer."""
    swept = [BlockHessianFree(damping=damping, partition=part) for damping in (0.1, 1) for part in PARTS]
    one = api.launch(SPEC.model_copy(update={"optimizers": [*SPEC.optimizers[:1], *swept], "name": "Swept"}))
    page = open_page("launch")
    page.selectbox(key="start0").set_value(f"Swept ({one.id})").run()
    assert page.text_input(key="launch1.bhf1.damping").value == "0.1, 1"
    assert page.text_input(key="launch1.bhf1.blocks").value == "2, default"
    assert "<b>5 runs</b>" in texts(page)
    api.delete(one.id)


def test_the_same_with_another_optimizer_fills_the_form(api: BothClient, open_page: OpenPage) -> None:
    """A URL that names a run and an optimizer fills the form with that one, and says so in the name."""
    run = api.launch(SPEC.model_copy(update={"seeds": [3], "name": "first"})).runs[1]
    page = open_page("launch", query={"from": run.id, "optimizer": "bhf"})
    assert page.text_input(key="launch0.name").value == "first, with BHF"
    assert widget(page, "bhf0.max_cg_iterations").value == str(run.config.optimizer.model_dump()["max_cg_iterations"])
    assert "<b>1 run</b>" in texts(page)


@pytest.mark.usefixtures("api")
def test_custom_blocks_are_lines_of_layers(api: BothClient, open_page: OpenPage) -> None:
    """Each line is a block of names and patterns; a layer without a block is refused beside the lines."""
    page = open_page("launch")
    widget(page, "bhf2.blocks").set_value("custom").run()
    assert widget(page, "bhf2.custom").value == "first\nsecond"
    widget(page, "bhf2.custom").set_value("s*").run()
    assert "without first" in texts(page)
    assert widget(page, "launch").disabled
    widget(page, "bhf2.custom").set_value("s*\n*").run()
    [*_, optimizer] = launched(api, page).optimizers
    assert optimizer.blocks == ExplicitPartition(blocks=[["second"], ["first"]])


def test_the_forms_settings_are_saved_picked_and_deleted(api: BothClient, open_page: OpenPage) -> None:
    """What the form holds comes back as it was; a deleted preset is offered no more, and comes back by its undo."""
    page = open_page("launch")
    widget(page, "hf1.damping").set_value("0.25").run()
    widget(page, "preset").set_value("Two <blocks>!").run()
    widget(page, "save").click().run()
    saved = api.preset("two-blocks")
    assert saved.title == "Two <blocks>!"
    assert [optimizer.kind for optimizer in saved.spec.optimizers] == ["adam", "hf", "bhf"]
    again = open_page("launch")
    start = again.selectbox(key="start0")
    assert start.options[0] == "Mine: Two <blocks>!"
    start.set_value("Mine: Two <blocks>!").run()
    assert again.text_input(key="launch1.hf1.damping").value == "0.25"
    again.text_input(key="launch1.preset").set_value("two BLOCKS").run()
    assert again.button(key="launch1.save").label == "Replace preset"
    again.button(key="delete-preset-two-blocks").click().run()
    assert api.presets() == []
    again.button(key="undo-preset").click().run()
    assert api.preset("two-blocks").spec == saved.spec
    api.delete_preset("two-blocks")


def test_settings_that_are_refused_are_not_saved(api: BothClient, open_page: OpenPage) -> None:
    """The button is off while the form breaks the contract, and nothing is saved without a name."""
    page = open_page("launch")
    widget(page, "save").click().run()
    assert api.presets() == []
    widget(page, "hf1.curvature_batch").set_value("1000").run()
    assert widget(page, "save").disabled


def test_a_comparison_is_started_from_under_its_new_name(api: BothClient, open_page: OpenPage) -> None:
    """A renamed comparison fills the form in with the name that it has now."""
    one = api.launch(SPEC)
    api.edit(one.id, name="Renamed")
    page = open_page("launch")
    page.selectbox(key="start0").set_value(f"Renamed ({one.id})").run()
    assert page.text_input(key="launch1.name").value == "Renamed"
    api.delete(one.id)


class OddOptions(Options):
    """Options of types that a plug-in may have."""

    depth: Literal[1, 2, 4] = setting(2, "layers")
    skip: int | None = setting(None, "skips every so many; empty: none", ge=1)
    activation: Literal["relu", "tanh"] | None = setting(None, "function after each layer; none: none")
    clip: float | None = setting(5.0, "largest gradient; empty: any", gt=0)
    final: Literal["relu", "tanh"] | None = setting("relu", "function of the last layer; none: none")
    hidden: int = setting(10, "width", ge=1)


def test_options_of_any_type_are_sent_as_they_are(api: BothClient, open_page: OpenPage) -> None:
    """Numbers stay numbers, and what is left empty is left out, so that the problem's default stands."""
    sample = CATALOG.problems[0]
    odd = sample.model_copy(update={"name": "odd", "title": "Odd", "options": OddOptions.model_json_schema()})
    both = CATALOG.model_copy(update={"problems": [sample, odd]})
    api.register(WorkerInfo(name="by hand", device="cpu", threads=1), both)
    page = open_page("launch")
    widget(page, "problem.name").set_value("odd").run()
    assert not page.exception
    assert not widget(page, "launch").disabled
    assert widget(page, "odd.options.activation").value is None
    assert widget(page, "odd.options.activation").options == ["none", "relu", "tanh"]
    assert widget(page, "odd.options.final").options == ["relu", "tanh"]  # none would be left out, and be relu
    widget(page, "odd.options.depth").set_value(4).run()
    widget(page, "preset").set_value("Odd ones").run()
    widget(page, "save").click().run()
    assert api.preset("odd-ones").spec.problem.options == {
        "depth": 4, "clip": 5.0, "final": "relu", "hidden": 10,
    }  # fmt: skip
    api.delete_preset("odd-ones")


def test_a_clone_of_what_nobody_knows_says_so(api: BothClient, open_page: OpenPage) -> None:
    """A problem that no worker can train is not replaced in silence, and its options are not taken for another's."""
    theirs = SPEC.problem.model_copy(update={"name": "moons", "data": "mine", "options": {"hidden": 7}})
    spec = SPEC.model_copy(update={"problem": theirs, "optimizers": SPEC.optimizers[:1]})
    run = api.import_run(spec, "update,train_loss\n1,0.5\n")
    page = open_page("launch", query={"from": run.id})
    assert [found.value for found in page.warning] == [
        "No worker can train the network moons; another one is selected."
    ]
    assert widget(page, "sample.options.hidden").value == 10


def test_a_clone_keeps_its_one_block(api: BothClient, open_page: OpenPage) -> None:
    """An assignment of all layers to one block is not cut in two."""
    one = ExplicitPartition(kind="explicit", blocks=[["first", "second"]])
    run = api.launch(SPEC.model_copy(update={"optimizers": [BlockHessianFree(partition=one)]})).runs[0]
    page = open_page("launch", query={"from": run.id})
    assert widget(page, "bhf0.blocks").value == "custom"
    assert widget(page, "bhf0.custom").value == "first second"
    assert "1 block, balanced" in texts(page)


def test_a_launch_without_an_answer_is_not_called_none(
    api: BothClient, open_page: OpenPage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What may have been queued is said to be so; where it was, changed settings can be launched all the same."""
    launch, answers = Client.launch, [BackendUnavailable("no answer within 10 s")]

    def slow(client: BothClient, spec: ExperimentSpec, *, idempotency_key: str | None = None) -> Experiment:
        made = launch(client, spec, idempotency_key=idempotency_key)
        if answers:
            raise answers.pop()
        return made

    before = len(api.experiments(limit=1000))
    monkeypatch.setattr(Client, "launch", slow)
    page = open_page("launch")
    widget(page, "name").set_value("slow").run()
    widget(page, "launch").click().run()
    assert "may have been queued" in page.warning[0].value
    widget(page, "seeds").set_value("5").run()
    widget(page, "launch").click().run()
    assert page.warning[0].value.startswith("Your previous launch was queued")
    assert len(api.experiments(limit=1000)) == before + 1
    widget(page, "launch").click().run()  # goes on to the page Compare, which a test of one page has not
    assert api.experiments()[0].spec.seeds == [5]


def test_a_clone_whose_data_its_network_has_no_more_says_so(api: BothClient, open_page: OpenPage) -> None:
    """Data that some worker has, but not for this network, are not replaced in silence."""
    theirs = CATALOG.data[0].model_copy(update={"name": "mine", "title": "Mine"})
    for data in ([*CATALOG.data, theirs], CATALOG.data):
        problem = CATALOG.problems[0].model_copy(update={"data": [one.name for one in data]})
        announced = CATALOG.model_copy(update={"problems": [problem], "data": data})
        api.register(WorkerInfo(name="by hand", device="cpu", threads=1), announced)
    spec = SPEC.model_copy(update={"optimizers": SPEC.optimizers[:1]})
    cloned = spec.model_copy(update={"problem": spec.problem.model_copy(update={"data": "mine"})})
    run = api.import_run(cloned, "update,train_loss\n1,0.5\n")
    page = open_page("launch", query={"from": run.id})
    (warning,) = page.warning
    assert warning.value.startswith("No worker has the data set mine for this network")
