"""Tests of the experiments' routes."""

import httpx

from backend.client import Client
from tests.backend.samples import spec

BODY = spec().model_dump(mode="json")


def test_launch_answers_that_it_is_queued(http: httpx.Client, worker: str) -> None:
    """A launch is a 202, and repeating it with its key gives the same experiment."""
    assert worker
    answers = [http.post("/api/v1/experiments", json=BODY, headers={"Idempotency-Key": "k"}) for _ in range(2)]
    assert [answer.status_code for answer in answers] == [202, 202]
    assert answers[0].json() == answers[1].json()
    changed = http.post("/api/v1/experiments", json=BODY | {"name": "b"}, headers={"Idempotency-Key": "k"})
    assert (changed.status_code, changed.json()["type"]) == (409, "urn:blockhf:conflict")


def test_launches_without_a_key_are_separate(http: httpx.Client, client: Client, worker: str) -> None:
    """Without a key every launch is a new one."""
    assert worker
    ids = {http.post("/api/v1/experiments", json=BODY).json()["id"] for _ in range(2)}
    assert {made.id for made in client.experiments()} == ids
    assert len(ids) == 2


def test_bad_blocks_are_refused_with_their_place(http: httpx.Client, client: Client, worker: str) -> None:
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


def test_before_a_worker_came(http: httpx.Client) -> None:
    """Without a catalog a launch is a 503 that says what is missing."""
    answer = http.post("/api/v1/experiments", json=BODY)
    assert (answer.status_code, answer.json()["type"]) == (503, "urn:blockhf:no-worker")
