"""The launch page, without a browser."""

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
from backend.schemas.optimizers import BlockHessianFree, ExplicitPartition
from backend.schemas.runs import Experiment
from dashboard.launch.form import form_fields
from tests.clients import BothClient
from tests.dashboard.conftest import OpenPage
from tests.dashboard.samples import CATALOG, SPEC

KINDS = ("number_input", "text_input", "selectbox", "multiselect", "toggle", "checkbox", "button_group", "button")


def widget(page: AppTest, key: str) -> Any:
    """Find a widget of the form."""
    return next(found for kind in KINDS for found in page.get(kind) if getattr(found, "key", None) == f"launch0.{key}")


def texts(page: AppTest) -> str:
    """Return all that is written as HTML."""
    return "\n".join(found.proto.body for found in page.get("html"))


@pytest.mark.usefixtures("api")
def test_every_setting_is_drawn_with_the_presets_value(open_page: OpenPage) -> None:
    """Each optimizer's card holds every setting of the contract, at the value of the problem's preset."""
    page = open_page("launch")
    for position, optimizer in enumerate(SPEC.optimizers):
        for one in form_fields(OPTIMIZERS[optimizer.kind]):
            held = widget(page, f"{optimizer.kind}{position}.{one.name}")
            value = getattr(optimizer, one.name)
            assert held.value == (" ".join(map(str, value)) if one.kind == "numbers" else value)
            if one.paper is not None:
                assert f"(paper: {one.paper:g})" in held.label


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
    widget(page, "sample.options.hidden").set_value(100).run()
    assert "<td>500</td>" in texts(page)


@pytest.mark.usefixtures("api")
def test_refusals_stand_under_their_fields(open_page: OpenPage) -> None:
    """The API's message is shown, the launch button is off, and both go when the input is mended."""
    page = open_page("launch")
    widget(page, "hf1.curvature_batch").set_value(1000).run()
    assert "optimizers.1.curvature_batch is 1000: must be smaller than gradient_batch, which is 1000" in texts(page)
    assert widget(page, "launch").disabled
    widget(page, "hf1.curvature_batch").set_value(100).run()
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
    widget(page, "adam3.learning_rate").set_value(0.01).run()
    assert "<b>4 runs</b>" in texts(page)
    widget(page, "remove.adam3").click().run()
    assert "<b>3 runs</b>" in texts(page)


def test_without_a_backend_the_page_says_so(open_page: OpenPage) -> None:
    """The page warns that the backend is unreachable."""
    page = open_page("launch", url="http://127.0.0.1:9")
    assert page.warning


@pytest.mark.usefixtures("api")
def test_a_sweep_adds_a_configuration_per_value(open_page: OpenPage) -> None:
    """Each value of a setting becomes a configuration that is otherwise the same."""
    page = open_page("launch")
    widget(page, "hf1.warm_start").set_value(0.5).run()
    widget(page, "sweep.entry.3").set_value(1).run()
    widget(page, "sweep.settings.hf").set_value(["damping"]).run()
    widget(page, "sweep.values.hf.damping").set_value("0, 0.1..1/2").run()
    assert widget(page, "sweep.add").label == "Add 2 configurations"
    widget(page, "sweep.add").click().run()
    assert [widget(page, f"hf{i}.damping").value for i in (3, 4)] == [0.1, 1.0]
    assert [widget(page, f"hf{i}.warm_start").value for i in (3, 4)] == [0.5, 0.5]
    assert "<b>5 runs</b>" in texts(page)


@pytest.mark.usefixtures("api")
def test_a_sweep_takes_every_combination(open_page: OpenPage) -> None:
    """Two numbers and two choices are four combinations, one of which exists; too many are refused."""
    page = open_page("launch")
    widget(page, "sweep.entry.3").set_value(1).run()
    widget(page, "sweep.settings.hf").set_value(["damping", "cg_stop"]).run()
    widget(page, "sweep.values.hf.cg_stop").set_value(["iterations", "martens"]).run()
    widget(page, "sweep.values.hf.damping").set_value("0 1").run()
    widget(page, "sweep.add").click().run()
    assert not page.exception
    stops = [(widget(page, f"hf{i}.damping").value, widget(page, f"hf{i}.cg_stop").value) for i in (3, 4, 5)]
    assert stops == [(0, "martens"), (1, "iterations"), (1, "martens")]
    widget(page, "sweep.entry.6").set_value(1).run()
    widget(page, "sweep.values.hf.damping").set_value("0..1/40").run()
    assert widget(page, "sweep.add").disabled
    assert "you can add 26 more" in "".join(caption.value for caption in page.caption)


