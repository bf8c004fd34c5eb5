"""Tests of large responses: complete, in pieces, broken where they cannot be completed, and never held in memory."""

import socket
import tracemalloc
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from threading import Thread

import httpx
import orjson
import pyarrow
import pytest
import uvicorn
from anyio import CapacityLimiter
from fastapi.responses import StreamingResponse
from sqlalchemy import text
from starlette.types import Receive, Scope, Send

from backend.api import exports, file_responses
from backend.api.exports import to_csv, to_json, to_parquet, to_series
from backend.api.file_responses import OpenFileResponse, respond
from backend.errors import RunChanged
from backend.metrics import reader
from backend.metrics.reader import Reading
from backend.queue.rollback import roll_back
from backend.schemas.api import Claim
from backend.schemas.runs import Run
from backend.storage.run_rows import run_number
from tests.backend.samples import updates
from tests.backend.scene import Scene
from tests.clients import BothClient

KINDS: dict[str, Callable[[Run, Reading], Iterator[bytes]]] = {
    "csv": lambda _run, reading: to_csv(reading),
    "json": to_json,
    "parquet": to_parquet,
    "series": lambda _run, reading: to_series([reading], with_blocks=True),
}
ROWS = 200_000
FIELDS = ["seconds", "train_loss", "test_loss"]
MANY = """
    WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < :rows)
    INSERT INTO updates (run, "update", epoch, samples, seconds, cost, diverged, train_loss, test_loss, gradient_norm)
    SELECT :run, i, i / 7.0, i * 10, i / 3.0, i / 9.0, 0, 100.0 / i, 90.0 / i, 1.0 / i FROM n
"""


def test_only_what_is_large_is_sent_in_pieces() -> None:
    """Below a piece's length the content is sent whole, with its length; from there on it is streamed."""
    limiter = CapacityLimiter(1)
    small = respond([b"a" * 1000] * 2, limiter, media_type="text/csv")
    assert (int(small.headers["Content-Length"]), small.body) == (2000, b"a" * 2000)
    large = respond([bytes(file_responses.CHUNK)], limiter, media_type="text/csv")
    assert isinstance(large, StreamingResponse)
    assert "Content-Length" not in large.headers


@pytest.mark.parametrize("path", ["series?runs={id}", "export.csv", "export.json", "export.parquet"])
@pytest.mark.parametrize("chunk", [1, 100])
def test_pieces_are_the_whole(
    http: httpx.Client, client: BothClient, claim: Claim, monkeypatch: pytest.MonkeyPatch, path: str, chunk: int
) -> None:
    """Sent in pieces, from views of their own, a response has the content that it has when sent whole."""
    client.append(claim.run.id, claim.claim_number, updates(1, 30))
    url = f"/api/v1/{path}" if "?" in path else f"/api/v1/runs/{claim.run.id}/{path}"
    whole = http.get(url.format(id=claim.run.id))
    assert int(whole.headers["Content-Length"]) == len(whole.content)
    monkeypatch.setattr(file_responses, "CHUNK", chunk)
    monkeypatch.setattr(reader, "_PAGE", 7)
    monkeypatch.setattr(exports, "_BUFFERED_VALUES", 60)
    parted = http.get(url.format(id=claim.run.id))
    if path.endswith("parquet"):
        assert pyarrow.parquet.read_table(pyarrow.BufferReader(parted.content)).equals(
            pyarrow.parquet.read_table(pyarrow.BufferReader(whole.content))
        )
    else:
        assert parted.content == whole.content


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("removed", [False, True])
def test_a_run_that_begins_again_breaks_the_export(scene: Scene, kind: str, removed: bool) -> None:
    """No file has rows of two attempts, or of a run that was removed: the pages that are left raise RunChanged."""
    claim = scene.claim()
    scene.append(claim, 40)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(reader, "_PAGE", 7)
        with scene.services.metrics.whole(claim.run.id) as reading:
            parts = KINDS[kind](scene.run(claim), reading)
        with scene.services.database.write() as connection:
            if removed:
                connection.execute(text("DELETE FROM runs WHERE id = :id"), {"id": claim.run.id})
            else:
                roll_back(connection, run_number(connection, claim.run.id), 20)
        with pytest.raises(RunChanged):
            list(parts)


