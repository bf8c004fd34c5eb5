"""`blockhf doctor`: checks of the stored data, and repairs that lose no row of a run."""

import shutil
from collections.abc import Iterator
from pathlib import Path

from sqlalchemy import ColumnElement, Connection, and_, delete, func, or_, select, update
from sqlalchemy.exc import DatabaseError

from backend.operations.checkpoint_folders import examine_folders, remove
from backend.operations.findings import DoctorFinding
from backend.security.tokens import Tokens, Unsafe
from backend.settings import Settings
from backend.storage.database import Database, Unusable, outdated
from backend.storage.tables import BLOCKS, EXPERIMENTS, RUNS, UPDATES

MIN_FREE_BYTES = 1_000_000_000
_SHOWN = 10


def examine(settings: Settings) -> list[DoctorFinding]:
    """Check the database, the disk, the tokens and the runs' folders. Backend and workers may run meanwhile."""
    findings = [*_disk(settings.home), *_tokens(settings)]
    try:
        database = Database.existing(settings.url)
    except Unusable as error:
        return [*findings, DoctorFinding(str(error))]
    try:
        with database.read() as connection:
            findings += _file(connection) if database.sqlite else []
            if unknown := outdated(connection):
                return [*findings, DoctorFinding(unknown)]  # the other checks need these tables
            findings += [*_orphans(connection), *_counts(connection), *_purges(connection)]
        findings += examine_folders(database, settings.home)
    except DatabaseError as error:
        cure = "restore a backup" if database.sqlite else "start the server, or correct BLOCKHF_DATABASE_URL"
        findings.append(DoctorFinding(f"the database cannot be read: {error.orig}; {cure}"))
    finally:
        database.close()
    return findings


def repair(settings: Settings, findings: list[DoctorFinding]) -> int:
    """Repair what can be repaired, the tables in one transaction; return the number of problems that are left."""
    repairs = [finding.repair for finding in findings if finding.repair is not None]
    remove(path for finding in findings for path in finding.remove)
    if repairs:
        database = Database.existing(settings.url)
        try:
            with database.write() as connection:
                for statement in repairs:
                    connection.execute(statement)
        finally:
            database.close()
    return sum(not finding.repairable and not finding.note for finding in findings)


def _disk(folder: Path) -> Iterator[DoctorFinding]:
    free = shutil.disk_usage(folder if folder.exists() else ".").free
    if free < MIN_FREE_BYTES:
        yield DoctorFinding(
            f"only {free / 1e9:.2f} GB are free on the disk of {folder}: free some space, or move the folder"
        )


def _tokens(settings: Settings) -> Iterator[DoctorFinding]:
    path = settings.home / "tokens.json"
    try:
        Tokens(settings).list()
    except Unsafe as error:
        yield DoctorFinding(f"{error}; stop the backend, delete the file and create new tokens")
    if path.exists() and path.stat().st_mode & 0o077:
        yield DoctorFinding(f"{path} is readable by other users: run chmod 600 {path}")


def _file(connection: Connection) -> Iterator[DoctorFinding]:
    for line in connection.exec_driver_sql(f"PRAGMA integrity_check({_SHOWN})").scalars():
        if line != "ok":
            yield DoctorFinding(f"the database file is damaged: {line}; restore a backup")
    for table, _, parent, _ in connection.exec_driver_sql("PRAGMA foreign_key_check").fetchmany(_SHOWN):
        if table not in {UPDATES.name, BLOCKS.name}:  # _orphans checks these two
            yield DoctorFinding(f"a row of {table} refers to a missing row of {parent}; restore a backup")


def _orphans(connection: Connection) -> Iterator[DoctorFinding]:
    rows_without_run = UPDATES.c.run.not_in(select(RUNS.c.number))
    blocks_without_run = BLOCKS.c.run.not_in(select(RUNS.c.number))
    rows = select(UPDATES.c.run).where(UPDATES.c.run == BLOCKS.c.run, UPDATES.c.update == BLOCKS.c.update)
    for table, orphans, parent in (
        (UPDATES, rows_without_run, "run"),
        (BLOCKS, or_(blocks_without_run, ~rows.exists()), "update"),
    ):
        count = connection.scalar(select(func.count()).select_from(table).where(orphans))
        if count:
            yield DoctorFinding(f"{count} rows of {table.name} belong to no {parent}", delete(table).where(orphans))


def _counts(connection: Connection) -> Iterator[DoctorFinding]:
    """Compare each run's summary with its rows, which must be 1 to `updates` without a gap."""
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
            yield DoctorFinding(
                f"run {row.id} has {row.count} rows up to update {row.last}: some are missing; restore a backup"
            )
        else:
            repair = update(RUNS).where(RUNS.c.number == row.number).values(updates=row.last)
            yield DoctorFinding(f"run {row.id} has {row.last} rows, but its summary counts {row.updates}", repair)


def _purges(connection: Connection) -> Iterator[DoctorFinding]:
    if count := connection.scalar(select(func.count()).where(EXPERIMENTS.c.purging)):
        text = f"the purge of {count} deleted comparisons has not finished: `blockhf purge` removes the rest"
        yield DoctorFinding(text, note=True)


def _differ(count: ColumnElement[int], last: ColumnElement[int]) -> ColumnElement[bool]:
    return ~and_(count == RUNS.c.updates, last == RUNS.c.updates)
