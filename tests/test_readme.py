"""Tests of README: it stays short, and its examples run."""

import re
from collections.abc import Iterator
from pathlib import Path
from threading import Event, Thread

import pytest
from httpx import Client as HttpClient

from backend.client import Client
from backend.schemas.api import Claim
from backend.schemas.runs import RunStatus
from backend.settings import Settings
from tests.backend.samples import INFO, update
from tests.clients import BothClient
from tests.documents import PAGES, README, blocks, name_of, prose
from tests.inprocess import backend
from worker.problems.registry import discover

MAX_LINES = 120
MAX_SENTENCE = 35
MAX_PARAGRAPH = 60
CLIENT_BLOCKS = {
    f"{name_of(page)}-{number}": code
    for page in PAGES
    for number, code in enumerate(blocks(page, "python"))
    if "backend.client" in code
}


def test_readme_is_short() -> None:
    """It has at most 120 lines, 35 words per sentence and 60 words per paragraph."""
    assert len(README.read_text().splitlines()) <= MAX_LINES
    paragraphs = prose(README)
    sentences = [sentence for part in paragraphs for sentence in re.split(r"(?<=[.!?])\s", part)]
    assert [part for part in paragraphs if len(part.split()) > MAX_PARAGRAPH] == []
    assert [sentence for sentence in sentences if len(sentence.split()) > MAX_SENTENCE] == []


@pytest.fixture
def http(tmp_path: Path) -> Iterator[HttpClient]:
    """Start the application with a worker that announces the built-in problems."""
    with backend(Settings(home=tmp_path)) as http:
        yield http


def report(client: BothClient, claim: Claim) -> None:
    """Report the updates of a run's budget, as a worker does."""
    run, number = claim.run, claim.claim_number
    client.start(run.id, number, environment={"device": "cpu"}, blocks=run.blocks, parameters=1)
    rows = [update(n) for n in range(1, (run.config.budget.updates or 1) + 1)]
    client.append(run.id, number, rows)
    client.finish(run.id, number, RunStatus.FINISHED)


@pytest.mark.parametrize("name", CLIENT_BLOCKS)
def test_client_examples_run(
    name: str, http: HttpClient, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Each example for the Python client runs to its last line, which prints something."""
    client = BothClient(http=http)
    worker = client.register(INFO, discover().catalog()).worker_id
    done = Event()

    def work() -> None:
        while not done.wait(0.01):
            while claim := client.claim(worker):
                report(client, claim)

    class Local(Client):
        def __init__(self, url: str) -> None:
            assert url == "http://127.0.0.1:8700"
            super().__init__(http=http)

        def close(self) -> None:
            """Leave the connections open for the worker."""

    monkeypatch.setattr("backend.client.Client", Local)
    thread = Thread(target=work)
    thread.start()
    try:
        exec(compile(CLIENT_BLOCKS[name], name, "exec"), {"__name__": "__main__"})
    finally:
        done.set()
        thread.join()
    assert capsys.readouterr().out
