"""Storing and reading rows, ours beside the bare sqlite3 module on a database of the same shape, in the same run.

python -m tests.benchmarks.service [--json] [--rounds 5] [--rows 5000] [--folder .]

Rounds are interleaved, medians are taken; ratios say more than rates, since both sides meet the same load.
store: rows per second that are durable (WAL, synchronous FULL) in batches of 100, in process, over the bare module.
store_blocks: the same with two blocks per row. rest: rows per second through a real server, from one client.
read: seconds for 12 runs of 5,000 points over REST, over the bare module's query, columns and orjson; thinned: the
same in buckets of 8 updates (625 points). increment: seconds for the 99 newest points of one run.
"""

import argparse
import json
import os
import socket
import sqlite3
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import httpx
import orjson

from backend.client import Client
from backend.schemas import BLOCK_FIELDS, SERIES_FIELDS, Adam, Announcement, Append, Claim, Update
from backend.settings import Settings
from backend.store import Store
from backend.tables import BLOCKS, UPDATES
from tests.backend.samples import INFO, catalog, spec, update

BATCH = 100
RUNS = 12
POINTS = 5000


def timed(call: Callable[[], object]) -> float:
    """Return the seconds that a call takes."""
    start = time.perf_counter()
    call()
    return time.perf_counter() - start


def batches(count: int, **changes: object) -> list[list[Update]]:
    """Make the rows of a run, in the batches in which they are sent."""
    rows = [update(n, **changes) for n in range(1, count + 1)]
    return [rows[i : i + BATCH] for i in range(0, count, BATCH)]


def claims(store: Store, count: int) -> list[Claim]:
    """Launch and claim as many runs."""
    worker = store.workers.register(Announcement(info=INFO, catalog=catalog())).worker_id
    store.experiments.launch(spec(optimizers=[Adam(gradient_batch=10)], seeds=list(range(count))))
    claimed = [store.queue.claim(worker) for _ in range(count)]
    return [claim for claim in claimed if claim is not None]


class Bare:
    """What the sqlite3 module does at best: the same tables and pragmas, plain tuples, no checks."""

    def __init__(self, path: Path) -> None:
        self.connection = sqlite3.connect(path, isolation_level=None)
        self.run = 0

    def lay_out(self, source: Path) -> None:
        """Make the tables of rows as another database has them."""
        with closing(sqlite3.connect(source)) as ours:
            made = [sql for (sql,) in ours.execute("SELECT sql FROM sqlite_master WHERE name IN ('updates', 'blocks')")]
        for statement in ("PRAGMA journal_mode=WAL", "PRAGMA synchronous=FULL", *made):
            self.connection.execute(statement)

    def store(self, rows: list[list[Update]]) -> None:
        """Store a run, a transaction per batch."""
        self.run += 1
        for batch in rows:
            self.connection.execute("BEGIN IMMEDIATE")
            values = [(self.run, row.update, *(getattr(row, name) for name in SERIES_FIELDS)) for row in batch]
            self.connection.executemany(f"INSERT INTO updates VALUES ({_marks(UPDATES.columns)})", values)
            parts = [
                (self.run, row.update, b, *(getattr(block, name) for name in BLOCK_FIELDS))
                for row in batch
                for b, block in enumerate(row.blocks)
            ]
            if parts:
                self.connection.executemany(f"INSERT INTO blocks VALUES ({_marks(BLOCKS.columns)})", parts)
            self.connection.execute("COMMIT")

    def read(self, runs: range) -> bytes:
        """Read whole runs into columns, as JSON."""
        names = ("update", *SERIES_FIELDS)
        query = f'SELECT "update", {", ".join(SERIES_FIELDS)} FROM updates WHERE run = ? ORDER BY "update"'
        answer = {}
        for run in runs:
            columns = zip(*self.connection.execute(query, (run,)).fetchall(), strict=True)
            answer[str(run)] = dict(zip(names, map(list, columns), strict=True))
        return orjson.dumps(answer)


def _marks(columns: object) -> str:
    return ", ".join("?" * len(list(columns)))  # type: ignore[call-overload] # a table's columns


