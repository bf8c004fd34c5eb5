"""Faults of processes, against the real trainer: nothing acknowledged is lost, nothing doubled, nothing trained anew.

python -m tests.benchmarks.faults [--kills 100] [--loops workers,backend] [--postgres] [--record FILE] [--json]

BHF, Adam and HF in turn train the autoencoder on real digits in two workers, while at random moments
workers   a worker, or its training process, is killed (SIGKILL);
backend   the backend is killed and started again, while another writer keeps book of every row acknowledged to it;
zombies   a worker is stopped (SIGSTOP) past its lease, until the other one has the run, then woken;
postgres-workers, postgres-server   the first again on PostgreSQL, and PostgreSQL itself killed, as the backend is.
Each optimizer gets a third of the faults. At its end each run has every row once; every column of rows and blocks but
the seconds, and the final weights, are by SHA-256 those of an uninterrupted run of its optimizer. Where a worker's
write comes after another one got the run, it was refused.
timings   measures how long it takes until a lost run is taken over, and until a cancelled run has ended.
A loop is taken in parts of 20 faults, each with processes and databases of its own. With --record FILE what the parts
found is kept, and a later call goes on from there up to --kills, as it does after --minutes have ended one. A
PostgreSQL server is started for its loops; where none is installed they are left out, and that is said. Where a part
finds anything wrong its loop ends there, the others go on, and the exit code is 1.
"""

import argparse
import json
import sys
import tempfile
import time
import traceback
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from functools import cache
from math import inf
from pathlib import Path
from random import Random
from typing import Any

from backend.schemas.experiments import RunConfig
from backend.schemas.optimizer_registry import Optimizer
from tests.benchmarks.ledger import Ledger
from tests.benchmarks.storm import OPTIMIZERS, SETTINGS, Storm, Uninterrupted, compare, configuration
from tests.benchmarks.tally import Tally
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
    settings: dict[str, object] = {"LEASE_SECONDS": lease, **SETTINGS}
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
        ledger = Ledger(processes.client, processes.backend_url, chance) if set(kinds) & set(servers) else None
        weather = Storm(processes, chance, lease=lease, servers=servers)
        stack.callback(weather.stop)
        figures = _train(processes, weather, chance, kinds, shares(kills, seed), updates, ledger)
        late = weather.recorder.late()
        accepted = [write for write in late if write.status < 400]
        assert not accepted, f"writes of workers that had lost their run were taken: {accepted}"
        found: dict[str, Any] = {"faults": dict(weather.struck), **figures}
        found |= {"late_writes_refused": len(late)} if late else {}
        found |= {"rows_acknowledged": ledger.close()} if ledger else {}
    return found | {"seconds": round(time.monotonic() - began)}


def shares(kills: int, first: int) -> list[tuple[Optimizer, int]]:
    """Share faults out over the optimizers; the odd ones go to those that stand first, by a turn that changes."""
    count = len(OPTIMIZERS)
    return [(OPTIMIZERS[(first + i) % count], (kills + count - 1 - i) // count) for i in range(count)]


def _train(
    processes: Processes,
    weather: Storm,
    chance: Random,
    kinds: list[str],
    wanted: list[tuple[Optimizer, int]],
    updates: int,
    ledger: Ledger | None,
) -> dict[str, Any]:
    """Train runs of each optimizer until its faults have struck; compare each; return what was counted of each."""
    runs, faults, claims, due = Counter[str](), Counter[str](), 0, 0

    def coming() -> Iterator[str]:
        while weather.struck.total() < due:
            yield chance.choice(kinds)

    for optimizer, kills in wanted:
        config, due = configuration(optimizer, updates), due + kills
        while (before := weather.struck.total()) < due:
            run = weather.train(config, coming(), check=ledger.check if ledger else lambda: None)
            rows = compare(run, processes, uninterrupted(config.model_dump_json()))
            runs[optimizer.kind] += 1
            faults[optimizer.kind] += weather.struck.total() - before
            claims += run.claims
            sums = f"rows {rows[:12]}, weights {str(run.weights)[:12]}"
            print(f"{optimizer.kind}: {run.claims} claims, as if none: {sums}", file=sys.stderr)
    return {"runs": dict(runs), "faults_of": dict(faults), "claims": claims}


@cache
def uninterrupted(config: str) -> Uninterrupted:
    """Train a run, given as JSON, once for all parts of all loops."""
    return Uninterrupted(RunConfig.model_validate_json(config))


def main() -> None:
    """Strike, check, print."""
    given = _arguments()
    tally, over = Tally(given.record), time.monotonic() + 60 * given.minutes
    for name in given.wanted:
        if name == TIMINGS:
            with tempfile.TemporaryDirectory() as home:
                tally.put(name, measure(Path(home), times=given.times, seed=given.seed))
            tally.loops[name] |= {"wrong": check(tally.loops[name])}
            tally.write()
        while name != TIMINGS and tally.struck(name) < given.kills and time.monotonic() < over:
            part = _part(name, tally, given)
            tally.add(name, part)
            if part["wrong"]:
                break
        if not given.json:
            print(f"{name:16} {tally.loops.get(name, 'nothing yet')}", flush=True)
    if given.json:
        print(json.dumps(tally.loops))
    for why in tally.wrong():
        print(f"WRONG {why}", file=sys.stderr)
    sys.exit(bool(tally.wrong()))


def _part(name: str, tally: Tally, given: argparse.Namespace) -> dict[str, Any]:
    """Take the next part of a loop; what was wrong is a figure like the others."""
    kills = min(given.part, given.kills - tally.struck(name))
    how = {"updates": given.updates, "seed": given.seed + tally.parts(name), "lease": given.lease}
    with ExitStack() as stack:
        home = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        server = stack.enter_context(cluster()) if name.startswith("postgres") else None
        try:
            return loop(home, LOOPS[name], kills=kills, server=server, **how) | {"wrong": []}
        except Exception as error:
            traceback.print_exc()
            return {"wrong": [f"seed {how['seed']}: {type(error).__name__}: {error}"]}


def _arguments() -> argparse.Namespace:
    """Read the command line; `wanted` are the loops that can be run."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=100, help="faults per loop (default 100)")
    parser.add_argument("--loops", default="", help=f"some of {','.join([*LOOPS, TIMINGS])}; empty: all")
    parser.add_argument("--postgres", action="store_true", help="the loops of PostgreSQL alone, and they must be")
    parser.add_argument("--record", type=Path, help="keep the figures in this JSON file, and go on from it")
    parser.add_argument("--part", type=int, default=20, help="faults per part of a loop (default 20)")
    parser.add_argument(
        "--minutes", type=float, default=inf, help="begin no further part after so long (default: none)"
    )
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
    given.wanted = wanted
    return given


if __name__ == "__main__":
    main()
