"""Tests of answers that wait in a file: what was given comes out, and little memory is held."""

import io
import tracemalloc
from collections.abc import Iterator
from errno import ENOSPC
from itertools import pairwise
from pathlib import Path
from tempfile import gettempdir
from typing import Any

import httpx
import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from backend import spool
from backend.api.exports import to_series
from backend.api.routes import series
from backend.api.services import Store
from backend.client import Client
from backend.schemas.api import Announcement, Append, Claim
from backend.schemas.optimizers import Adam
from backend.spool import ColumnPages, OpenFile, Part, Spool
from tests.backend.samples import INFO, catalog, spec, update, updates

VALUES = st.one_of(
    st.none(), st.booleans(), st.integers(-9, 9), st.floats(allow_nan=False, allow_infinity=False), st.text(max_size=3)
)


def content(parts: list[Part]) -> bytes:
    """Put parts through a file."""
    held = Spool(parts)
    whole = b"".join(held)
    assert len(held) == len(whole)
    assert b"".join(held) == whole
    assert max(map(len, held)) < 2 * spool._CHUNK
    held.close()
    return whole


@given(columns=st.lists(st.lists(VALUES, min_size=7, max_size=7), max_size=4), cuts=st.lists(st.integers(0, 7)))
def test_columns_come_in_order(columns: list[list[Any]], cuts: list[int]) -> None:
    """However its values were cut into pages, each column is one list."""
    places = [0, *sorted(cuts), 7]
    pages = [[column[a:b] for column in columns] for a, b in pairwise(places)]
    openings = [b"," + orjson.dumps(str(n)) + b":" for n in range(len(columns))]
    document = content([b'{"first":1', ColumnPages(openings, pages), b"}"])
    assert orjson.loads(document) == {"first": 1} | {str(n): column for n, column in enumerate(columns)}


def test_no_pages_are_empty_columns() -> None:
    """Columns without a page are empty lists."""
    assert content([ColumnPages([b'{"a":', b',"b":'], []), b"}"]) == b'{"a":[],"b":[]}'


@pytest.mark.parametrize("size", [0, 1, spool._CHUNK - 1, spool._CHUNK, spool._CHUNK + 1, spool._IN_MEMORY + 7])
def test_any_size_comes_in_chunks(size: int, tmp_path: Path) -> None:
    """In memory or on disk, what was given comes back in pieces of a bounded length."""
    whole = bytes(range(256)) * (size // 256) + bytes(size % 256)
    assert content([whole[: size // 3], whole[size // 3 :]]) == whole
    path = tmp_path / "file"
    path.write_bytes(whole)
    opened = OpenFile(path.open("rb"))
    path.unlink()
    assert (len(opened), b"".join(opened)) == (size, whole)
    assert max(map(len, opened), default=0) <= spool._CHUNK
    opened.close()


def test_what_goes_wrong_closes_the_file(monkeypatch: pytest.MonkeyPatch) -> None:
    """An error while an answer is written is passed on, and the file's room is given back."""
    file = io.BytesIO()
    monkeypatch.setattr(spool, "SpooledTemporaryFile", lambda _size: file)

    def parts() -> Iterator[Part]:
        yield b"begun"
        raise ValueError("not to be had")

    with pytest.raises(ValueError, match="not to be had"):
        Spool(parts())
    assert file.closed


@pytest.mark.parametrize("path", ["series?runs={id}", "export.csv", "export.json", "export.parquet"])
@pytest.mark.parametrize("chunk", [1, 2**18])
def test_large_answers_are_as_small_ones(
    http: httpx.Client, client: Client, claim: Claim, monkeypatch: pytest.MonkeyPatch, path: str, chunk: int
) -> None:
    """Sent from a file or from memory an answer is the same, and states its length."""
    monkeypatch.setattr(spool, "_CHUNK", chunk)
    client.append(claim.run.id, claim.token, updates(1, 30))
    url = f"/api/v1/{path}" if "?" in path else f"/api/v1/runs/{claim.run.id}/{path}"
    answer = http.get(url.format(id=claim.run.id))
    assert int(answer.headers["Content-Length"]) == len(answer.content)
    monkeypatch.setattr(spool, "_CHUNK", 2**18)
    assert http.get(url.format(id=claim.run.id)).content == answer.content


def test_files_are_closed(http: httpx.Client, client: Client, claim: Claim, monkeypatch: pytest.MonkeyPatch) -> None:
    """The file is closed when the answer has been sent."""
    closed: list[Spool] = []

    class Watched(Spool):
        def close(self) -> None:
            closed.append(self)
            super().close()

    monkeypatch.setattr(spool, "_CHUNK", 1)
    monkeypatch.setattr(series, "Spool", Watched)
    client.append(claim.run.id, claim.token, updates(1, 3))
    url = f"/api/v1/series?runs={claim.run.id}"
    assert http.get(url).status_code == 200
    assert len(closed) == 1


def test_memory_does_not_grow_with_the_answer(store: Store) -> None:
    """Ten times as many rows take less than twice the memory."""
    worker = store.workers.register(Announcement(info=INFO, catalog=catalog())).worker_id
    peaks = []
    for count in (2_000, 20_000):
        store.experiments.launch(spec(optimizers=[Adam(gradient_batch=10)]))
        claim = store.queue.claim(worker)
        assert claim is not None
        for n in range(0, count, 1000):
            rows = [update(n + k, blocks=[]) for k in range(1, 1001)]
            store.metrics.append(claim.run.id, Append(token=claim.token, rows=rows))
        for _ in range(2):  # the first reading also builds statements
            tracemalloc.start()
            with store.metrics.whole(claim.run.id) as reading:
                Spool(to_series([reading], with_blocks=True)).close()
            peak = tracemalloc.get_traced_memory()[1]
            tracemalloc.stop()
        peaks.append(peak)
    assert peaks[1] < 2 * peaks[0]


@pytest.mark.parametrize("fails", ["write", "flush"])
@pytest.mark.parametrize("kind", ["csv", "json", "parquet"])
def test_no_room_is_told(http: httpx.Client, client: Client, claim: Claim, kind: str, fails: str) -> None:
    """Where the temporary folder is full the answer is an error that says so, and the file is closed."""

    class Full(io.BytesIO):
        def fail(self, *_: Any) -> int:
            raise OSError(ENOSPC, "No space left on device")

        def close(self) -> None:
            super().close()
            self.fail()

    client.append(claim.run.id, claim.token, updates(1, 3))
    url = f"/api/v1/runs/{claim.run.id}/export.{kind}"
    full = Full()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Full, fails, Full.fail)
        patch.setattr(spool, "SpooledTemporaryFile", lambda _size: full)
        answer = http.get(url)
        patch.setattr(Full, "fail", lambda *_: 0)
    assert (answer.status_code, full.closed) == (503, True)
    assert "No space left on device" in answer.json()["title"]
    assert gettempdir() in answer.json()["title"]
    assert http.get(url).status_code == 200
