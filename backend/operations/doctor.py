"""`blockhf doctor`: whether what is stored is whole, and the repairs that lose nothing a run has reported."""

import shutil
from collections.abc import Iterator
from pathlib import Path

from sqlalchemy import ColumnElement, Connection, and_, delete, func, or_, select, update
from sqlalchemy.exc import DatabaseError

from backend.operations.checkpoint_folders import examine_folders, remove
from backend.operations.findings import Finding
from backend.security.tokens import Tokens, Unsafe
from backend.settings import Settings
from backend.storage.database import Database, Unusable, outdated
from backend.storage.tables import BLOCKS, EXPERIMENTS, RUNS, UPDATES

MIN_FREE_BYTES = 1_000_000_000
_SHOWN = 10


def examine(settings: Settings) -> list[Finding]:
    """Look at the database, the disk, the tokens and the runs' folders; backend and workers may go on meanwhile."""
    findings = [*_disk(settings.home), *_tokens(settings)]
    try:
        database = Database.existing(settings.url)
    except Unusable as error:
        return [*findings, Finding(str(error))]
    try:
        with database.read() as connection:
            findings += _file(connection) if database.sqlite else []
            if unknown := outdated(connection):
                return [*findings, Finding(unknown)]  # nothing more can be said
            findings += [*_orphans(connection), *_counts(connection), *_purges(connection)]
        findings += examine_folders(database, settings.home)
    except DatabaseError as error:
        findings.append(Finding(f"the database cannot be read: {error.orig}; restore a backup"))
    finally:
        database.close()
    return findings


def repair(settings: Settings, findings: list[Finding]) -> int:
    """Repair what can be, the tables in one transaction; return how many findings, beside remarks, are left."""
    able = [finding.repair for finding in findings if finding.repair is not None]
    remove(path for finding in findings for path in finding.drop)
    if able:
        database = Database.existing(settings.url)
        try:
            with database.write() as connection:
                for mend in able:
                    connection.execute(mend)
        finally:
            database.close()
    return sum(not finding.mendable and not finding.remark for finding in findings)


def _disk(folder: Path) -> Iterator[Finding]:
    free = shutil.disk_usage(folder if folder.exists() else ".").free
    if free < MIN_FREE_BYTES:
        yield Finding(f"only {free / 1e9:.2f} GB are free on the disk of {folder}: delete something, or move it")


def _tokens(settings: Settings) -> Iterator[Finding]:
    path = settings.home / "tokens.json"
    try:
        Tokens(settings).list()
    except Unsafe as error:
        yield Finding(f"{error}; stop the backend, delete the file and make new tokens")
    if path.exists() and path.stat().st_mode & 0o077:
        yield Finding(f"{path} can be read by others: chmod 600 {path}")


def _file(connection: Connection) -> Iterator[Finding]:
    for line in connection.exec_driver_sql(f"PRAGMA integrity_check({_SHOWN})").scalars():
        if line != "ok":
            yield Finding(f"the database's file is damaged: {line}; restore a backup")
    for table, _, parent, _ in connection.exec_driver_sql("PRAGMA foreign_key_check").fetchmany(_SHOWN):
        if table not in {UPDATES.name, BLOCKS.name}:  # those two are looked at below
            yield Finding(f"a row of {table} has lost its row of {parent}; restore a backup")


def _orphans(connection: Connection) -> Iterator[Finding]:
    lost_rows = UPDATES.c.run.not_in(select(RUNS.c.number))
    lost_blocks = BLOCKS.c.run.not_in(select(RUNS.c.number))
    rows = select(UPDATES.c.run).where(UPDATES.c.run == BLOCKS.c.run, UPDATES.c.update == BLOCKS.c.update)
    for table, lost, parent in ((UPDATES, lost_rows, "run"), (BLOCKS, or_(lost_blocks, ~rows.exists()), "update")):
        count = connection.scalar(select(func.count()).select_from(table).where(lost))
        if count:
            yield Finding(f"{count} rows of {table.name} belong to no {parent}", delete(table).where(lost))


def _counts(connection: Connection) -> Iterator[Finding]:
    """Compare each run's summary with its rows: they are 1 to `updates`, without a gap."""
    count, last = func.count(UPDATES.c.update), func.coalesce(func.max(UPDATES.c.update), 0)
    query = (
        select(RUNS.c.number, RUNS.c.id, RUNS.c.updates, count.label("count"), last.label("last"))
        .outerjoin(UPDATES, UPDATES.c.run == RUNS.c.number)
        .group_by(RUNS.c.number, RUNS.c.id, RUNS.c.updates)
        .having(_differ(count, last))
        .limit(_SHOWN)
    )
    for row in connection.execute(query):
        if row.count != row.last:
            yield Finding(f"run {row.id} has {row.count} rows up to update {row.last}: some are missing")
        else:
            mend = update(RUNS).where(RUNS.c.number == row.number).values(updates=row.last)
            yield Finding(f"run {row.id} has {row.last} rows, its summary says {row.updates}", mend)


def _purges(connection: Connection) -> Iterator[Finding]:
    if count := connection.scalar(select(func.count()).where(EXPERIMENTS.c.purging)):
        what = f"{count} deleted comparisons are being purged, or were left so: `blockhf purge` removes the rest"
        yield Finding(what, remark=True)


def _differ(count: ColumnElement[int], last: ColumnElement[int]) -> ColumnElement[bool]:
    return ~and_(count == RUNS.c.updates, last == RUNS.c.updates)