@contextmanager
def server(home: Path) -> Iterator[str]:
    """Run the backend on a free port; give its address."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    environment = os.environ | {"BLOCKHF_HOME": str(home), "BLOCKHF_PORT": str(port)}
    process = subprocess.Popen([sys.executable, "-m", "backend"], env=environment)
    try:
        with Client(f"http://127.0.0.1:{port}") as client:
            while not client.health():
                time.sleep(0.05)
        yield f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait(30)


def storing(home: Path, rounds: int, count: int) -> dict[str, float]:
    """Measure durable rows per second, in process, and their ratio to the bare module's."""
    figures = {}
    store = Store(Settings(home=home))
    held = claims(store, 2 * rounds)
    bare = Bare(home / "bare.sqlite3")
    bare.lay_out(home / "blockhf.sqlite3")
    for name, rows in (("store", batches(count, blocks=[])), ("store_blocks", batches(count))):
        ours, theirs = [], []
        for _ in range(rounds):
            claim = held.pop()
            bodies = [Append(token=claim.token, rows=batch) for batch in rows]
            ours.append(timed(lambda c=claim, b=bodies: [store.metrics.append(c.run.id, body) for body in b]))  # type: ignore[misc]
            theirs.append(timed(lambda r=rows: bare.store(r)))  # type: ignore[misc]
        figures[f"{name}_rows_per_second"] = count / statistics.median(ours)
        figures[f"{name}_ratio"] = statistics.median(theirs) / statistics.median(ours)
    bare.connection.close()
    store.close()
    return figures


def rest(home: Path, rounds: int, count: int) -> dict[str, float]:
    """Measure rows per second through a real server, as the worker sends them."""
    rows = batches(count)
    with server(home) as url, Client(url) as client:
        worker = client.register(INFO, catalog()).worker_id
        client.launch(spec(optimizers=[Adam(gradient_batch=10)], seeds=list(range(rounds))))
        times = []
        for _ in range(rounds):
            claim = client.claim(worker)
            assert claim is not None
            times.append(timed(lambda c=claim: [client.append(c.run.id, c.token, batch) for batch in rows]))  # type: ignore[misc]
    return {"rest_rows_per_second": count / statistics.median(times)}


def reading(home: Path, rounds: int) -> dict[str, float]:
    """Measure reading many runs over REST, over the bare module's reading of the same rows in process."""
    store = Store(Settings(home=home))
    held = claims(store, RUNS)
    rows = batches(POINTS)
    for claim in held:
        for batch in rows:
            store.metrics.append(claim.run.id, Append(token=claim.token, rows=batch))
    store.close()
    with closing(sqlite3.connect(home / "blockhf.sqlite3")) as source:
        numbers = [number for (number,) in source.execute("SELECT number FROM runs ORDER BY number")]
    bare = Bare(home / "blockhf.sqlite3")
    ids = ",".join(claim.run.id for claim in held)
    times: dict[str, list[float]] = {"bare": [], "read": [], "thinned": [], "increment": []}
    with server(home) as url, httpx.Client(base_url=f"{url}/api/v1", timeout=60) as http:
        calls: dict[str, Callable[[], object]] = {
            "bare": lambda: bare.read(range(numbers[0], numbers[-1] + 1)),
            "read": lambda: http.get("/series", params={"runs": ids}).raise_for_status(),
            "thinned": lambda: http.get("/series", params={"runs": ids, "bucket": 8}).raise_for_status(),
            "increment": lambda: http.get(
                "/series", params={"runs": held[0].run.id, "after": POINTS - 99}
            ).raise_for_status(),
        }
        for _ in range(rounds):
            for name, call in calls.items():
                times[name].append(timed(call))
    bare.connection.close()
    medians = {name: statistics.median(values) for name, values in times.items()}
    figures = {f"{name}_seconds": value for name, value in medians.items()}
    return figures | {f"{name}_ratio": medians[name] / medians["bare"] for name in ("read", "thinned")}


def main() -> None:
    """Measure everything and print it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--rows", type=int, default=5000, help="rows stored per round")
    parser.add_argument("--folder", type=Path, help="where the databases lie during the run (default: temporary)")
    options = parser.parse_args()
    figures: dict[str, float] = {}
    with tempfile.TemporaryDirectory(dir=options.folder) as folder:
        homes = [Path(folder) / name for name in ("storing", "rest", "reading")]
        figures |= storing(homes[0], options.rounds, options.rows)
        figures |= rest(homes[1], options.rounds, options.rows)
        figures |= reading(homes[2], options.rounds)
    if options.json:
        print(json.dumps(figures))
    else:
        for name, value in figures.items():
            print(f"{name:28} {value:12.4g}")


if __name__ == "__main__":
    main()
