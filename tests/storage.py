"""Faults of storage, for tests and their longer loop: a scenario whose every write fails once, a log cut anywhere."""

import shutil
import sqlite3
from bisect import bisect_right
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from random import Random
from typing import Any

from backend.api.services import Services
from backend.errors import StorageUnavailable
from backend.schemas.api import Announcement, Append, Claim
from backend.schemas.optimizers import Adam
from backend.schemas.runs import RunStatus
from backend.settings import Settings
from tests.backend.samples import INFO, Clock, catalog, checkpoint, spec, updates
from tests.clients import BothClient
from tests.disks import Disk

FILE = "blockhf.sqlite3"
TABLES = ("workers", "experiments", "presets", "runs", "updates", "blocks")

Contents = dict[str, list[tuple[Any, ...]]]


def contents(home: Path) -> Contents:
    """Read every row of the database by a connection of its own."""
    with closing(sqlite3.connect(home / FILE)) as connection:
        connection.execute("BEGIN")
        return {name: connection.execute(f"SELECT * FROM {name} ORDER BY 1, 2, 3").fetchall() for name in TABLES}


def sound(home: Path) -> bool:
    """Tell whether the database's pages, indices and references are in order."""
    with closing(sqlite3.connect(home / FILE)) as connection:
        whole = connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        return whole and connection.execute("PRAGMA foreign_key_check").fetchall() == []


def copied(home: Path, to: Path, log: bytes) -> Path:
    """Lay a copy of the database beside another log, as a machine would find both that lost its power."""
    to.mkdir()
    shutil.copyfile(home / FILE, to / FILE)
    (to / f"{FILE}-wal").write_bytes(log)
    return to


@dataclass
class Scenario:
    """A comparison from its launch to its end, in steps that each change the database once."""

    client: BothClient
    writes: int = 200
    worker: str = ""
    run: Claim | None = None
    rows: int = 0

    def steps(self) -> Iterator[Callable[[], object]]:
        """Yield each change: a worker comes, launches, claims, reports, names checkpoints, ends, and what users do."""
        yield self._register
        yield lambda: self.client.launch(spec(optimizers=[Adam(gradient_batch=10)]), idempotency_key="once")
        yield self._claim
        assert self.run
        run, token = self.run.run.id, self.run.claim_number
        yield lambda: self.client.start(run, token, environment={"device": "cpu"}, blocks=[], parameters=90)
        experiment = self.run.run.experiment_id
        for n in range(self.writes - 7):
            others: dict[int, Callable[[], object]] = {
                10: partial(self.client.edit, experiment, name=f"name {n}", tags=[f"t{n}"]),
                20: partial(self.client.save_preset, f"p{n}", "Preset", spec()),
                30: partial(self.client.heartbeat, run, token),
            }
            yield others.get(n % 40, partial(self._append, n))
        yield lambda: self.client.finish(run, token, "finished", ended_by="updates", weights="0" * 64)
        yield lambda: self.client.delete(experiment)
        yield lambda: self.client.restore(experiment)

    def _register(self) -> None:
        self.worker = self.client.register(INFO, catalog()).worker_id

    def _claim(self) -> None:
        self.run = self.client.claim(self.worker)

    def _append(self, n: int) -> None:
        assert self.run
        count = 1 + n % 5
        named = checkpoint(self.rows + count) if n % 7 == 0 else None
        rows = updates(self.rows + 1, self.rows + count)
        self.rows = self.client.append(self.run.run.id, self.run.claim_number, rows, checkpoint=named)


@dataclass
class Outcome:
    """What a scenario met."""

    steps: int = 0
    failed: int = 0
    """Writes that were refused, each answered by an error."""
    survived: int = 0
    """Writes that were refused where the change was safe already: the copying of the log into the database."""
    faults: list[str] = field(default_factory=list)
    """What was wrong."""


