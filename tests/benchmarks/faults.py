"""Faults of processes, against the real trainer: nothing acknowledged is lost, nothing doubled, nothing trained anew.

python -m tests.benchmarks.faults [--kills 100] [--loops workers,backend] [--postgres] [--json]

Adam, HF and BHF train the autoencoder on real digits in two workers, while at random moments
workers   a worker, or its training process, is killed (SIGKILL);
backend   the backend is killed and started again, while another writer keeps book of every row acknowledged to it;
zombies   a worker is stopped (SIGSTOP) past its lease, until the other one has the run, then woken;
postgres-workers, postgres-server   the first again on PostgreSQL, and PostgreSQL itself killed, as the backend is.
At its end each run has every row once, each figure but the seconds equal to an uninterrupted run's, and the same final
weights by SHA-256. Where a worker's write comes after another one got the run, it was refused.
timings   measures how long it takes until a lost run is taken over, and until a cancelled run has ended.
A PostgreSQL server is started for its loops; where none is installed they are left out, and that is said. It ends with
1 where anything was wrong.
"""

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from itertools import cycle
from pathlib import Path
from random import Random
from typing import Any

from tests.benchmarks.ledger import Ledger
from tests.benchmarks.storm import OPTIMIZERS, SETTINGS, Storm, Uninterrupted, compare, configuration
from tests.benchmarks.timings import check, measure
from tests.postgres import Cluster, cluster, lacking
from tests.processes import Processes

LOOPS = {
    "workers": ["worker", "worker", "child"],
    "backend": ["backend"],
    "zombies": ["zombie"],
    "postgres-workers": ["worker", "worker", "child"],
    "postgres-server": ["server"],
}
TIMINGS = "timings"
LEASE_SECONDS = 2.0


def loop(
    home: Path, kinds: list[str], *, kills: int, updates: int, seed: int, lease: float, server: Cluster | None = None
) -> dict[str, Any]:
    """Train runs until so many faults have struck; return how many of each, and what else was counted."""
    chance, began = Random(seed), time.monotonic()
    settings: dict[str, object] = {"LEASE_SECONDS": lease, "ADDRESS_RATE": 0, **SETTINGS}
    if server is not None:
        settings["DATABASE_URL"] = server.create()
    processes = Processes(home, **settings)
    with ExitStack() as stack:
        stack.callback(processes.stop)

        def restart(after: float) -> None:
            assert server is not None
            server.kill()
            time.sleep(after)
            server.start()
            processes.wait_until(processes.client.health)

        def revive(after: float) -> None:
            processes.restart_backend(after=after)

        servers: dict[str, Callable[[float], None]] = {"backend": revive, "server": restart}
        ledger = Ledger(processes.client, processes.url, chance) if set(kinds) & set(servers) else None
        weather = Storm(processes, chance, lease=lease, servers=servers)
        stack.callback(weather.stop)
        runs, attempts = _train(processes, weather, chance, kinds, kills, updates, ledger)
        late = weather.recorder.late()
        accepted = [write for write in late if write.status < 400]
        assert not accepted, f"writes of workers that had lost their run were taken: {accepted}"
        found: dict[str, Any] = {"faults": dict(weather.struck), "runs": runs, "attempts": attempts}
        found |= {"late_writes_refused": len(late)} if late else {}
        found |= {"rows_acknowledged": ledger.close()} if ledger else {}
    return found | {"seconds": round(time.monotonic() - began)}


def _train(
    processes: Processes,
    weather: Storm,
    chance: Random,
    kinds: list[str],
    kills: int,
    updates: int,
    ledger: Ledger | None,
) -> tuple[int, int]:
    """Train run after run until all faults have struck; compare each; return how many runs, and attempts of theirs."""
    faults: Iterator[str] = iter(lambda: chance.choice(kinds) if weather.struck.total() < kills else "", "")
    expected: dict[str, Uninterrupted] = {}
    runs = attempts = 0
    for optimizer in cycle(OPTIMIZERS):
        config = configuration(optimizer, updates)
        run = weather.train(config, faults, check=ledger.check if ledger else lambda: None)
        if optimizer.kind not in expected:
            expected[optimizer.kind] = Uninterrupted(config)
        compare(run, processes, expected[optimizer.kind])
        runs, attempts = runs + 1, attempts + run.attempts
        total = weather.struck.total()
        print(
            f"run {runs} ({optimizer.kind}): {run.attempts} attempts, {total} faults so far, as if none",
            file=sys.stderr,
        )
        if weather.struck.total() >= kills:
            return runs, attempts
    raise AssertionError("unreachable")


def main() -> None:
    """Strike, check, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=100, help="faults per loop (default 100)")
    parser.add_argument("--loops", default="", help=f"some of {','.join([*LOOPS, TIMINGS])}; empty: all")
    parser.add_argument("--postgres", action="store_true", help="the loops of PostgreSQL alone, and they must be")
    parser.add_argument("--updates", type=int, default=400, help="updates of each run (default 400)")
    parser.add_argument("--lease", type=float, default=LEASE_SECONDS, help="seconds of a lease (default 2)")
    parser.add_argument("--times", type=int, default=5, help="take-overs and cancels to measure (default 5)")
    parser.add_argument("--seed", type=int, default=0, help="of the random moments (default 0)")
    parser.add_argument("--json", action="store_true", help="print JSON at the end")
    given = parser.parse_args()
    on_postgres = [name for name in LOOPS if name.startswith("postgres")]
    wanted = given.loops.split(",") if given.loops else on_postgres if given.postgres else [*LOOPS, TIMINGS]
    if unknown := set(wanted) - {*LOOPS, TIMINGS}:
        parser.error(f"no such loops: {', '.join(unknown)}")
    if why := lacking() if set(wanted) & set(on_postgres) else "":
        if given.postgres or given.loops:
            parser.error(why)
        print(f"left out: {', '.join(on_postgres)}: {why}", file=sys.stderr)
        wanted = [name for name in wanted if name not in on_postgres]
    how: dict[str, Any] = {"kills": given.kills, "updates": given.updates, "lease": given.lease, "seed": given.seed}
    answer: dict[str, dict[str, Any]] = {}
    for name in wanted:
        with ExitStack() as stack:
            home = Path(stack.enter_context(tempfile.TemporaryDirectory()))
            if name == TIMINGS:
                answer[name] = check(measure(home, times=given.times, seed=given.seed))
            else:
                server = stack.enter_context(cluster()) if name in on_postgres else None
                answer[name] = loop(home, LOOPS[name], server=server, **how)
        if not given.json:
            print(f"{name:16} {answer[name]}", flush=True)
    if given.json:
        print(json.dumps(answer))


if __name__ == "__main__":
    main()
