"""Tests of errors as problem details: whatever is sent, the answer is a clear 4xx."""

import json
import logging
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from backend.api.services import Services
from backend.settings import Settings
from tests.backend.samples import spec
from tests.inprocess import backend

JSON = {"Content-Type": "application/json"}
SPEC = spec().model_dump(mode="json")
CALLS = ["/experiments", "/experiments/check", "/workers"]
REPORTS = ["heartbeat", "start", "updates", "finish"]


@pytest.fixture(scope="module")
def http(tmp_path_factory: pytest.TempPathFactory) -> Iterator[httpx.Client]:
    """Start one application for all of these tests, which do not change it."""
    with backend(Settings(home=tmp_path_factory.mktemp("home"))) as http:
        yield http


def post(http: httpx.Client, path: str, content: bytes | str) -> httpx.Response:
    """Send a raw body."""
    return http.post(f"/api/v1{path}", content=content, headers=JSON)


def assert_problem(answer: httpx.Response, *statuses: int) -> dict[str, Any]:
    """Check that an answer is problem details with one of the statuses; return them."""
    assert answer.headers["Content-Type"] == "application/problem+json"
    problem: dict[str, Any] = answer.json()
    assert answer.status_code == problem["status"]
    assert answer.status_code in statuses
    assert problem["type"].startswith("urn:blockhf:")
    assert problem["title"]
    return problem


@pytest.mark.parametrize("path", [*CALLS, *(f"/runs/somerun0/{report}" for report in REPORTS)])
@pytest.mark.parametrize("content", ["", "{", "[]", "null", "3", '"text"', "{}", "\x00", "{'a': 1}", "[" * 100_000])
def test_malformed_bodies_are_refused(http: httpx.Client, path: str, content: str) -> None:
    """A body that is not JSON, not an object or nested too deeply is a 4xx with the reason."""
    assert_problem(post(http, path, content), 400, 422)


def test_broken_json_names_the_place(http: httpx.Client) -> None:
    """The error names the problem and position in the JSON."""
    (error,) = assert_problem(post(http, "/experiments", '{"name": "a'), 422)["errors"]
    assert error == {"field": "body", "value": None, "limit": "not JSON: Unterminated string starting at character 9"}


@pytest.mark.parametrize(
    ("text", "field", "value"),
    [
        ('{"seeds": [NaN]}', "seeds.0", "nan"),
        ('{"seeds": [18446744073709551616]}', "seeds.0", "18446744073709551616"),
        ('{"seeds": ["1x"]}', "seeds.0", "1x"),
        ('{"seeds": [0, 0]}', "seeds", "[0, 0]"),
        ('{"optimizers": [{"kind": "adam", "learning_rate": NaN}]}', "optimizers.0.learning_rate", "nan"),
        ('{"optimizers": [{"kind": "adam", "learning_rate": 1e999}]}', "optimizers.0.learning_rate", "inf"),
        ('{"optimizers": [{"kind": "adam", "learning_rate": 1%s}]}' % ("0" * 400), "optimizers.0.learning_rate", None),
        ('{"optimizers": [{"kind": "adam", "nope": 1}]}', "optimizers.0.nope", 1),
        ('{"optimizers": [{"kind": "rprop"}]}', "optimizers.0", "{'kind': 'rprop'}"),
        (
            '{"optimizers": [{"kind": "hf", "gradient_batch": 9, "curvature_batch": 9}]}',
            "optimizers.0.curvature_batch",
            9,
        ),
        ('{"problem": {"options": {"hidden": Infinity}}}', "problem.options.hidden", None),
        ('{"budget": {"updates": null}}', "budget", "{'updates': None}"),
        ('{"name": "\\ud800"}', "name", None),
        ('{"name": ""}', "name", ""),
        ('{"unknown": 5}', "unknown", 5),
        ('{"device": "cuda:x"}', "device", "cuda:x"),
    ],
)
def test_bad_values_are_named(http: httpx.Client, text: str, field: str, value: Any) -> None:
    """NaN, infinity, huge integers, unknown fields and kinds get a 422 that names field and value."""
    named = assert_problem(post(http, "/experiments/check", text), 422)["errors"]
    error = next(error for error in named if error["field"].startswith(field))
    assert value is None or error["value"] == value
    assert error["limit"]


