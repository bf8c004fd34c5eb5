"""The engine with its pragmas, and short transactions for reading and writing."""

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from threading import Lock
from typing import Any

from alembic import command
from alembic.config import Config
from sqlalchemy import Connection, Engine, create_engine, event, make_url, text

_BUSY_SECONDS = 30


class Database:
    """Open a database by SQLAlchemy URL and, unless told otherwise, bring its tables up to date."""

    def __init__(self, url: str, *, migrate: bool = True) -> None:
        parsed = make_url(url)
        self.sqlite = parsed.get_backend_name() == "sqlite"
        if self.sqlite and parsed.database:
            Path(parsed.database).parent.mkdir(parents=True, exist_ok=True)
        self.engine = _sqlite_engine(url) if self.sqlite else create_engine(url, pool_size=40, pool_pre_ping=True)
        # SQLite has one writer; threads that wait in line for a lock are served sooner than those that poll the file.
        self._writer = Lock() if self.sqlite else nullcontext()
        self._immediate = self.engine.execution_options(immediate=True)
        if migrate:
            self._migrate()

    @contextmanager
    def read(self) -> Iterator[Connection]:
        """Open one consistent view of the data."""
        with self.engine.connect() as connection:
            yield connection

    @contextmanager
    def write(self) -> Iterator[Connection]:
        """Open a transaction that commits at the end and rolls back on any exception."""
        with self._writer, self._immediate.begin() as connection:
            yield connection

    def check(self) -> None:
        """Raise where the database cannot be read."""
        with self.read() as connection:
            connection.execute(text("SELECT count(*) FROM alembic_version"))

    def close(self) -> None:
        """Close the connections."""
        self.engine.dispose()

    def _migrate(self) -> None:
        config = Config()
        config.set_main_option("script_location", "backend:migrations")
        config.set_main_option("path_separator", "os")
        with (
            self._writer,
            self._immediate.connect() as connection,
            _foreign_keys_off(connection, self.sqlite),
            connection.begin(),
        ):
            config.attributes["connection"] = connection
            command.upgrade(config, "head")


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
