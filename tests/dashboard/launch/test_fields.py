"""Fields of the contract as a form's knobs."""

from backend.schemas.base import Contract
from backend.schemas.experiments import Budget, Evaluation, Problem
from backend.schemas.optimizers import Adam, BlockHessianFree, HessianFree
from dashboard.launch.fields import knobs
from tests.dashboard.samples import WidthOptions


def test_every_field_that_a_widget_can_hold_is_a_knob() -> None:
    """No setting of the contract is left out of the form, but for those that have an editor of their own."""
    own_editor = {"kind", "partition", "options"}
    models: list[type[Contract]] = [Adam, HessianFree, BlockHessianFree, Budget, Evaluation, Problem]
    for model in models:
        assert [knob.name for knob in knobs(model)] == [name for name in model.model_fields if name not in own_editor]


def test_a_knob_carries_what_the_contract_says() -> None:
    """Type, default, unit, help, bounds and the paper's value come from the contract."""
    [batch] = [knob for knob in knobs(HessianFree) if knob.name == "max_cg_iterations"]
    assert (batch.kind, batch.default, batch.unit, batch.paper) == ("integer", 30, "iterations", 30)
    assert batch.limits == "at least 1, at most 10,000"
    assert batch.help == "conjugate gradient iterations per update and block, at most"
    assert not batch.optional


def test_a_field_that_may_be_empty_is_optional() -> None:
    """A union with null is an optional knob with the bounds of its other member."""
    [epochs] = [knob for knob in knobs(Budget) if knob.name == "epochs"]
    assert epochs.optional
    assert (epochs.kind, epochs.limits) == ("number", "more than 0, at most 100,000")


def test_an_enumeration_is_a_choice() -> None:
    """The members of an enumeration are the choices, though the schema keeps them elsewhere."""
    [stop] = [knob for knob in knobs(HessianFree) if knob.name == "cg_stop"]
    assert (stop.kind, stop.choices, stop.default) == ("choice", ("iterations", "residual", "martens"), "iterations")


def test_options_of_a_problem_are_knobs_too() -> None:
    """A problem's options come as a JSON schema and give the same kind of knob."""
    hidden, bias = knobs(WidthOptions.model_json_schema())
    assert (hidden.kind, hidden.unit, hidden.paper, bias.kind) == ("integer", "units", 1000, "switch")