def test_values_are_not_echoed_at_length(http: httpx.Client) -> None:
    """An error does not send a megabyte back."""
    answer = post(http, "/experiments", '{"name": "%s"}' % ("x" * 500_000))
    assert_problem(answer, 422)
    assert len(answer.content) < 5_000


def test_a_missing_field_is_named(http: httpx.Client) -> None:
    """A field that must be there and is not is named without a value."""
    errors = assert_problem(post(http, "/experiments", "{}"), 422)["errors"]
    assert errors == [{"field": "optimizers", "value": None, "limit": "Field required"}]


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ("/runs?limit=0", "limit"),
        ("/runs?limit=99999999999999999999999", "limit"),
        ("/runs?status=lost", "status"),
        ("/runs?before=../etc", "before"),
        ("/experiments?limit=x", "limit"),
        ("/series", "runs"),
        ("/series?runs=a", "runs"),
        ("/series?runs=somerun0,", "runs"),
        ("/series?runs=somerun0&after=1,2", "after"),
        ("/series?runs=somerun0&after=-1", "after"),
        ("/series?runs=somerun0&bucket=3", "bucket"),
        ("/series?runs=somerun0&bucket=2097152", "bucket"),
        ("/series?runs=somerun0&bucket=2&blocks=1", "blocks"),
        ("/series?runs=somerun0&fields=cost,nope", "fields"),
        ("/runs/UPPERCASE", "run_id"),
        ("/runs/a", "run_id"),
        ("/experiments/%00%00%00%00%00%00%00%00", "experiment_id"),
    ],
)
def test_bad_queries_are_named(http: httpx.Client, query: str, field: str) -> None:
    """A query or path that is out of bounds gets a 422 that names the parameter."""
    errors = assert_problem(http.get(f"/api/v1{query}"), 422)["errors"]
    assert [error["field"] for error in errors] == [field]


def test_a_bad_key_is_named(http: httpx.Client) -> None:
    """An idempotency key has a length."""
    answer = http.post("/api/v1/experiments", json=SPEC, headers={"Idempotency-Key": "k" * 201})
    assert assert_problem(answer, 422)["errors"][0]["field"] == "Idempotency-Key"


@pytest.mark.parametrize(
    "path", ["/nowhere", "/api/v1/nowhere", "/api/v1/runs/somerun0", "/api/v1/runs/..%2f..%2fetc%2fpasswd", "/docs"]
)
def test_unknown_places_are_not_found(http: httpx.Client, path: str) -> None:
    """What does not exist is a 404, whatever its name."""
    assert_problem(http.get(path), 404)


def test_other_methods_are_not_allowed(http: httpx.Client) -> None:
    """A method that a path does not have is a 405 that names those it has."""
    answer = http.delete("/api/v1/runs")
    assert_problem(answer, 405)
    assert answer.headers["Allow"] == "GET"


def test_our_own_mistakes_hide_their_details(
    http: httpx.Client, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """An unexpected error is a 500 with an ID; its traceback is only in the log, under that ID."""

    def broken(_store: Services) -> None:
        raise RuntimeError("secret")

    monkeypatch.setattr("backend.queue.workers.Workers.catalog", broken)
    with caplog.at_level(logging.ERROR):
        problem = assert_problem(http.get("/api/v1/catalog"), 500)
    assert "secret" not in str(problem)
    name = problem["title"].split("reference ")[1].split(",")[0]
    (record,) = [record for record in caplog.records if name in record.getMessage()]
    assert "secret" in str(record.exc_info)


LEAVES = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=10)
ANYTHING = st.recursive(
    LEAVES, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4)
)


@settings(max_examples=120, deadline=None)
@given(document=ANYTHING, field=st.sampled_from(sorted(SPEC)), path=st.sampled_from(CALLS[:2]))
def test_anything_in_a_field_is_a_clear_answer(http: httpx.Client, document: Any, field: str, path: str) -> None:
    """No JSON value in a field of a comparison causes a server error."""
    answer = post(http, path, json.dumps(SPEC | {field: document}))
    assert_problem(answer, 422, 503)  # 503 is its good end here: no worker has registered
