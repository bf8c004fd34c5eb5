"""`blockhf up`: runs backend, worker and dashboard, restarts a process that dies, and stops all three together."""

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from enum import StrEnum
from types import FrameType

import httpx
from pydantic import SecretStr

from backend.errors import BlockHFError
from backend.security.tokens import Tokens, random_token
from backend.settings import Settings

READY_SECONDS = 120.0
STOP_SECONDS = 15.0
MAX_DEATHS = 5
"""Deaths of one process within a minute after which all are stopped."""


class StartError(BlockHFError):
    """A process cannot be started; the message is one line that says what to do."""

    code = "start"


class PortTaken(StartError):
    """A port cannot be used."""

    code = "port-taken"


class ServiceName(StrEnum):
    """The three processes in start order; each is a package with a `__main__`."""

    BACKEND = "backend"
    WORKER = "worker"
    DASHBOARD = "dashboard"


@dataclass
class Service:
    """One of the three processes."""

    name: ServiceName
    process: subprocess.Popen[bytes] | None = None
    deaths: list[float] = field(default_factory=list)

    def start(self, environment: dict[str, str]) -> None:
        """Start the process in its own process group, so that Ctrl-C reaches only the supervisor.

        `-P` keeps the working directory out of the module search path: a folder named `worker` there must not be run.
        """
        self.process = subprocess.Popen(
            [sys.executable, "-P", "-m", self.name.value], env=environment, start_new_session=True
        )

    def died(self) -> int | None:
        """Return the exit code; None while the process runs or before its start."""
        return self.process.poll() if self.process else None

    def stop(self, deadline: float) -> None:
        """Wait for the process to end; kill it after the deadline (monotonic seconds)."""
        if self.process is None or self.process.poll() is not None:
            return
        try:
            self.process.wait(max(0.1, deadline - time.monotonic()))
        except subprocess.TimeoutExpired:
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()


def answers(name: ServiceName, settings: Settings) -> bool:
    """Return whether a process is ready: the backend can read its database, a worker is alive, the dashboard responds.

    Raises:
        StartError: the backend refuses the request, so waiting does not help.
    """
    try:
        with httpx.Client(timeout=2, trust_env=False) as http:  # no proxy: the processes run on this machine
            match name:
                case ServiceName.BACKEND:
                    return _check_allowed(http.get(f"{settings.api}/api/v1/ready")).is_success
                case ServiceName.WORKER:
                    catalog = http.get(f"{settings.api}/api/v1/catalog", headers=settings.authorization)
                    return any(one["alive"] for one in _check_allowed(catalog).raise_for_status().json()["workers"])
                case ServiceName.DASHBOARD:
                    return http.get(f"{settings.dashboard}/healthz").is_success
    except httpx.HTTPError:
        return False


def _check_allowed(response: httpx.Response) -> httpx.Response:
    if response.status_code in {401, 403}:
        raise StartError(f"{response.url} refused the request: {response.text[:500]}")
    return response


def check_port(host: str, port: int, variable: str) -> None:
    """Raise PortTaken if a port cannot be used; `variable` is the setting that chooses it."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            raise PortTaken(
                f"port {port} on {host} cannot be used ({error.strerror}): stop the program there, or set {variable}"
            ) from error


class Stack:
    """The three processes in start order."""

    def __init__(self, settings: Settings, report: Callable[[str], None]) -> None:
        self.settings = _with_token(settings)
        self.report = report
        self.environment = os.environ | {"BLOCKHF_BACKEND_URL": settings.api, "PYTHONUNBUFFERED": "1"}
        if token := self.settings.token.get_secret_value():
            self.environment["BLOCKHF_TOKEN"] = token
        self.services = [Service(name) for name in ServiceName]

    def start(self, stopped: Callable[[], bool]) -> None:
        """Start all, then wait until each is ready.

        Args:
            stopped: returns whether to stop waiting.

        Raises:
            StartError: a process ended or was not ready in time, or a port cannot be used.
        """
        check_port(self.settings.host, self.settings.port, "BLOCKHF_PORT")
        check_port(self.settings.dashboard_host, self.settings.dashboard_port, "BLOCKHF_DASHBOARD_PORT")
        for service in self.services:
            service.start(self.environment)
        deadline = time.monotonic() + READY_SECONDS
        for service in self.services:
            while not answers(service.name, self.settings):
                if stopped():
                    return
                if (code := service.died()) is not None:
                    raise StartError(
                        f"the {service.name} exited during start-up (exit code {code}); see its output above"
                    )
                if time.monotonic() > deadline:
                    raise StartError(f"the {service.name} was not ready within {READY_SECONDS:.0f} s")
                time.sleep(0.2)
            self.report(f"{service.name} is ready")

    def watch(self) -> None:
        """Restart the processes that died.

        Raises:
            StartError: one died too often within a minute.
        """
        for service in self.services:
            if (code := service.died()) is None:
                continue
            now = time.monotonic()
            service.deaths = [t for t in service.deaths if now - t < 60] + [now]
            if len(service.deaths) >= MAX_DEATHS:
                raise StartError(f"the {service.name} died {MAX_DEATHS} times within a minute (exit code {code})")
            self.report(f"{service.name} exited (exit code {code}); restarting it")
            service.start(self.environment)

    def stop(self) -> None:
        """Stop all, the backend last, so that the worker can still deliver its rows."""
        deadline = time.monotonic() + STOP_SECONDS
        for service in reversed(self.services):
            if service.process and service.process.poll() is None:
                service.process.terminate()
            service.stop(deadline)


def _with_token(settings: Settings) -> Settings:
    """Add a random token for the three processes if requests need a token and none is set."""
    if settings.token.get_secret_value() or not Tokens(settings).exist:
        return settings
    return settings.model_copy(update={"token": SecretStr(random_token())})


@contextmanager
def stop_signals() -> Iterator[Callable[[], bool]]:
    """Handle SIGINT, SIGTERM and, unless it is ignored (nohup), SIGHUP; yield a function: has a signal arrived?"""
    received: list[int] = []

    def note(number: int, _frame: FrameType | None) -> None:
        received.append(number)

    wanted = {signal.SIGINT, signal.SIGTERM}
    if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:
        wanted.add(signal.SIGHUP)  # sent when the terminal closes
    before = {number: signal.signal(number, note) for number in wanted}
    try:
        yield lambda: bool(received)
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
