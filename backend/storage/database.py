"""The engine with its pragmas, and short transactions for reading and writing."""

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
from sqlalchemy import URL, Connection, Engine, create_engine, event, make_url, text
from sqlalchemy.exc import ArgumentError, NoSuchModuleError, OperationalError
from sqlalchemy.pool import QueuePool

from backend.errors import BlockHFError

_BUSY_SECONDS = 30
_CLOSE_SECONDS = 5
_ALONE = 0x626C6F636B6866
"""The key of PostgreSQL's advisory lock for the writers that others must wait for; any number will do."""


class Unusable(BlockHFError):
    """A backend cannot be started on this database; the message is one line that says what to do."""

    code = "database-unusable"


class Database:
    """Open a database by SQLAlchemy URL and, unless told otherwise, bring its tables up to date."""

    def __init__(self, url: str, *, migrate: bool = True) -> None:
        parsed = parse(url)
        self.sqlite = parsed.get_backend_name() == "sqlite"
        if self.sqlite and parsed.database:
            Path(parsed.database).parent.mkdir(parents=True, exist_ok=True)
        try:
            self.engine = _sqlite_engine(url) if self.sqlite else _postgres_engine(parsed)
        except ModuleNotFoundError as error:
            raise Unusable(f"PostgreSQL needs {error.name}: pip install 'blockhf[postgres]'") from None
        # SQLite has one writer; threads that wait in line for a lock are served sooner than those that poll the file.
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
        """Open a database that is there and leave its tables as they are; raise Unusable where there is none."""
        parsed = parse(url)
        if parsed.get_backend_name() == "sqlite" and not Path(parsed.database or ":memory:").is_file():
            raise Unusable(
                f"there is no database at {parsed.database}; BLOCKHF_HOME or BLOCKHF_DATABASE_URL say where it is"
            )
        return cls(url, migrate=False)

    @contextmanager
    def read(self) -> Iterator[Connection]:
        """Open one consistent view of the data."""
        with self._view.connect() as connection:
            yield connection

    @contextmanager
    def write(self, *, alone: bool = False) -> Iterator[Connection]:
        """Open a transaction that commits at the end and rolls back on any exception.

        On SQLite no other one writes meanwhile. On PostgreSQL others may, to other rows; where that would be wrong, as
        it is for what counts or numbers rows, it is `alone` among those that say so.
        """
        with self._writer, self._immediate.begin() as connection:
            if alone:
                self._exclude(connection)
            yield connection

    def now(self) -> float:
        """Tell the time, in seconds since 1970, by the clock that all backends of this database share."""
        if self.sqlite:
            return time.time()
        with self.read() as connection:
            return float(connection.execute(text("SELECT extract(epoch FROM clock_timestamp())")).scalar_one())

    def check(self) -> None:
        """Raise where the database cannot be read."""
        with self.read() as connection:
            connection.execute(text("SELECT count(*) FROM alembic_version"))

    def close(self) -> None:
        """Close the connections, those in use once they are free, or after some seconds."""
        pool, deadline = self.engine.pool, time.monotonic() + _CLOSE_SECONDS
        while isinstance(pool, QueuePool) and pool.checkedout() and time.monotonic() < deadline:
            time.sleep(0.01)
        self.engine.dispose()

    def _exclude(self, connection: Connection) -> None:
        if not self.sqlite:
            connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _ALONE})

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
            self._exclude(connection)  # backends that start together
            config.attributes["connection"] = connection
            command.upgrade(config, "head")


def parse(url: str) -> URL:
    """Read a database's URL; raise Unusable where it names none that can be used."""
    try:
        parsed = make_url(url)
        parsed.get_dialect()
    except (ArgumentError, NoSuchModuleError) as error:
        raise Unusable(f"BLOCKHF_DATABASE_URL is no database that can be used: {error}") from None
    if parsed.get_backend_name() not in {"sqlite", "postgresql"}:
        raise Unusable(f"BLOCKHF_DATABASE_URL must be SQLite or PostgreSQL, not {parsed.get_backend_name()}")
    return parsed


def outdated(connection: Connection) -> str:
    """Say that the tables have another version than the code; nothing where they have the same."""
    script = ScriptDirectory(str(Path(__file__).parent / "migrations"))
    found, wanted = MigrationContext.configure(connection).get_current_revision(), script.get_current_head()
    if found == wanted:
        return ""
    return f"the tables have version {found}, this program wants {wanted}: start the backend once"


@contextmanager
def reserved(url: str) -> Iterator[None]:
    """Keep a SQLite file to one backend for as long as this lasts; raise Unusable where it, or a server, cannot be had.

    The file's lock goes with the process, however that ends. Copying, examining and purging need no lock.
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
            f"another backend works with {file}: stop it, give this one another BLOCKHF_HOME, or give both a "
            "BLOCKHF_DATABASE_URL of PostgreSQL, which several backends can share"
        ) from None


def _reach(url: str) -> None:
    """Connect once."""
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
    """Let SQLite replace a table that others refer to: with the keys on, dropping the old one drops their rows too."""
    if not sqlite:
        yield
        return
    cursor = connection.connection.cursor()  # below SQLAlchemy: the pragma does nothing within a transaction
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
    """Make an engine whose transactions never wait for a lock, or hold one idly, for longer than a writer may."""
    if url.drivername == "postgresql":
        url = url.set(drivername="postgresql+psycopg")
    limits = {
        "options": f"-c lock_timeout={_BUSY_SECONDS}s -c idle_in_transaction_session_timeout={_BUSY_SECONDS}s",
        "connect_timeout": str(_BUSY_SECONDS),
    }
    return create_engine(url.set(query=limits | dict(url.query)), pool_size=40, pool_pre_ping=True)
