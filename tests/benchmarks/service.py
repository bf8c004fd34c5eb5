"""Storing and reading rows beside the bare sqlite3 module and beside MLflow's tracking server, in the same run.

python -m tests.benchmarks.service [--json] [--no-mlflow] [--rounds 5] [--rows 5000] [--seconds 10] [--folder .]

Rounds are interleaved, medians are taken; ratios say more than rates, since all sides meet the same load.
store: rows per second that are durable (WAL, synchronous FULL) in batches of 100, in process, over the bare module.
store_blocks: the same with two blocks per row. rest: rows per second, with blocks, through a real server that asks for
a token, from one client. read: seconds for 12 runs of 5,000 points over REST, over the bare module's query, columns and
orjson; thinned: the same in at most 500 buckets (16 updates, 313 points). increment: the 99 newest points of one run,
alone and over 16 connections. memory: the server's, after all of this [MiB].
MLflow (installed into a virtual environment of its own at first use) stores rows of 10 values by a log-batch of 100,
and gives the histories of these 10 measures of the same 12 runs, and of one measure; ours have 18, and blocks.
"""

import argparse
import json
import sqlite3
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager
from pathlib import Path

import httpx
import orjson
import psutil

from backend.api.services import Services
from backend.schemas.api import Announcement, Append, Claim
from backend.schemas.measures import BLOCK_FIELDS, SERIES_FIELDS, Update
from backend.schemas.optimizers import Adam
from backend.settings import Settings
from backend.storage.tables import BLOCKS, UPDATES
from tests.backend.samples import INFO, catalog, spec, update
from tests.benchmarks.load import hammer
from tests.benchmarks.mlflow import mlflow
from tests.clients import BothClient
from tests.processes import Processes

BATCH = 100
RUNS = 12
POINTS = 5000
TOKEN = "a token for the length of a benchmark"
LEAST = {"store_ratio": 0.6, "rest_over_mlflow": 5, "read_over_mlflow": 5}
MOST = {"read_ratio": 2, "thinned_ratio": 0.6, "memory_mib": 150}
TOKENS = {"Authorization": f"Bearer {TOKEN}"}


def timed(call: Callable[[], object]) -> float:
    """Return the seconds that a call takes."""
    start = time.perf_counter()
    call()
    return time.perf_counter() - start


def batches(count: int, **changes: object) -> list[list[Update]]:
    """Make the rows of a run, in the batches in which they are sent."""
    rows = [update(n, **changes) for n in range(1, count + 1)]
    return [rows[i : i + BATCH] for i in range(0, count, BATCH)]


def claims(services: Services, count: int) -> list[Claim]:
    """Launch and claim as many runs."""
    worker = services.workers.register(Announcement(info=INFO, catalog=catalog())).worker_id
    services.experiments.launch(spec(optimizers=[Adam(gradient_batch=10)], seeds=list(range(count))))
    claimed = [services.queue.claim(worker) for _ in range(count)]
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
def server(home: Path) -> Iterator[Processes]:
    """Run the backend on a free port; it asks for a token."""
    processes = Processes(home, TOKEN=TOKEN)
    try:
        yield processes
    finally:
        processes.stop()


def storing(home: Path, rounds: int, count: int) -> dict[str, float]:
    """Measure durable rows per second, in process, and their ratio to the bare module's."""
    figures = {}
    services = Services(Settings(home=home))
    held = claims(services, 2 * rounds)
    bare = Bare(home / "bare.sqlite3")
    bare.lay_out(home / "blockhf.sqlite3")
    for name, rows in (("store", batches(count, blocks=[])), ("store_blocks", batches(count))):
        ours, theirs = [], []
        for _ in range(rounds):
            claim = held.pop()
            bodies = [Append(claim_number=claim.claim_number, rows=batch) for batch in rows]
            ours.append(timed(lambda c=claim, b=bodies: [services.metrics.append(c.run.id, body) for body in b]))  # type: ignore[misc]
            theirs.append(timed(lambda r=rows: bare.store(r)))  # type: ignore[misc]
        figures[f"{name}_rows_per_second"] = count / statistics.median(ours)
        figures[f"{name}_ratio"] = statistics.median(theirs) / statistics.median(ours)
    bare.connection.close()
    services.close()
    return figures


def rest(processes: Processes, rounds: int, count: int) -> dict[str, float]:
    """Measure rows per second through a real server, as the worker sends them."""
    rows = batches(count)
    with BothClient(processes.backend_url, headers=TOKENS) as client:
        worker = client.register(INFO, catalog()).worker_id
        client.launch(spec(optimizers=[Adam(gradient_batch=10)], seeds=list(range(rounds))))
        times = []
        for _ in range(rounds):
            claim = client.claim(worker)
            assert claim is not None
            times.append(timed(lambda c=claim: [client.append(c.run.id, c.claim_number, batch) for batch in rows]))  # type: ignore[misc]
    return {"rest_rows_per_second": count / statistics.median(times)}


def fill(home: Path) -> list[str]:
    """Store the runs that are read; return their ids."""
    services = Services(Settings(home=home))
    held = claims(services, RUNS)
    rows = batches(POINTS)
    for claim in held:
        for batch in rows:
            services.metrics.append(claim.run.id, Append(claim_number=claim.claim_number, rows=batch))
    services.close()
    return [claim.run.id for claim in held]


