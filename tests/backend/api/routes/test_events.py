"""Tests of server-sent events as a browser sees them."""

import json
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from backend.client import Client
from backend.schemas.api import Claim
from backend.security.tokens import Scope, Tokens
from tests.backend.samples import INFO, catalog, spec, updates
from tests.processes import Processes

Event = tuple[str, str, dict[str, object]]


def parsed(text: str) -> list[Event]:
    """Read a stream: event, id and data of each message."""
    events = []
    for message in text.split("\n\n"):
        fields = dict(line.split(": ", 1) for line in message.splitlines() if not line.startswith(":"))
        if "data" in fields:
            events.append((fields["event"], fields["id"], json.loads(fields["data"])))
    return events


def test_a_finished_run_is_told_and_ends(http: httpx.Client, client: Client, claim: Claim) -> None:
    """The rows come as /series gives them, then the end; who knows it all gets 204, so that a browser stops asking."""
    run_id = claim.run.id
    client.append(run_id, claim.token, updates(1, 30))
    client.finish(run_id, claim.token, "finished")
    answer = http.get(f"/api/v1/events?runs={run_id}")
    assert answer.headers["Content-Type"].startswith("text/event-stream")
    assert answer.headers["Cache-Control"] == "no-store"
    (rows, end) = parsed(answer.text)
    assert (rows[0], end[0]) == ("rows", "end")
    assert rows[2] == http.get(f"/api/v1/series?runs={run_id}").json()
    for known in (rows[1], end[1]):
        again = http.get(f"/api/v1/events?runs={run_id}", headers={"Last-Event-ID": known})
        assert (again.status_code, again.content) == (204, b"")


def test_a_stream_goes_on_after_an_event(http: httpx.Client, client: Client, claim: Claim) -> None:
    """With the id of an event, only what came after it is sent."""
    run_id = claim.run.id
    client.append(run_id, claim.token, updates(1, 30))
    client.finish(run_id, claim.token, "finished")
    ((_, name, _), _) = parsed(http.get(f"/api/v1/events?runs={run_id}").text)
    attempt, _, _ = name.split(".")
    answer = http.get(f"/api/v1/events?runs={run_id}", headers={"Last-Event-ID": f"{attempt}.12.1"})
    (rows, end) = parsed(answer.text)
    assert rows[2]["runs"][run_id]["update"] == list(range(13, 31))  # type: ignore[index] # JSON
    assert end[1] == name


def test_an_experiment_is_its_runs(http: httpx.Client, client: Client, worker: str) -> None:
    """All runs of an experiment are followed."""
    made = client.launch(spec())
    while claim := client.claim(worker):
        client.append(claim.run.id, claim.token, updates(1, 3))
        client.finish(claim.run.id, claim.token, "finished")
    events = parsed(http.get(f"/api/v1/events?experiment={made.id}").text)
    told = {run_id for event in events if event[0] == "rows" for run_id in event[2]["runs"]}  # type: ignore[attr-defined] # JSON
    assert told == {run.id for run in made.runs}


@pytest.mark.parametrize(
    ("query", "name", "status"),
    [
        ("", None, 422),
        ("runs=somerun00&queue=1", None, 422),
        ("runs=somerun00", None, 404),
        ("experiment=someexperiment", None, 404),
        ("runs=somerun00", "1.1.1-1.1.1", 422),
        ("runs=somerun00", "1.1.9", 422),
        ("runs=somerun00", "x", 422),
        ("runs=somerun00", "1.1", 422),
        ("runs=somerun00", "", 422),
    ],
)
def test_what_cannot_be_followed(http: httpx.Client, query: str, name: str | None, status: int) -> None:
    """Nothing, too much, what does not exist, and another stream's id are errors before the stream begins."""
    headers = {} if name is None else {"Last-Event-ID": name}
    assert http.get(f"/api/v1/events?{query}", headers=headers).status_code == status


@pytest.fixture
def processes(tmp_path: Path) -> Iterator[Processes]:
    """Run a real backend."""
    running = Processes(tmp_path)
    yield running
    running.stop()


def test_rows_come_while_a_run_trains(processes: Processes) -> None:
    """Over a real socket each batch arrives without being asked for; a viewer that leaves disturbs nobody."""
    client = processes.client
    worker = client.register(INFO, catalog()).worker_id
    client.launch(spec())
    claim = client.claim(worker)
    assert claim is not None
    address, path = processes.backend_url, f"/api/v1/events?runs={claim.run.id}"
    with httpx.stream("GET", address + path, timeout=10, trust_env=False) as leaving:
        next(leaving.iter_text())
    with (
        httpx.stream("GET", address + path, timeout=10, trust_env=False) as rows,
        httpx.stream("GET", f"{address}/api/v1/events?queue=1", timeout=10, trust_env=False) as queue,
    ):
        texts, states = rows.iter_text(), queue.iter_text()
        for n in range(5):
            client.append(claim.run.id, claim.token, updates(n * 10 + 1, n * 10 + 10))
            until(texts, f'"last_update":{n * 10 + 10}')
        client.finish(claim.run.id, claim.token, "finished")
        until(texts, "event: end")
        until(states, '"finished":1')


def until(texts: Iterator[str], words: str) -> None:
    """Read on until some words have come."""
    deadline = time.monotonic() + 20
    seen = ""
    while words not in seen:
        assert time.monotonic() < deadline, seen
        seen += next(texts)


OWNER = "a-token-of-the-environment"


def test_a_stream_ends_with_its_token(tmp_path: Path) -> None:
    """Once its token is deleted nothing more arrives by a stream, of runs or of the queue, and it has no `end`."""
    processes = Processes(tmp_path, TOKEN=OWNER)
    tokens = Tokens(processes.settings())
    owner = {"Authorization": f"Bearer {OWNER}"}
    try:
        with (
            Client(processes.backend_url, headers=owner) as client,
            httpx.Client(base_url=processes.backend_url, timeout=60) as http,
        ):
            worker = client.register(INFO, catalog()).worker_id
            run = client.launch(spec()).runs[0]
            claim = client.claim(worker)
            assert claim is not None
            for n, query in enumerate((f"runs={run.id}", "queue=1"), start=1):
                reader = {"Authorization": f"Bearer {tokens.create('reader', frozenset({Scope.READ}))}"}
                with http.stream("GET", f"/api/v1/events?{query}", headers=reader) as answer:
                    texts = answer.iter_text()
                    client.append(run.id, claim.token, updates(2 * n - 1, 2 * n - 1))
                    until(texts, "event: ")
                    tokens.delete("reader")
                    client.append(run.id, claim.token, updates(2 * n, 2 * n))
                    client.prioritize(run.id, n)
                    rest = "".join(texts)
                assert "event: end" not in rest
                assert f'"update":[{2 * n}]' not in rest
    finally:
        processes.stop()