def test_the_same_with_another_optimizer_fills_the_form(api: BothClient, open_page: OpenPage) -> None:
    """A URL that names a run and an optimizer fills the form with that one, and says so in the name."""
    run = api.launch(SPEC.model_copy(update={"seeds": [3], "name": "first"})).runs[1]
    page = open_page("launch", query={"from": run.id, "optimizer": "bhf"})
    assert page.text_input(key="launch0.name").value == "first, with BHF"
    assert widget(page, "bhf0.max_cg_iterations").value == run.config.optimizer.model_dump()["max_cg_iterations"]
    assert "<b>1 run</b>" in texts(page)


@pytest.mark.usefixtures("api")
def test_layers_are_assigned_by_a_pattern(open_page: OpenPage) -> None:
    """Every layer whose name matches goes into the chosen block, the others stay where they are."""
    page = open_page("launch")
    scope = "bhf2.partition"
    widget(page, f"{scope}.kind").set_value("explicit").run()
    assert widget(page, f"{scope}.2.second").value == 2
    widget(page, f"{scope}.2.pattern").set_value("s*").run()
    widget(page, f"{scope}.2.pattern.assign").click().run()
    assert not page.exception
    assert [widget(page, f"{scope}.2.{layer}").value for layer in ("first", "second")] == [1, 1]


@pytest.mark.usefixtures("api")
def test_selected_layers_are_moved_together(open_page: OpenPage) -> None:
    """Every selected layer moves to the chosen block, the button counts them, and the selection is cleared."""
    page = open_page("launch")
    scope = "bhf2.partition"
    widget(page, f"{scope}.kind").set_value("explicit").run()
    for layer in ("first", "second"):
        widget(page, f"{scope}.tick.{layer}").check().run()
    widget(page, f"{scope}.2.into").set_value(2).run()
    assert widget(page, f"{scope}.2.pattern.assign").label == "Move 2 layers"
    widget(page, f"{scope}.2.pattern.assign").click().run()
    assert not page.exception
    assert [widget(page, f"{scope}.2.{layer}").value for layer in ("first", "second")] == [2, 2]
    assert widget(page, f"{scope}.2.pattern.assign").label == "Move"


def test_the_forms_settings_are_saved_picked_and_deleted(api: BothClient, open_page: OpenPage) -> None:
    """What the form holds comes back as it was; a deleted preset is offered no more, and comes back by its undo."""
    page = open_page("launch")
    widget(page, "hf1.damping").set_value(0.25).run()
    widget(page, "preset").set_value("Two <blocks>!").run()
    widget(page, "save").click().run()
    saved = api.preset("two-blocks")
    assert saved.title == "Two <blocks>!"
    assert [optimizer.kind for optimizer in saved.spec.optimizers] == ["adam", "hf", "bhf"]
    again = open_page("launch")
    start = again.selectbox(key="start0")
    assert start.options[0] == "Mine: Two <blocks>!"
    start.set_value("Mine: Two <blocks>!").run()
    assert again.number_input(key="launch1.hf1.damping").value == 0.25
    again.text_input(key="launch1.preset").set_value("two BLOCKS").run()
    assert again.button(key="launch1.save").label == "Replace"
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
    widget(page, "hf1.curvature_batch").set_value(1000).run()
    assert widget(page, "save").disabled


def test_a_comparison_is_started_from_under_its_new_name(api: BothClient, open_page: OpenPage) -> None:
    """A renamed comparison fills the form in with the name that it has now."""
    one = api.launch(SPEC)
    api.edit(one.id, name="Renamed")
    page = open_page("launch")
    page.selectbox(key="start0").set_value(f"Renamed ({one.id})").run()
    assert page.text_input(key="launch1.name").value == "Renamed"
    api.delete(one.id)


@pytest.mark.usefixtures("api")
def test_a_sweep_keeps_the_forms_blocks(open_page: OpenPage) -> None:
    """Every configuration of a sweep has the blocks that the form shows, not those that it began with."""
    page = open_page("launch")
    widget(page, "bhf2.partition.kind").set_value("layers").run()
    widget(page, "sweep.entry.3").set_value(2).run()
    widget(page, "sweep.settings.bhf").set_value(["damping"]).run()
    widget(page, "sweep.values.bhf.damping").set_value("0, 0.1, 0.2").run()
    widget(page, "sweep.add").click().run()
    assert [widget(page, f"bhf{i}.partition.kind").value for i in (3, 4)] == ["layers", "layers"]


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
    assert widget(page, "bhf0.partition.blocks").value == 1
    assert "1 blocks" in texts(page)


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