def test_rows_that_come_meanwhile_are_left_out(scene: Scene) -> None:
    """A file ends with the row that was the last when it was begun."""
    claim = scene.claim()
    scene.append(claim, 10)
    with scene.services.metrics.whole(claim.run.id) as reading:
        pass
    scene.append(claim, 20)
    assert orjson.loads(b"".join(to_json(scene.run(claim), reading)))["columns"]["update"] == list(range(1, 11))


def test_a_broken_response_is_no_file() -> None:
    """After an error behind the first chunk the connection breaks, so that no client accepts a partial file."""

    def parts() -> Iterator[bytes]:
        yield bytes(file_responses.CHUNK)
        raise RunChanged("changed")

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await respond(parts(), CapacityLimiter(1), media_type="text/csv")(scope, receive, send)

    server = uvicorn.Server(uvicorn.Config(app, lifespan="off", log_level="critical"))
    with socket.create_server(("127.0.0.1", 0)) as listening:
        thread = Thread(target=server.run, kwargs={"sockets": [listening]})
        thread.start()
        try:
            with pytest.raises(httpx.RemoteProtocolError):
                httpx.get(f"http://127.0.0.1:{listening.getsockname()[1]}/", trust_env=False, timeout=60)
        finally:
            server.should_exit = True
            thread.join(60)


@pytest.mark.parametrize("size", [0, 1, 2 * file_responses.CHUNK + 7])
@pytest.mark.anyio
async def test_an_open_file_is_sent_and_closed(size: int, tmp_path: Path) -> None:
    """Content and length are sent even if the file was deleted meanwhile, and the file is closed."""
    path = tmp_path / "file"
    path.write_bytes(whole := bytes(range(256)) * (size // 256) + bytes(size % 256))
    with closing(path.open("rb")) as file:
        path.unlink()
        response = OpenFileResponse(file, size, media_type="application/octet-stream", headers={})
        transport = httpx.ASGITransport(response)
        async with httpx.AsyncClient(transport=transport, base_url="http://test") as http:
            answer = await http.get("/")
        assert (answer.content, int(answer.headers["Content-Length"]), file.closed) == (whole, size, True)


@pytest.fixture(scope="module")
def anyio_backend() -> str:
    """Run coroutines on asyncio."""
    return "asyncio"


@pytest.mark.parametrize("kind", ["csv", "json", "parquet"])
def test_memory_does_not_grow_with_the_export(scene: Scene, kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A run of 200,000 rows, whose values and text take 40 MB, is exported with at most 16 MiB."""
    monkeypatch.setattr(exports, "_BUFFERED_VALUES", ROWS)
    run = scene.services.runs.get(scene.experiment.runs[0].id)
    with scene.services.database.write() as connection:
        number = run_number(connection, run.id)
        connection.execute(text(MANY), {"rows": ROWS, "run": number})
        connection.execute(text("UPDATE runs SET updates = :rows WHERE number = :run"), {"rows": ROWS, "run": number})
    with scene.services.metrics.readings([run.id], fields=FIELDS, points=ROWS) as found:
        parts = KINDS[kind](run, found[0])
    length, largest = len(next(parts)), 0
    before = pyarrow.total_allocated_bytes()
    tracemalloc.start()
    try:
        for part in parts:
            length += len(part)
            largest = max(largest, pyarrow.total_allocated_bytes() - before + tracemalloc.get_traced_memory()[1])
    finally:
        tracemalloc.stop()
    assert length > 4_000_000
    assert largest < 16 * 2**20
