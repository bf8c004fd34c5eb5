"""Settings of a model or of a JSON schema."""

from backend.schemas.base import Contract, setting
from backend.schemas.experiments import Budget, Evaluation, Problem
from backend.schemas.fields import setting_fields
from backend.schemas.optimizers import Adam, BlockHessianFree, HessianFree


class WidthOptions(Contract):
    """Options of a problem."""

    hidden: int = setting(10, "width of the hidden layer", unit="units", ge=1, le=4096, paper=1000)
    bias: bool = setting(True, "whether layers have a bias")


def test_every_setting_has_a_kind() -> None:
    """No setting of the contract is left out of the form, but for those that have an editor of their own."""
    own_editor = {"kind", "partition", "options"}
    models: list[type[Contract]] = [Adam, HessianFree, BlockHessianFree, Budget, Evaluation, Problem]
    for model in models:
        names = [field.name for field in setting_fields(model) if field.kind]
        assert names == [name for name in model.model_fields if name not in own_editor]


def test_a_setting_has_what_the_schema_declares() -> None:
    """Type, default, unit, help, bounds and the paper's value come from the contract."""
    [batch] = [field for field in setting_fields(HessianFree) if field.name == "max_cg_iterations"]
    assert (batch.kind, batch.default, batch.unit, batch.paper) == ("integer", 30, "iterations", 30)
    assert batch.limits == "at least 1, at most 10,000"
    assert batch.help == "maximum number of conjugate gradient (CG) iterations per update and block"
    assert not batch.optional


def test_a_field_that_may_be_empty_is_optional() -> None:
    """A union with null is an optional setting with the bounds of its other member."""
    [epochs] = [field for field in setting_fields(Budget) if field.name == "epochs"]
    assert epochs.optional
    assert (epochs.kind, epochs.limits) == ("number", "more than 0, at most 100,000")


def test_an_enumeration_is_a_choice() -> None:
    """The members of an enumeration are the choices, though the schema keeps them elsewhere."""
    [stop] = [field for field in setting_fields(HessianFree) if field.name == "cg_stop"]
    assert (stop.kind, stop.choices, stop.default) == ("choice", ("iterations", "residual", "martens"), "iterations")


def test_options_of_a_problem_are_settings_too() -> None:
    """A problem's options come as a JSON schema and give the same kind of record."""
    hidden, bias = setting_fields(WidthOptions.model_json_schema())
    assert (hidden.kind, hidden.unit, hidden.paper, bias.kind) == ("integer", "units", 1000, "switch")
