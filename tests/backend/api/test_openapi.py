"""Tests of the API's description: complete, with examples that are valid."""

from typing import Any

import httpx
import pytest
from jsonschema import Draft202012Validator
from referencing import Registry
from referencing.jsonschema import DRAFT202012

from tests.inprocess import api_description

DOCUMENT = api_description()
OPERATIONS = {
    f"{method.upper()} {path}": operation
    for path, operations in DOCUMENT["paths"].items()
    for method, operation in operations.items()
}
REGISTRY: Registry[Any] = Registry().with_resource("urn:api", DRAFT202012.create_resource(DOCUMENT))


def contents(operation: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """List the media types of the request and of every answer."""
    found: dict[str, dict[str, Any]] = {}
    if "requestBody" in operation:
        found |= {f"body {kind}": content for kind, content in operation["requestBody"]["content"].items()}
    for status, answer in operation["responses"].items():
        found |= {f"{status} {kind}": content for kind, content in answer.get("content", {}).items()}
    return found


def test_the_description_is_served(http: httpx.Client) -> None:
    """The OpenAPI document is under the prefix of the API."""
    assert http.get("/api/v1/openapi.json").json() == DOCUMENT


@pytest.mark.parametrize("name", OPERATIONS)
def test_every_call_is_described(name: str) -> None:
    """A call has a sentence, a good answer with an example, and the errors that it may answer with."""
    operation = OPERATIONS[name]
    assert operation["description"]
    found = contents(operation)
    good = {place for place in found if place.startswith(("body", "2"))}
    assert good or "204" in operation["responses"]
    assert all("example" in found[place] for place in good)
    assert {"400", "403", "413", "422"} <= set(operation["responses"])
    bad = {place for place in found if place.startswith(("4", "5"))}
    assert bad
    assert all(place.endswith(" application/problem+json") for place in bad)


@pytest.mark.parametrize("name", OPERATIONS)
def test_every_example_is_valid(name: str) -> None:
    """An example follows the schema beside it."""
    for place, content in contents(OPERATIONS[name]).items():
        if "example" in content:
            schema = content["schema"]
            if "$ref" in schema:
                schema = {"$ref": f"urn:api{schema['$ref']}"}
            errors = list(Draft202012Validator(schema, registry=REGISTRY).iter_errors(content["example"]))
            assert errors == [], place


def test_settings_carry_their_unit() -> None:
    """Bounds, default, unit and help of a setting are in the description."""
    setting = DOCUMENT["components"]["schemas"]["HessianFree"]["properties"]["max_cg_iterations"]
    assert (setting["minimum"], setting["maximum"], setting["default"], setting["unit"]) == (
        1,
        10_000,
        30,
        "iterations",
    )
    assert setting["description"]
