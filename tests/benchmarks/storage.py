"""Faults of storage at length: every write of a scenario fails, in three ways; a write-ahead log is cut anywhere.

python -m tests.benchmarks.storage [--writes 200] [--cuts 1000] [--seed 0] [--json]

writes: changes of the scenario (launch, claim, rows, checkpoints, edits, finish); each is taken with its first write
refused by the disk, then its second, and so on. cuts: bytes at which the log of a database with many acknowledged
writes is cut, a third each with nothing, zeros and noise behind it. It ends with 1 where anything was wrong.
"""

import argparse
import errno
import json
import logging
import sys
import tempfile
import time
from pathlib import Path
from random import Random
from typing import Any

from backend.settings import Settings
from tests.clients import BothClient
from tests.disks import failing
from tests.inprocess import backend
from tests.storage import Scenario, break_every_write, cut, record, sound

WAYS: dict[str, dict[str, Any]] = {
    "error": {},
    "full": {"error": errno.ENOSPC, "count": 10**9},
    "torn": {"error": errno.ENOSPC, "torn": True},
}


def writing(folder: Path, writes: int, how: dict[str, Any]) -> dict[str, Any]:
    """Let every write of a scenario fail in one way."""
    scratch, began = folder / "scratch", time.monotonic()
    scratch.mkdir(parents=True)
    with failing() as disk, backend(Settings(home=folder)) as http:
        scenario = Scenario(BothClient(http=http), writes=writes)
        outcome = break_every_write(folder, scenario, disk, scratch, **how)
    faults = outcome.faults + ([] if sound(folder) else ["the database is damaged in the end"])
    return {
        "changes": outcome.steps,
        "failed_writes": outcome.failed + outcome.survived,
        "rows": scenario.rows,
        "seconds": round(time.monotonic() - began, 1),
        "faults": faults,
    }


def cutting(folder: Path, cuts: int, seed: int) -> dict[str, Any]:
    """Cut a log at random bytes, and at and around the end of every write."""
    logged, random, began = record(folder, seed=seed), Random(seed), time.monotonic()
    places = [end + off for end in logged.ends for off in (-1, 0, 1) if 0 <= end + off <= len(logged.log)]
    places += [random.randint(0, len(logged.log)) for _ in range(max(0, cuts - len(places)))]
    faults = []
    for place in places:
        junk = random.choice([b"", bytes(9000), random.randbytes(9000)])
        faults += cut(logged, place, folder / "cut", junk=junk)
    seconds = round(time.monotonic() - began, 1)
    return {"cuts": len(places), "log_bytes": len(logged.log), "seconds": seconds, "faults": faults}


def main() -> None:
    """Break, and print what came of it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--writes", type=int, default=200, help="changes of the scenario (default 200)")
    parser.add_argument("--cuts", type=int, default=1000, help="cuts of the log (default 1000)")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", action="store_true", help="print JSON")
    given = parser.parse_args()
    logging.disable(logging.ERROR)  # the backend logs each refusal
    with tempfile.TemporaryDirectory() as folder:
        found = {name: writing(Path(folder) / name, given.writes, how) for name, how in WAYS.items()}
        found["cut"] = cutting(Path(folder) / "cut", given.cuts, given.seed)
    print(json.dumps(found) if given.json else "\n".join(f"{name:6} {figures}" for name, figures in found.items()))
    sys.exit(any(figures["faults"] for figures in found.values()))


if __name__ == "__main__":
    main()
