"""Tests of what the client refuses before it is sent."""

from collections.abc import Callable

import httpx
import pytest

from backend.errors import InvalidInput
from tests.backend.samples import spec
from tests.clients import BothClient

UNSENT: list[tuple[Callable[[BothClient], object], str, str]] = [
    (lambda client: client.prioritize("somerun0", 1000), "priority", "less than or equal to 100"),
    (lambda client: client.prioritize("somerun0", -101), "priority", "greater than or equal to -100"),
    (lambda client: client.run(""), "run_id", "must be an id"),
    (lambda client: client.run("a/b"), "run_id", "must be an id"),
    (lambda client: client.wait([""], timeout=1), "run_id", "must be an id"),
    (lambda client: client.cancel("../x"), "run_id", "must be an id"),
    (lambda client: client.export(""), "run_id", "must be an id"),
    (lambda client: client.export_file("", "csv"), "run_id", "must be an id"),
    (lambda client: client.export_file("somerun0", "xlsx"), "kind", "must be one of csv, json, parquet"),
    (lambda client: client.weights(""), "run_id", "must be an id"),
    (lambda client: client.checkpoint(""), "run_id", "must be an id"),
    (lambda client: client.experiment(""), "experiment_id", "must be an id"),
    (lambda client: client.edit("", name="x"), "experiment_id", "must be an id"),
    (lambda client: client.delete(""), "experiment_id", "must be an id"),
    (lambda client: client.restore(""), "experiment_id", "must be an id"),
    (lambda client: client.paper(""), "experiment_id", "must be an id"),
    (lambda client: client.recorded_paper(""), "problem", "must be 1 to 64"),
    (lambda client: client.preset(""), "slug", "must be 1 to 64"),
    (lambda client: client.save_preset("A b", "t", spec()), "slug", "must be 1 to 64"),
    (lambda client: client.delete_preset(".."), "slug", "must be 1 to 64"),
    *(
        (lambda client, key=key: client.launch(spec(), idempotency_key=key), "idempotency_key", "1 to 200 visible")
        for key in ("", "x" * 201, "\u2603", "\xe9", "a\nb", " a")
    ),
    (lambda client: client.sweep(spec(), idempotency_key=""), "idempotency_key", "1 to 200 visible"),
]


@pytest.mark.parametrize(("call", "field", "limit"), UNSENT)
def test_what_cannot_be_asked_is_not_sent(call: Callable[[BothClient], object], field: str, limit: str) -> None:
    """An argument that no backend could take is named with its limit, before anything is sent."""
    sent: list[httpx.Request] = []

    def handle(request: httpx.Request) -> httpx.Response:
        sent.append(request)
        return httpx.Response(200)

    client = BothClient(http=httpx.Client(transport=httpx.MockTransport(handle), base_url="http://127.0.0.1"))
    with pytest.raises(InvalidInput) as caught:
        call(client)
    ((name, told),) = [(error.field, error.limit) for error in caught.value.errors]
    assert name == field
    assert limit in told
    assert sent == []
