"""The backend's memory under a load that lasts: a worker that reports, viewers, readers of curves, exports.

python -m tests.benchmarks.memory [--minutes 60] [--rate 300] [--viewers 10] [--json]

Every minute a new run is launched, followed by all viewers, and finished; beside it, each second, the curves of up to
12 earlier runs are read, thinned or new points alone, in turn with lists, exports of each kind, the study's answers and
the metrics. Printed are the largest memory of the server in each minute [MiB], looked at 20 times a second, rows, and
requests. It ends with 1 where memory came to 150 MiB, or a viewer missed a row.
"""

import argparse
import asyncio
import itertools
import json
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import httpx
import psutil

from backend.schemas.optimizers import Adam
from tests.backend.samples import INFO, catalog, spec
from tests.benchmarks.viewers import view, write
from tests.processes import Processes

LIMIT_MIB = 150
READ_RUNS = 12


async def minute(processes: Processes, worker: str, rate: int, seconds: float, viewers: int) -> tuple[str, int]:
    """Report one run, followed by viewers; return it and how many of them were whole."""
    client = processes.client
    made = client.launch(spec(name="load", optimizers=[Adam(gradient_batch=10)]))
    claim = client.claim(worker)
    assert claim is not None
    assert claim.run.id == made.runs[0].id
    limits = httpx.Limits(max_connections=None)
    async with httpx.AsyncClient(base_url=processes.backend_url, limits=limits, timeout=120, trust_env=False) as http:
        tasks = [asyncio.create_task(view(http, claim.run.id, [])) for _ in range(viewers)]
        done = await asyncio.to_thread(write, client, claim.run.id, claim.token, rate, seconds)
        seen = await asyncio.gather(*tasks)
    return claim.run.id, sum(rows == list(range(1, max(done) + 1)) for rows in seen)


async def read(url: str, runs: list[str], asked: list[int]) -> None:
    """Ask for one thing after another, once a second, until cancelled."""
    async with httpx.AsyncClient(base_url=url, timeout=120, trust_env=False) as http:
        for turn in itertools.count():
            ids = runs[-READ_RUNS:]
            some = ",".join(ids)
            questions = ["/api/v1/runs", "/api/v1/experiments", "/api/v1/study", "/metrics"]
            if ids:
                after = ",".join(["100"] * len(ids))
                questions += [f"/api/v1/series?runs={some}&bucket=16", f"/api/v1/series?runs={some}&after={after}"]
                questions += [f"/api/v1/runs/{ids[-1]}/export.{kind}" for kind in ("csv", "json", "parquet")]
            (await http.get(questions[turn % len(questions)])).raise_for_status()
            asked[0] += 1
            await asyncio.sleep(1)


async def watch(server: psutil.Process, largest: list[float]) -> None:
    """Keep the largest memory [MiB] since it was last set to 0, until cancelled."""
    while True:
        largest[0] = max(largest[0], server.memory_info().rss / 2**20)
        await asyncio.sleep(0.05)


async def measure(processes: Processes, minutes: int, rate: int, viewers: int, seconds: float = 60) -> dict[str, Any]:
    """Load the server for so many minutes; return what it took."""
    worker = processes.client.register(INFO, catalog()).worker_id
    server = psutil.Process(processes.running["backend"].pid)
    runs: list[str] = []
    asked, largest, memory, whole = [0], [0.0], [server.memory_info().rss / 2**20], 0
    tasks = [asyncio.create_task(read(processes.backend_url, runs, asked)), asyncio.create_task(watch(server, largest))]
    for n in range(minutes):
        run, complete = await minute(processes, worker, rate, seconds, viewers)
        runs.append(run)
        whole += complete
        memory.append(largest[0])
        largest[0] = 0.0
        print(f"minute {n + 1}: {memory[-1]:.1f} MiB", file=sys.stderr, flush=True)
        for task in tasks:
            if task.done():
                task.result()
    for task in tasks:
        task.cancel()
    return {
        "minutes": minutes,
        "rows": sum(run.summary.updates for run in map(processes.client.run, runs)),
        "requests_of_readers": asked[0],
        "viewers": viewers * minutes,
        "viewers_complete": whole,
        "mib": [round(value, 1) for value in memory],
        "largest_mib": round(max(memory), 1),
    }


def main() -> None:
    """Load, print, judge."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=int, default=60)
    parser.add_argument("--rate", type=int, default=300, help="rows per second (default 300)")
    parser.add_argument("--viewers", type=int, default=10)
    parser.add_argument("--json", action="store_true")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as home:
        processes = Processes(Path(home))
        try:
            began = time.monotonic()
            found = asyncio.run(measure(processes, given.minutes, given.rate, given.viewers))
            found["seconds"] = round(time.monotonic() - began)
        finally:
            processes.stop()
    print(json.dumps(found) if given.json else "\n".join(f"{name:20} {value}" for name, value in found.items()))
    sys.exit(found["largest_mib"] >= LIMIT_MIB or found["viewers_complete"] < found["viewers"])


if __name__ == "__main__":
    main()
