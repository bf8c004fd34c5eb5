"""A PostgreSQL server of one's own for tests and benchmarks: in a temporary folder, on a free loopback port."""

import os
import pwd
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from importlib.util import find_spec
from itertools import count
from pathlib import Path

import psutil
from sqlalchemy import create_engine, make_url, text
from sqlalchemy.exc import OperationalError

from tests.processes import free_port

START_SECONDS = 120.0
_FOLDERS = sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)  # Debian keeps them out of the PATH


def binary(name: str) -> str | None:
    """Find a program of the server's."""
    return shutil.which(name, path=os.pathsep.join([os.environ.get("PATH", ""), *map(str, _FOLDERS)]))


def lacking() -> str:
    """Say why no server can be started here; nothing where it can."""
    if binary("initdb") is None or binary("postgres") is None:
        return "initdb or postgres is neither on PATH nor in /usr/lib/postgresql"
    if find_spec("psycopg") is None:
        return "the package psycopg is not installed: pip install 'blockhf[postgres]'"
    if os.getuid() == 0 and _user() is None:
        return "PostgreSQL does not run as root, and there is no user postgres or nobody"
    return ""


class Cluster:
    """A server with a superuser `blockhf`; `kill` and `start` again is what a crash looks like.

    Args:
        durable: wait for the disk at each commit, as a real server does; tests that crash nothing need not.
    """

    def __init__(self, *, durable: bool = True) -> None:
        self.port = free_port()
        self.folder = Path(tempfile.mkdtemp(prefix="blockhf-postgres-"))
        self._user = _user() if os.getuid() == 0 else None
        self._names = (f"test{n}" for n in count())
        self._durable = durable
        self._process: subprocess.Popen[bytes] | None = None
        if self._user:
            shutil.chown(self.folder, self._user)
        rights = ["--username=blockhf", "--auth=trust"]
        self._run("initdb", "--no-sync", "--encoding=UTF8", "--locale=C", *rights, f"--pgdata={self._data}").wait()
        self.start()

    @property
    def _data(self) -> Path:
        return self.folder / "data"

    def start(self) -> None:
        """Start the server and wait until it answers; after a kill it recovers first."""
        where = ["-D", str(self._data), "-p", str(self.port), "-c", "listen_addresses=127.0.0.1"]
        how = ["-c", f"unix_socket_directories={self.folder}", "-c", f"fsync={'on' if self._durable else 'off'}"]
        self._process = self._run("postgres", *where, *how, "-c", "max_connections=200")
        deadline = time.monotonic() + START_SECONDS
        while not self._answers():
            assert self._process.poll() is None, (self.folder / "log").read_text()
            assert time.monotonic() < deadline, "PostgreSQL did not start"
            time.sleep(0.05)

    def kill(self) -> None:
        """Kill the whole server at once, without a word to anyone."""
        assert self._process is not None
        children = psutil.Process(self._process.pid).children(recursive=True)
        self._process.kill()
        for child in children:
            with suppress(psutil.NoSuchProcess):
                child.kill()
        psutil.wait_procs(children)
        self._process.wait()

    def create(self, *, like: str = "template1") -> str:
        """Make a database and return its URL."""
        name = next(self._names)
        self._administer(f'CREATE DATABASE "{name}" TEMPLATE "{like}"')
        return self.url(name)

    def drop(self, url: str) -> None:
        """Remove a database, whoever uses it."""
        self._administer(f'DROP DATABASE "{make_url(url).database}" WITH (FORCE)')

    def url(self, name: str) -> str:
        """Return a database's URL."""
        return f"postgresql://blockhf@127.0.0.1:{self.port}/{name}"

    def stop(self) -> None:
        """End the server and remove what it wrote."""
        if self._process is not None and self._process.poll() is None:
            self.kill()
        shutil.rmtree(self.folder, ignore_errors=True)

    def _run(self, name: str, *arguments: str) -> subprocess.Popen[bytes]:
        program = binary(name)
        assert program is not None
        with (self.folder / "log").open("ab") as log:
            return subprocess.Popen(
                [program, *arguments], stdout=log, stderr=log, cwd=self.folder, start_new_session=True,
                user=self._user, group=_group(self._user), extra_groups=None if self._user is None else [],
            )  # fmt: skip

    def _answers(self) -> bool:
        try:
            self._administer("SELECT 1")
        except OperationalError:
            return False
        return True

    def _administer(self, statement: str) -> None:
        url = make_url(self.url("postgres")).set(drivername="postgresql+psycopg")
        engine = create_engine(url, isolation_level="AUTOCOMMIT", connect_args={"connect_timeout": 2})
        try:
            with engine.connect() as connection:
                connection.execute(text(statement))
        finally:
            engine.dispose()


@contextmanager
def cluster(*, durable: bool = True) -> Iterator[Cluster]:
    """Run a server for a while."""
    server = Cluster(durable=durable)
    try:
        yield server
    finally:
        server.stop()


def _user() -> str | None:
    """Choose who runs the server where we are root, which it refuses."""
    known = {entry.pw_name for entry in pwd.getpwall()}
    return next((name for name in ("postgres", "nobody") if name in known), None)


def _group(user: str | None) -> int | None:
    return None if user is None else pwd.getpwnam(user).pw_gid
