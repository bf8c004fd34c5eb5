"""Tests of the experiments' routes."""

from collections.abc import Sequence
from typing import Any

import httpx
import pytest
from sqlalchemy import Connection, Row

from backend.experiments import experiments
from backend.schemas.runs import Experiment
from tests.backend.samples import spec
from tests.clients import BothClient

BODY = spec().model_dump(mode="json")


def test_launch_answers_that_it_is_queued(http: httpx.Client, worker: str) -> None:
    """A launch is a 202, and repeating it with its key gives the same experiment."""
    assert worker
    answers = [http.post("/api/v1/experiments", json=BODY, headers={"Idempotency-Key": "k"}) for _ in range(2)]
    assert [answer.status_code for answer in answers] == [202, 202]
    assert answers[0].json() == answers[1].json()
    changed = http.post("/api/v1/experiments", json=BODY | {"name": "b"}, headers={"Idempotency-Key": "k"})
    assert (changed.status_code, changed.json()["type"]) == (409, "urn:blockhf:conflict")


def test_launches_without_a_key_are_separate(http: httpx.Client, client: BothClient, worker: str) -> None:
    """Without a key every launch is a new one."""
    assert worker
    ids = {http.post("/api/v1/experiments", json=BODY).json()["id"] for _ in range(2)}
    assert {made.id for made in client.experiments()} == ids
    assert len(ids) == 2


def test_bad_blocks_are_refused_with_their_place(http: httpx.Client, client: BothClient, worker: str) -> None:
    """An unknown layer is named with its path in the request, and nothing is queued."""
    assert worker
    blocks = [["encoder.0", "encoder.2"], ["decoder.0", "decoder.2", "decoder.9"]]
    optimizer = {"kind": "bhf", "gradient_batch": 10, "curvature_batch": 5}
    body = BODY | {"optimizers": [optimizer | {"partition": {"kind": "explicit", "blocks": blocks}}]}
    for path in ("/api/v1/experiments", "/api/v1/experiments/check"):
        answer = http.post(path, json=body)
        assert answer.status_code == 422
        (error,) = answer.json()["errors"]
        assert (error["field"], error["value"]) == ("optimizers.0.partition.blocks.1.2", "decoder.9")
        assert error["limit"] == "no such layer; the layers are encoder.0, encoder.2, decoder.0, decoder.2"
    assert client.experiments() == []


def test_a_list_is_made_piece_by_piece(
    http: httpx.Client, client: BothClient, worker: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A long list is as a short one, whole and in order, and is never held as a whole while it is made."""
    assert worker
    made = [client.launch(spec(name=f"n{n}")).id for n in range(13)]
    held: list[int] = []
    reading = experiments._experiments

    def counted(connection: Connection, rows: Sequence[Row[Any]]) -> list[Experiment]:
        held.append(len(rows))
        return reading(connection, rows)

    monkeypatch.setattr(experiments, "_experiments", counted)
    for limit in (50, 1000):
        answer = http.get("/api/v1/experiments", params={"limit": limit}).json()
        assert [one["id"] for one in answer["experiments"]] == made[::-1]
    assert held == [5, 5, 3] * 2
    assert answer["experiments"][0] == http.get(f"/api/v1/experiments/{made[-1]}").json()
    assert http.get("/api/v1/experiments", params={"tag": "nobody"}).json() == {"experiments": []}


def test_before_a_worker_came(http: httpx.Client) -> None:
    """Without a catalog a launch is a 503 with the reason."""
    answer = http.post("/api/v1/experiments", json=BODY)
    assert (answer.status_code, answer.json()["type"]) == (503, "urn:blockhf:no-worker")


@pytest.mark.parametrize(
    ("body", "field", "limit"),
    [
        ({"name": ""}, "name", "at least 1 character"),
        ({"name": "x" * 121}, "name", "at most 120 characters"),
        ({"note": "x" * 10_001}, "note", "at most 10000 characters"),
        ({"note": "a\u0000b"}, "note", "match pattern"),
        ({"note": "a\u202eb"}, "note", "match pattern"),
        ({"tags": ["Not A Slug"]}, "tags.0", "match pattern"),
        ({"tags": ["twice", "twice"]}, "tags", "tags must be unique"),
        ({"tags": [f"t{i}" for i in range(21)]}, "tags", "at most 20 items"),
        ({"archived": "perhaps"}, "archived", "valid boolean"),
        ({"deleted_at": None}, "deleted_at", "not permitted"),
    ],
)
def test_bad_changes_are_refused(
    http: httpx.Client, client: BothClient, worker: str, body: dict[str, object], field: str, limit: str
) -> None:
    """The error names field and limit, and nothing is changed."""
    assert worker
    made = client.launch(spec())
    answer = http.patch(f"/api/v1/experiments/{made.id}", json=body)
    assert answer.status_code == 422
    (error,) = answer.json()["errors"]
    assert error["field"] == field
    assert limit in error["limit"]
    assert client.experiment(made.id) == made


def test_the_longest_note_is_kept(http: httpx.Client, client: BothClient, worker: str) -> None:
    """10,000 characters with line ends and tabs come back as they were."""
    assert worker
    made = client.launch(spec())
    note = "line\r\n\tmore \U0001f4a5 <script>".ljust(10_000, ".")
    assert http.patch(f"/api/v1/experiments/{made.id}", json={"note": note}).json()["note"] == note
    assert http.get("/api/v1/experiments?tag=Not%20A%20Slug").status_code == 422
    assert http.get("/api/v1/experiments?archived=true").json()["experiments"][0]["note"] == note
