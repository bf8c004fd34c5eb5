"""Streams of events under load: a real server, one writer, many viewers over sockets; every row must reach each.

python -m tests.benchmarks.viewers [--viewers 200] [--rate 1000] [--seconds 10] [--json]

complete: viewers that got every row, once and in order; one that was dropped as too slow goes on after its last event.
delay: seconds from a row's acknowledgement to its arrival, median and 99th percentile over viewers and batches. cpu:
share of one core that the server took. memory: of the server.
"""

import argparse
import asyncio
import json
import statistics
import sys
import tempfile
import time
from contextlib import suppress
from pathlib import Path

import httpx
import orjson
import psutil

from backend.client import Client
from backend.schemas.optimizers import Adam
from tests.backend.samples import INFO, catalog, spec, updates
from tests.processes import Processes

BATCH = 100
RESUMES = 100


async def view(http: httpx.AsyncClient, run_id: str, arrivals: list[tuple[int, float]]) -> list[int]:
    """Follow a run to its end; note when each last update arrived. Dropped as too slow, go on where it was."""
    seen: list[int] = []
    last: dict[str, str] = {}
    named = ""
    for _ in range(RESUMES):
        with suppress(httpx.TransportError):
            async with http.stream("GET", "/api/v1/events", params={"runs": run_id}, headers=last) as answer:
                answer.raise_for_status()
                async for line in answer.aiter_lines():
                    if line.startswith("id: "):
                        named = line[4:]
                    if line.startswith("data: ") and len(line) > 10:
                        (columns,) = orjson.loads(line[6:])["runs"].values()
                        seen += columns["update"]
                        arrivals.append((columns["last_update"], time.perf_counter()))
                        last = {"Last-Event-ID": named}
                    if line == "event: end" or answer.status_code == 204:
                        return seen
        await asyncio.sleep(0.2)
    return seen


def write(client: Client, run_id: str, token: int, rate: int, seconds: float) -> dict[int, float]:
    """Report rows at a rate; return when each last update was acknowledged."""
    done: dict[int, float] = {}
    began = time.perf_counter()
    for n in range(int(rate * seconds / BATCH)):
        time.sleep(max(0.0, began + n * BATCH / rate - time.perf_counter()))
        done[client.append(run_id, token, updates(n * BATCH + 1, n * BATCH + BATCH))] = time.perf_counter()
    client.finish(run_id, token, "finished")
    return done


async def measure(processes: Processes, viewers: int, rate: int, seconds: float) -> dict[str, float]:
    """Run one writer beside the viewers."""
    client = processes.client
    worker = client.register(INFO, catalog()).worker_id
    client.launch(spec(optimizers=[Adam(gradient_batch=10)]))
    claim = client.claim(worker)
    assert claim is not None
    server = psutil.Process(processes.running["backend"].pid)
    arrivals: list[list[tuple[int, float]]] = [[] for _ in range(viewers)]
    limits = httpx.Limits(max_connections=None)
    async with httpx.AsyncClient(base_url=processes.backend_url, limits=limits, timeout=120, trust_env=False) as http:
        tasks = [asyncio.create_task(view(http, claim.run.id, of_one)) for of_one in arrivals]
        await asyncio.sleep(2)
        before, began = sum(server.cpu_times()[:2]), time.perf_counter()
        done = await asyncio.to_thread(write, client, claim.run.id, claim.token, rate, seconds)
        seen = await asyncio.gather(*tasks)
        spent = (sum(server.cpu_times()[:2]) - before) / (time.perf_counter() - began)
    whole = list(range(1, max(done) + 1))
    delays = sorted(at - done[last] for of_one in arrivals for last, at in of_one if last in done)
    return {
        "viewers": viewers,
        "complete": sum(rows == whole for rows in seen),
        "rows": len(whole),
        "delay_median_s": round(statistics.median(delays), 3),
        "delay_p99_s": round(delays[int(len(delays) * 0.99)], 3),
        "server_cpu": round(spent, 3),
        "server_memory_mib": round(server.memory_info().rss / 2**20, 1),
    }


def main() -> None:
    """Print the figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--viewers", type=int, default=200)
    parser.add_argument("--rate", type=int, default=1000)
    parser.add_argument("--seconds", type=float, default=10)
    parser.add_argument("--longest", type=float, default=2, help="99th percentile of the delay that is allowed [s]")
    parser.add_argument("--json", action="store_true")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as home:
        processes = Processes(Path(home))
        try:
            found = asyncio.run(measure(processes, given.viewers, given.rate, given.seconds))
        finally:
            processes.stop()
    print(json.dumps(found) if given.json else "\n".join(f"{name:20} {value}" for name, value in found.items()))
    sys.exit(found["complete"] < given.viewers or found["delay_p99_s"] > given.longest)


if __name__ == "__main__":
    main()
