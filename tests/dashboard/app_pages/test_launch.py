"""The launch page, without a browser."""

from typing import Any

import pytest
from streamlit.testing.v1 import AppTest

from backend.client import Client
from dashboard.knobs import knobs
from dashboard.optimizers import MODELS
from tests.dashboard.conftest import OpenPage
from tests.dashboard.samples import SPEC


def widget(page: AppTest, key: str) -> Any:
    """Find a widget of the form."""
    return next(
        found
        for kind in ("number_input", "text_input", "selectbox", "toggle", "button_group", "button")
        for found in page.get(kind)
        if getattr(found, "key", None) == f"launch0.{key}"
    )


def texts(page: AppTest) -> str:
    """Return all that is written as HTML."""
    return "\n".join(found.proto.body for found in page.get("html"))


@pytest.mark.usefixtures("api")
def test_every_knob_is_drawn_with_the_presets_value(open_page: OpenPage) -> None:
    """Each optimizer's card holds every knob of the contract, at the value of the problem's preset."""
    page = open_page("launch")
    for position, optimizer in enumerate(SPEC.optimizers):
        for knob in knobs(MODELS[optimizer.kind]):
            held = widget(page, f"{optimizer.kind}{position}.{knob.name}")
            assert held.value == getattr(optimizer, knob.name)
            if knob.paper is not None:
                assert f"(paper: {knob.paper:g})" in held.label


def test_it_says_what_will_be_queued(api: Client, open_page: OpenPage) -> None:
    """Runs and parameters are counted before the button, for all seeds, and nothing is queued by looking."""
    before = len(api.experiments())
    page = open_page("launch")
    widget(page, "seeds").set_value("0-4").run()
    assert "<b>15 runs</b> of a network with <b>83</b> parameters" in texts(page)
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
    assert "the same optimizer with the same settings stands there twice" in texts(page)
    widget(page, "adam3.learning_rate").set_value(0.01).run()
    assert "<b>4 runs</b>" in texts(page)
    widget(page, "remove.adam3").click().run()
    assert "<b>3 runs</b>" in texts(page)


def test_without_a_backend_the_page_says_so(open_page: OpenPage) -> None:
    """A backend that cannot be reached is named as the reason."""
    page = open_page("launch", url="http://127.0.0.1:9")
    assert "cannot be reached" in page.warning[0].value


@pytest.mark.usefixtures("api")
def test_a_sweep_adds_a_configuration_per_value(open_page: OpenPage) -> None:
    """Each value of a setting becomes a configuration that is otherwise the same."""
    page = open_page("launch")
    widget(page, "hf1.momentum").set_value(0.5).run()
    widget(page, "sweep.entry.3").set_value(1).run()
    widget(page, "sweep.knob.hf").set_value("damping").run()
    widget(page, "sweep.values").set_value("0, 0.1, 1").run()
    assert widget(page, "sweep.add").label == "Add 2 configurations"
    widget(page, "sweep.add").click().run()
    assert [widget(page, f"hf{i}.damping").value for i in (3, 4)] == [0.1, 1.0]
    assert [widget(page, f"hf{i}.momentum").value for i in (3, 4)] == [0.5, 0.5]
    assert "<b>5 runs</b>" in texts(page)


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
