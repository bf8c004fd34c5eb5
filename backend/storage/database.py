"""The database: its engine, read and write transactions, migrations, and the lock of the SQLite file."""

import sqlite3
import time
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from threading import Lock
from typing import Any

from alembic import command
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from filelock import FileLock, Timeout
from sqlalchemy import URL, Connection, Engine, ExceptionContext, create_engine, event, inspect, make_url, text
from sqlalchemy.exc import ArgumentError, NoSuchModuleError, OperationalError
from sqlalchemy.pool import QueuePool

from backend.errors import BlockHFError

_BUSY_SECONDS = 30
_CLOSE_SECONDS = 5
_EXCLUSIVE = 0x626C6F636B6866
"""Key of PostgreSQL's advisory lock for exclusive writers; an arbitrary number."""


class Unusable(BlockHFError):
    """The database cannot be used; the message is one line that says what to do."""

    code = "database-unusable"


class Database:
    """A database, opened by SQLAlchemy URL.

    Args:
        url: of SQLite or PostgreSQL.
        migrate: bring the tables up to date.

    Raises:
        Unusable: the URL names no database that can be used.
    """

    def __init__(self, url: str, *, migrate: bool = True) -> None:
        parsed = parse(url)
        self.sqlite = parsed.get_backend_name() == "sqlite"
        if self.sqlite and parsed.database:
            Path(parsed.database).parent.mkdir(parents=True, exist_ok=True)
        try:
            self.engine = _sqlite_engine(url) if self.sqlite else _postgres_engine(parsed)
        except ModuleNotFoundError as error:
            raise Unusable(f"PostgreSQL needs {error.name}: pip install 'blockhf[postgres]'") from None
        self._damage = ""
        event.listen(self.engine, "handle_error", self._note_damage)
        # SQLite has one writer. Threads get this lock sooner than they would by polling the lock of the file.
        self._writer = Lock() if self.sqlite else nullcontext()
        self._immediate = self.engine.execution_options(immediate=True)
        view = {} if self.sqlite else {"isolation_level": "REPEATABLE READ", "postgresql_readonly": True}
        self._view = self.engine.execution_options(**view)
        if migrate:
            try:
                self._migrate()
            except BaseException:
                self.close()
                raise

    @classmethod
    def existing(cls, url: str) -> "Database":
        """Open an existing database without changing its tables.

        Raises:
            Unusable: there is none.
        """
        parsed = parse(url)
        if parsed.get_backend_name() == "sqlite" and not Path(parsed.database or ":memory:").is_file():
            raise Unusable(f"there is no database at {parsed.database}: set BLOCKHF_HOME or BLOCKHF_DATABASE_URL")
        return cls(url, migrate=False)

    @contextmanager
    def read(self) -> Iterator[Connection]:
        """Open a read transaction: one consistent view of the data."""
        with self._view.connect() as connection:
            yield connection

    @contextmanager
    def write(self, *, exclusive: bool = False) -> Iterator[Connection]:
        """Open a transaction that commits at the end and rolls back on any exception.

        SQLite has one writer at a time. On PostgreSQL other transactions may write other rows meanwhile.

        Args:
            exclusive: wait for other exclusive writers on PostgreSQL too, as is needed to count or number rows.
        """
        with self._writer, self._immediate.begin() as connection:
            if exclusive:
                self._exclude(connection)
            yield connection

    def now(self) -> float:
        """Return the seconds since 1970 by the clock that all backends of this database share."""
        if self.sqlite:
            return time.time()
        with self.read() as connection:
            return float(connection.execute(text("SELECT extract(epoch FROM clock_timestamp())")).scalar_one())

    def check(self) -> None:
        """Read from the database.

        Raises:
            Unusable: it was found to be damaged since the start.
            SQLAlchemyError: it cannot be read.
        """
        if self._damage:
            raise Unusable(f"the database is damaged ({self._damage}): stop the backend and restore a backup")
        with self.read() as connection:
            for table in ("alembic_version", "experiments", "runs", "updates", "blocks"):
                connection.execute(text(f"SELECT * FROM {table} LIMIT 1")).all()

    def close(self) -> None:
        """Close all connections; wait up to 5 s for those in use."""
        pool, deadline = self.engine.pool, time.monotonic() + _CLOSE_SECONDS
        while isinstance(pool, QueuePool) and pool.checkedout() and time.monotonic() < deadline:
            time.sleep(0.01)
        self.engine.dispose()

    def _note_damage(self, context: ExceptionContext) -> None:
        """Remember that SQLite found a damaged page: others may still be read, but the database cannot be trusted."""
        code = getattr(context.original_exception, "sqlite_errorcode", 0) & 0xFF
        if code in {sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB}:
            self._damage = str(context.original_exception)

    def _exclude(self, connection: Connection) -> None:
        if not self.sqlite:
            connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _EXCLUSIVE})

    def _migrate(self) -> None:
        config = Config()
        config.set_main_option("script_location", "backend.storage:migrations")
        config.set_main_option("path_separator", "os")
        with (
            self._writer,
            self._immediate.connect() as connection,
            _foreign_keys_off(connection, self.sqlite),
            connection.begin(),
        ):
            # Backends on PostgreSQL that start at the same time migrate one after the other.
            self._exclude(connection)
            if reason := unknown_version(connection):
                raise Unusable(reason)
            config.attributes["connection"] = connection
            command.upgrade(config, "head")


