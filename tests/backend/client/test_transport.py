"""Tests of the client's requests to servers that are slow, fail or are unreachable."""

import itertools
import socket
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import SimpleNamespace

import httpx
import pytest

from backend.client import retry
from backend.client.transport import batches
from backend.errors import BackendUnavailable, BlockHFError, Forbidden, NotFound, StorageUnavailable, Unauthorized
from backend.schemas.api import Append, Claim, ExportKind
from backend.schemas.base import STEPS_PER_BATCH
from backend.schemas.catalog import Catalog
from backend.schemas.runs import RunStatus
from backend.settings import Settings
from tests.backend.samples import INFO, block, spec, update
from tests.clients import BothClient

RUN = "somerun0"

AWAY: list[httpx.Response | httpx.TransportError] = [
    httpx.ConnectError("refused"), httpx.Response(502, text="<html>"), httpx.Response(503, json=[]),
    httpx.ReadTimeout("slow"), httpx.Response(503, json=StorageUnavailable("locked").body()),
]  # fmt: skip


@pytest.fixture
def no_pause(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Record pauses instead of making them; the clock advances by as much."""
    pauses: list[float] = []
    clock = SimpleNamespace(sleep=pauses.append, monotonic=lambda: sum(pauses))
    for module in ("retry", "run_calls"):
        monkeypatch.setattr(f"backend.client.{module}.time", clock)
    return pauses


def scripted(answers: Iterable[httpx.Response | httpx.TransportError]) -> tuple[BothClient, list[str]]:
    """Make a client that is answered so, one after the other; record what it asked for."""
    left, asked = iter(answers), []

    def handle(request: httpx.Request) -> httpx.Response:
        asked.append(request.url.params.get("after", ""))
        answer = next(left)
        if isinstance(answer, httpx.TransportError):
            raise answer
        return answer

    return BothClient(http=httpx.Client(transport=httpx.MockTransport(handle), base_url="http://127.0.0.1")), asked


def unreliable(
    failures: int, error: Callable[[str], httpx.TransportError], answer: httpx.Response
) -> tuple[BothClient, list[str]]:
    """Make a client whose first requests break; count them all."""
    seen: list[str] = []

    def handle(request: httpx.Request) -> httpx.Response:
        seen.append(f"{request.method} {request.url.path} {request.headers.get('idempotency-key', '')}")
        if len(seen) <= failures:
            raise error("broken")
        return answer

    return BothClient(http=httpx.Client(transport=httpx.MockTransport(handle), base_url="http://127.0.0.1")), seen


def series(status: str, *columns: int, generation: int = 1, last: int | None = None) -> httpx.Response:
    """Answer as /series does for one run."""
    last = last if last is not None else max(columns, default=0)
    run = {"status": status, "row_generation": generation, "last_update": last, "update": list(columns)}
    return httpx.Response(200, json={"runs": {RUN: run}})


def test_following_reads_only_what_is_new(no_pause: list[float]) -> None:
    """Each poll continues after the last update; nothing new yields nothing; parts of an answer follow at once."""
    answers = [
        series("running", 1, 2, last=4), series("running", 3, 4), series("running", last=4), series("finished", last=4),
    ]  # fmt: skip
    client, asked = scripted(answers)
    found = [(columns["status"], columns["update"]) for _, columns in client.follow([RUN])]
    assert found == [("running", [1, 2]), ("running", [3, 4]), ("finished", [])]
    assert asked == ["0", "2", "4", "4"]
    assert len(no_pause) == 2


def test_following_reads_rewritten_rows_again(no_pause: list[float]) -> None:
    """After a rollback all rows of the run are read again, even if none are left."""
    answers = [
        series("running", 1, 2, 3), series("running", 4, generation=2), series("running", 1, 2, 3, 4, generation=2),
        series("queued", generation=3), series("queued", generation=3), series("finished", 1, generation=3),
    ]  # fmt: skip
    client, asked = scripted(answers)
    found = [(columns["row_generation"], columns["update"]) for _, columns in client.follow([RUN])]
    assert found == [(1, [1, 2, 3]), (2, [1, 2, 3, 4]), (3, []), (3, [1])]
    assert asked == ["0", "3", "", "4", "", "0"]
    assert len(no_pause) == 3


def test_a_follower_waits_for_minutes(no_pause: list[float]) -> None:
    """While the backend is unreachable the follower retries, then continues after the last update."""
    client, asked = scripted([series("running", 1, 2), *AWAY * 8, series("finished", 3)])
    assert [columns["update"] for _, columns in client.follow([RUN])] == [[1, 2], [3]]
    assert asked[0] == "0"
    assert set(asked[1:]) == {"2"}
    assert max(no_pause) <= retry.LONGEST_PAUSE


def test_a_follower_gives_up_after_minutes(no_pause: list[float]) -> None:
    """The last error is raised; a backend that never answered is given up sooner."""
    client, _ = scripted(itertools.chain([series("running", 1)], itertools.cycle(AWAY[:1])))
    with pytest.raises(BackendUnavailable, match=r"no answer from http://127\.0\.0\.1.*: refused"):
        list(client.follow([RUN]))
    assert 300 <= sum(no_pause) <= 310
    no_pause.clear()
    client, _ = scripted(itertools.cycle(AWAY[:1]))
    with pytest.raises(BackendUnavailable, match="refused"):
        list(client.follow([RUN]))
    assert 4 <= sum(no_pause) <= 6


@pytest.mark.parametrize("status", [401, 403, 404])
def test_a_refusal_is_no_absence(no_pause: list[float], status: int) -> None:
    """A refused token or a deleted run ends waiting and following at once."""
    kinds = {401: Unauthorized, 403: Forbidden, 404: NotFound}
    refusal = httpx.Response(status, json=kinds[status]("no").body())
    for begin in (
        lambda client: list(client.follow([RUN])), lambda client: client.wait(["somerun0"], timeout=1000),
    ):  # fmt: skip
        client, asked = scripted([httpx.Response(200, json={"runs": []}), refusal])
        client.runs()
        with pytest.raises(kinds[status]):
            begin(client)
        assert len(asked) == 2
    assert no_pause == []


def test_waiting_goes_on_while_the_backend_is_away(no_pause: list[float], client: BothClient, claim: Claim) -> None:
    """Waiting survives a restart; after minutes it raises the error, or earlier after its own timeout."""
    training = client.run(claim.run.id).model_dump(mode="json")
    client.finish(claim.run.id, claim.claim_number, "finished")
    ended = client.run(claim.run.id).model_dump(mode="json")
    answers = [httpx.Response(200, json=training), *AWAY[1:] * 5, httpx.Response(200, json=ended)]
    waiting, _ = scripted(answers)
    (run,) = waiting.wait([claim.run.id], timeout=1000)
    assert run.status is RunStatus.FINISHED
    waiting, _ = scripted([answers[0], *[httpx.Response(502)] * 100])
    with pytest.raises(BackendUnavailable, match="answered 502"):
        waiting.wait([claim.run.id], timeout=1000)
    no_pause.clear()
    waiting, _ = scripted([answers[0], *[httpx.Response(502)] * 100])
    with pytest.raises(TimeoutError, match=rf"after 30 s .* not ended: {claim.run.id} \(the backend answered 502\)"):
        waiting.wait([claim.run.id], timeout=30)
    assert sum(no_pause) == pytest.approx(30)


@pytest.mark.parametrize("error", [httpx.ConnectError, httpx.ReadError, httpx.RemoteProtocolError])
def test_reads_are_repeated(no_pause: list[float], error: type[httpx.TransportError]) -> None:
    """A read survives three broken connections, with growing pauses."""
    client, seen = unreliable(3, error, httpx.Response(200, json={"runs": []}))
    assert client.runs() == []
    assert len(seen) == 4
    assert no_pause == sorted(no_pause)


def test_the_fourth_failure_is_reported(no_pause: list[float]) -> None:
    """A backend that stays unreachable is an error with its URL."""
    client, seen = unreliable(9, httpx.ConnectError, httpx.Response(200))
    with pytest.raises(BackendUnavailable, match=r"no answer from http://127\.0\.0\.1.*: broken"):
        client.runs()
    assert len(seen) == 4
    assert len(no_pause) == 3


def test_slow_answers_are_not_asked_for_again(no_pause: list[float]) -> None:
    """A request that timed out is not repeated: the backend may be at work on it."""
    client, seen = unreliable(9, httpx.ReadTimeout, httpx.Response(200))
    with pytest.raises(BackendUnavailable):
        client.runs()
    assert (len(seen), no_pause) == (1, [])


class _Slow(BaseHTTPRequestHandler):
    """A server that computes the whole response before the first byte, slowly."""

    def do_GET(self) -> None:
        """Answer after half a second."""
        time.sleep(0.5)
        self.send_response(200)
        self.end_headers()
        with suppress(OSError):  # who asked may have left
            self.wfile.write(b'{"runs": {}}')

    def log_message(self, *_: object) -> None:
        """Log nothing."""


@pytest.fixture
def slow() -> Iterator[BothClient]:
    """Return a client with a timeout of 0.1 s and a slow server."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Slow)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    with BothClient(f"http://127.0.0.1:{server.server_port}", timeout=0.1) as client:
        yield client
    server.shutdown()
    thread.join()
    server.server_close()


def test_files_may_take_long_to_begin(slow: BothClient) -> None:
    """Exports, curves, weights and checkpoints are waited for longer than anything else."""
    for kind in ExportKind:
        assert slow.export_file("somerun0", kind) == b'{"runs": {}}'
    assert slow.export("somerun0") == '{"runs": {}}'
    assert slow.weights("somerun0") == slow.checkpoint("somerun0") == b'{"runs": {}}'
    assert slow.series(["somerun0"]) == {}
    with pytest.raises(BackendUnavailable, match="timed out"):
        slow.runs()


@pytest.mark.parametrize(("mine", "read"), [(7.0, 600.0), (1000.0, 1000.0), (None, None)])
def test_only_reading_takes_longer(mine: float | None, read: float | None) -> None:
    """Connecting has the usual timeout; a longer timeout of the client is kept."""
    seen: list[dict[str, float | None]] = []

    def handle(request: httpx.Request) -> httpx.Response:
        seen.append(request.extensions["timeout"])
        return httpx.Response(200, json={"runs": []})

    http = httpx.Client(transport=httpx.MockTransport(handle), base_url="http://127.0.0.1", timeout=mine)
    client = BothClient(http=http)
    client.export("somerun0")
    client.runs()
    assert seen == [
        {"connect": mine, "read": read, "write": mine, "pool": mine},
        dict.fromkeys(("connect", "read", "write", "pool"), mine),
    ]


def test_claims_are_not_repeated(no_pause: list[float]) -> None:
    """A claim is not retried: a lost response may have claimed a run, whose lease will expire."""
    client, seen = unreliable(9, httpx.ReadError, httpx.Response(204))
    with pytest.raises(BackendUnavailable):
        client.claim("someworker")
    assert (len(seen), no_pause) == (1, [])


def test_launches_are_repeated_with_their_key(no_pause: list[float]) -> None:
    """A launch is safe to repeat because it always carries a key, the same at each try."""
    client, seen = unreliable(2, httpx.ReadError, httpx.Response(500))
    with pytest.raises(BlockHFError):
        client.launch(spec())
    assert len(seen) == 3
    assert len(set(seen)) == 1
    assert len(seen[0].split()[-1]) == 32
    assert len(no_pause) == 2


@pytest.mark.parametrize(
    ("answer", "kind"),
    [
        (httpx.Response(502, text="<html>"), BackendUnavailable),
        (httpx.Response(503, json=[]), BackendUnavailable),
        (httpx.Response(500, text="oops"), BlockHFError),
        (httpx.Response(418, json={"type": "urn:blockhf:new", "title": "a new error", "status": 418}), BlockHFError),
        (httpx.Response(422, json={"type": "urn:blockhf:invalid-input", "title": "x", "errors": None}), BlockHFError),
        (httpx.Response(301, headers={"location": "https://elsewhere/"}), BlockHFError),
        (httpx.Response(200, html="<html>"), BlockHFError),
    ],
)
def test_answers_that_are_not_ours(answer: httpx.Response, kind: type[BlockHFError]) -> None:
    """A proxy's page, a redirect or an unknown error of a newer backend is an error, too."""
    client, _ = unreliable(0, httpx.ReadError, answer)
    with pytest.raises(BlockHFError) as caught:
        client.catalog()
    assert type(caught.value) is kind


def test_a_closed_port_is_unhealthy() -> None:
    """Without a server, health is False and a call raises BackendUnavailable."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with BothClient(f"http://127.0.0.1:{port}", timeout=1) as client:
        assert client.health() is False
        with pytest.raises(BackendUnavailable):
            client.register(INFO, Catalog(problems=[], data=[]))


@pytest.mark.parametrize("letter", ["x", "é", '"'])
@pytest.mark.parametrize("blocks", [0, 4, 64])
def test_batches_are_let_in(blocks: int, letter: str) -> None:
    """Rows of many blocks with long notes are split into batches that the backend accepts; none is lost."""
    full = [block(30, note=500 * letter, residual=1 / 3, model_decrease=-2e-300 / 3) for _ in range(blocks)]
    rows = [update(number).model_copy(update={"blocks": full}) for number in range(1, 501)]
    cut = list(batches(rows))
    assert [row for batch in cut for row in batch] == rows
    assert all(len(batch) <= STEPS_PER_BATCH for batch in cut)
    sizes = [len(Append(claim_number=1, rows=batch).model_dump_json().encode()) for batch in cut]
    assert max(sizes) < Settings().max_body_bytes / 2
