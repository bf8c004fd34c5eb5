"""Tests of the tree of exceptions."""

import pytest
from pydantic import ValidationError

from backend import errors
from backend.errors import BlockHFError, FieldError, InvalidInput, LeaseLost, from_validation
from backend.schemas.optimizers import Adam


def tree(kind: type[BlockHFError]) -> list[type[BlockHFError]]:
    """List a class and those below it, as far as this file defines them."""
    children = [child for child in kind.__subclasses__() if child.__module__ == errors.__name__]
    return [kind, *(below for child in children for below in tree(child))]


def test_every_error_has_its_code_and_is_drawn() -> None:
    """Codes are unique, and the tree at the top of the file shows each error with its status."""
    kinds = tree(BlockHFError)
    assert len({kind.code for kind in kinds}) == len(kinds)
    assert errors.__doc__ is not None
    drawn = {
        words[0]: int(words[1])
        for line in errors.__doc__.splitlines()
        if len(words := line.strip("│├└─ ").split()) > 1 and words[1].isdigit()
    }
    assert drawn == {kind.__name__: kind.status for kind in kinds}


def test_a_body_tells_what_is_wrong() -> None:
    """Problem details have code, sentence and status; invalid input also the fields."""
    assert LeaseLost("gone").body() == {"type": "urn:blockhf:lease-lost", "title": "gone", "status": 409}
    body = InvalidInput([FieldError("a.b", 3, "at most 2"), FieldError("c", None, "is needed")]).body()
    assert body["title"] == "a.b is 3: at most 2; c is None: is needed"
    assert body["errors"][0] == {"field": "a.b", "value": 3, "limit": "at most 2"}


def test_values_are_shown_short() -> None:
    """A value that is long, or no number of JSON, is shown as short text; one that is missing is not shown."""
    with pytest.raises(ValidationError) as caught:
        Adam.model_validate({"learning_rate": float("inf"), "gradient_batch": 10**40, "beta1": "x" * 999, "eps": True})
    values = {error.field: error.value for error in from_validation(caught.value, ("optimizers", "0", "adam")).errors}
    assert values["optimizers.0.learning_rate"] == "inf"
    assert values["optimizers.0.gradient_batch"] == str(10**40)
    assert len(values["optimizers.0.beta1"]) == 201