def parse(url: str) -> URL:
    """Parse a database URL.

    Raises:
        Unusable: it is not a valid URL of SQLite or PostgreSQL.
    """
    try:
        parsed = make_url(url)
        parsed.get_dialect()
    except (ArgumentError, NoSuchModuleError) as error:
        raise Unusable(f"BLOCKHF_DATABASE_URL is not a valid database URL: {error}") from None
    if parsed.get_backend_name() not in {"sqlite", "postgresql"}:
        raise Unusable(f"BLOCKHF_DATABASE_URL must be SQLite or PostgreSQL, not {parsed.get_backend_name()}")
    return parsed


def outdated(connection: Connection) -> str:
    """Return an error text if the tables have another version than the code, else an empty text."""
    script = ScriptDirectory(str(Path(__file__).parent / "migrations"))
    found, wanted = MigrationContext.configure(connection).get_current_revision(), script.get_current_head()
    if found == wanted:
        return ""
    if found is None and not inspect(connection).get_table_names():
        return (
            "the database has no tables: restore a backup; a copied file needs the -wal file beside it. "
            "If it is new, start the backend once"
        )
    return unknown_version(connection) or (
        f"the tables have version {found}, this program needs {wanted}: start the backend once to update them"
    )


def unknown_version(connection: Connection) -> str:
    """Return an error text if the code does not know the version of the tables, else an empty text."""
    script = ScriptDirectory(str(Path(__file__).parent / "migrations"))
    found = MigrationContext.configure(connection).get_current_revision()
    if found is None or found in {one.revision for one in script.walk_revisions()}:
        return ""
    return (
        f"the tables have version {found}, which this program does not know: a newer version of BlockHF wrote them; "
        "install that version, or restore a backup"
    )


@contextmanager
def reserved(url: str) -> Iterator[None]:
    """Reserve a SQLite file for one backend process; on PostgreSQL, check that the server can be reached.

    The operating system releases the lock when the process ends. Backup, doctor and purge need no lock.

    Raises:
        Unusable: another backend uses the file, or the server cannot be reached.
    """
    parsed = parse(url)
    if parsed.get_backend_name() == "postgresql":
        _reach(url)
        yield
    elif parsed.database in {None, "", ":memory:"}:
        yield
    else:
        with _locked(Path(str(parsed.database))):
            yield


@contextmanager
def _locked(file: Path) -> Iterator[None]:
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(f"{file}.lock", blocking=False):
            yield
    except Timeout:
        raise Unusable(
            f"another backend uses {file}: stop it, set another BLOCKHF_HOME for this one, or set BLOCKHF_DATABASE_URL "
            "to a PostgreSQL database, which several backends can share"
        ) from None


def _reach(url: str) -> None:
    """Check that the server can be reached."""
    database = Database(url, migrate=False)
    try:
        database.now()
    except OperationalError as error:
        where = make_url(url).render_as_string(hide_password=True)
        raise Unusable(f"the database {where} cannot be reached: {str(error.orig).splitlines()[0]}") from None
    finally:
        database.close()


@contextmanager
def _foreign_keys_off(connection: Connection, sqlite: bool) -> Iterator[None]:
    """Turn off foreign keys while SQLite replaces a table: dropping it would delete the rows that refer to it."""
    if not sqlite:
        yield
        return
    cursor = (
        connection.connection.cursor()
    )  # not by SQLAlchemy, which opens a transaction: the pragma has no effect within one
    cursor.execute("PRAGMA foreign_keys=OFF")
    try:
        yield
    finally:
        cursor.execute("PRAGMA foreign_keys=ON")


def _sqlite_engine(url: str) -> Engine:
    engine = create_engine(
        url,
        connect_args={"isolation_level": None, "timeout": _BUSY_SECONDS, "check_same_thread": False},
        pool_size=40,
    )

    @event.listens_for(engine, "connect")
    def _set_pragmas(connection: Any, _record: Any) -> None:
        for pragma in ("journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON", f"busy_timeout={_BUSY_SECONDS}000"):
            connection.execute(f"PRAGMA {pragma}")

    @event.listens_for(engine, "begin")
    def _begin(connection: Connection) -> None:
        immediate = connection.get_execution_options().get("immediate", False)
        connection.exec_driver_sql("BEGIN IMMEDIATE" if immediate else "BEGIN")

    return engine


def _postgres_engine(url: URL) -> Engine:
    """Create an engine that limits how long a transaction waits for a lock, and how long an idle one keeps it."""
    if url.drivername == "postgresql":
        url = url.set(drivername="postgresql+psycopg")
    limits = {
        "options": f"-c lock_timeout={_BUSY_SECONDS}s -c idle_in_transaction_session_timeout={_BUSY_SECONDS}s",
        "connect_timeout": str(_BUSY_SECONDS),
    }
    return create_engine(url.set(query=limits | dict(url.query)), pool_size=40, pool_pre_ping=True)