def reading(processes: Processes, ids: list[str], rounds: int) -> dict[str, float]:
    """Measure reading many runs over REST, over the bare module's reading of the same rows in process."""
    file = processes.home / "blockhf.sqlite3"
    with closing(sqlite3.connect(file)) as source:
        numbers = [number for (number,) in source.execute("SELECT number FROM runs ORDER BY number")]
    bare = Bare(file)
    times: dict[str, list[float]] = {"bare": [], "read": [], "thinned": [], "increment": []}
    with httpx.Client(base_url=f"{processes.backend_url}/api/v1", timeout=60, headers=TOKENS, trust_env=False) as http:

        def get(**query: object) -> httpx.Response:
            return http.get("/series", params=query).raise_for_status()  # type: ignore[arg-type] # texts and numbers

        calls: dict[str, Callable[[], object]] = {
            "bare": lambda: bare.read(range(numbers[0], numbers[RUNS - 1] + 1)),
            "read": lambda: get(runs=",".join(ids)),
            "thinned": lambda: get(runs=",".join(ids), bucket=16),
            "increment": lambda: get(runs=ids[0], after=POINTS - 99),
        }
        for _ in range(rounds):
            for name, call in calls.items():
                times[name].append(timed(call))
    bare.connection.close()
    medians = {name: statistics.median(values) for name, values in times.items()}
    figures = {f"{name}_seconds": value for name, value in medians.items()}
    return figures | {f"{name}_ratio": medians[name] / medians["bare"] for name in ("read", "thinned")}


def asking(processes: Processes, ids: list[str], seconds: float) -> dict[str, float]:
    """Measure increments over 16 connections, and the memory of the server after all that it has done."""
    targets = [f"/api/v1/series?runs={run}&after={POINTS - 99}" for run in ids]
    found = hammer(processes.backend_url, TOKEN, targets, connections=16, seconds=seconds)
    memory = psutil.Process(processes.running["backend"].pid).memory_info().rss / 2**20
    return {f"increments_16_{name}": figure for name, figure in found.items()} | {"memory_mib": memory}


def beside(home: Path, figures: dict[str, float], rounds: int) -> dict[str, float]:
    """Measure MLflow, and divide."""
    with mlflow(home) as peer:
        run = peer.run()
        peer.log(run, 1, BATCH)  # the first one is slow
        per_batch = [
            timed(lambda n=n: peer.log(run, n * BATCH + 1, n * BATCH + BATCH))  # type: ignore[misc]
            for n in range(1, 2 * rounds + 1)
        ]
        ids = [peer.run() for _ in range(RUNS)]
        for each in ids:
            peer.fill(each, POINTS)
        peer.read(ids[:1], ["train_loss"])
        one = timed(lambda: peer.read(ids, ["train_loss"]))
        read = timed(lambda: peer.read(ids))
        memory = peer.memory()
    rate = BATCH / statistics.median(per_batch)
    return {
        "mlflow_rows_per_second": rate,
        "rest_over_mlflow": figures["rest_rows_per_second"] / rate,
        "mlflow_read_seconds": read,
        "mlflow_read_one_measure_seconds": one,
        "read_over_mlflow": read / figures["read_seconds"],
        "read_over_mlflow_one_measure": one / figures["read_seconds"],
        "mlflow_memory_mib": memory,
    }


def missed(figures: Mapping[str, float]) -> list[str]:
    """Name the ratios, and the memory, that are not what is promised; those that were not measured are left out."""
    low = [(name, f"at least {bound}") for name, bound in LEAST.items() if figures.get(name, bound) < bound]
    high = [(name, f"at most {bound}") for name, bound in MOST.items() if figures.get(name, bound) > bound]
    return [f"{name} is {figures[name]:.3g}: {goal}" for name, goal in low + high]


def main() -> None:
    """Measure everything, print it, and end with 1 where a goal is missed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.add_argument("--no-mlflow", action="store_true", help="leave MLflow out")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--rows", type=int, default=5000, help="rows stored per round")
    parser.add_argument("--seconds", type=float, default=10, help="how long 16 connections ask")
    parser.add_argument("--folder", type=Path, help="where the databases lie during the run (default: temporary)")
    options = parser.parse_args()
    figures: dict[str, float] = {}
    with tempfile.TemporaryDirectory(dir=options.folder) as folder:
        homes = [Path(folder) / name for name in ("storing", "serving", "mlflow")]
        figures |= storing(homes[0], options.rounds, options.rows)
        ids = fill(homes[1])
        with server(homes[1]) as processes:
            figures |= reading(processes, ids, options.rounds)
            figures |= rest(processes, options.rounds, options.rows)
            figures |= asking(processes, ids, options.seconds)
        if not options.no_mlflow:
            homes[2].mkdir()
            figures |= beside(homes[2], figures, options.rounds)
    if options.json:
        print(json.dumps(figures))
    else:
        for name, value in figures.items():
            print(f"{name:32} {value:12.4g}")
    if faults := missed(figures):
        sys.exit("goal missed: " + "; ".join(faults))


if __name__ == "__main__":
    main()