def break_every_write(home: Path, scenario: Scenario, disk: Disk, scratch: Path, **how: Any) -> Outcome:
    """Take each step with its first write refused, then its second, and so on, until it comes through."""
    outcome = Outcome()
    for step in scenario.steps():
        outcome.steps += 1
        for nth in range(1, 1000):
            before, written = contents(home), disk.writes
            disk.refuse(nth, **how)
            try:
                step()
            except StorageUnavailable as error:
                outcome.failed += 1
                if "nothing was stored" not in str(error):
                    outcome.faults.append(f"step {outcome.steps}, write {nth}: not clear: {error}")
            else:
                outcome.survived += disk.writes >= written + nth
                break
            finally:
                disk.mend()
            if contents(home) != before:
                outcome.faults.append(f"step {outcome.steps}, write {nth}: an error, and yet the database has changed")
            if outcome.failed % 25 == 0:
                found = copied(home, scratch / f"{outcome.failed}", (home / f"{FILE}-wal").read_bytes())
                if not sound(found) or contents(found) != before:
                    outcome.faults.append(f"step {outcome.steps}, write {nth}: not whole where power is lost then")
                shutil.rmtree(found)
    return outcome


@dataclass
class Logged:
    """A database with everything since its start in its log, and how long the log was after each acknowledged write."""

    home: Path
    log: bytes
    ends: list[int]
    """Bytes of the log after each write, the first one before any."""
    states: list[Contents]
    """What a reader found after each of them."""

    def after(self, cut: int) -> Contents:
        """Return what is there of a log of so many bytes: all writes that end before, and nothing of the next."""
        return self.states[bisect_right(self.ends, cut) - 1]


def record(home: Path, rows: int = 600, seed: int = 0) -> Logged:
    """Report rows of two runs in batches of 1 to 20, with checkpoints named among them."""
    Services(Settings(home=home)).close()
    random, services = Random(seed), Services(Settings(home=home), clock=Clock())
    wal = home / f"{FILE}-wal"
    logged = Logged(home, b"", [wal.stat().st_size if wal.exists() else 0], [contents(home)])

    def acknowledged() -> None:
        logged.ends.append(wal.stat().st_size)
        logged.states.append(contents(home))

    worker = services.workers.register(Announcement(info=INFO, catalog=catalog())).worker_id
    acknowledged()
    services.experiments.launch(spec(optimizers=[Adam(gradient_batch=10)], seeds=[0, 1]))
    acknowledged()
    held = []
    for _ in range(2):
        claim = services.queue.claim(worker)
        assert claim is not None
        held.append(claim)
        acknowledged()
    reported = [0, 0]
    while sum(reported) < rows:
        which, count = random.randrange(2), random.randint(1, 20)
        first, last = reported[which] + 1, reported[which] + count
        named = checkpoint(last) if random.random() < 0.2 else None
        body = Append(claim_number=held[which].claim_number, rows=updates(first, last), checkpoint=named)
        reported[which] = services.metrics.append(held[which].run.id, body)
        acknowledged()
    logged.log = wal.read_bytes()
    assert len(logged.log) == logged.ends[-1] > logged.ends[0]
    saved = copied(home, home / "saved", b"")  # what the database itself holds; closing copies the log into it
    services.close()
    logged.home = saved
    return logged


def cut(logged: Logged, at: int, scratch: Path, *, junk: bytes = b"") -> list[str]:
    """Cut the log, open what is left as a start does, and go on; return what is wrong.

    Args:
        logged: the database with its log.
        at: how many bytes of the log are left.
        scratch: a folder that does not exist yet.
        junk: what stands in the log in place of the rest.
    """
    faults = []
    home = copied(logged.home, scratch, logged.log[:at] + junk)
    pairs = list(zip(junk, logged.log[at:], strict=False))
    same = next((i for i, (new, old) in enumerate(pairs) if new != old), len(pairs))  # zeros may be what was there
    wanted = logged.after(at + same)
    services = Services(Settings(home=home), clock=Clock())
    try:
        if contents(home) != wanted:
            faults.append(f"cut at {at}: not what was acknowledged up to there")
        for run in services.runs.list():
            known = services.metrics.series([run.id])[run.id]["update"]
            if known != list(range(1, run.summary.updates + 1)):
                faults.append(f"cut at {at}: the rows of {run.id} are not those of its summary")
            if run.status is RunStatus.RUNNING:
                body = Append(claim_number=1, rows=updates(len(known) + 1, len(known) + 3))
                if services.metrics.append(run.id, body) != len(known) + 3:
                    faults.append(f"cut at {at}: {run.id} does not go on")
    finally:
        services.close()
    if not sound(home):
        faults.append(f"cut at {at}: the database is damaged")
    shutil.rmtree(home)
    return faults
