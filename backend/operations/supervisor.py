"""`blockhf up`: backend, worker and dashboard as three processes, each restarted when it dies, all stopped together."""

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
from backend.security.tokens import Tokens, fresh
from backend.settings import Settings

READY_SECONDS = 120.0
STOP_SECONDS = 15.0
QUICK_DEATHS = 5


class StartError(BlockHFError):
    """A process cannot be started; the message is one line that says what to do."""

    code = "start"


class PortTaken(StartError):
    """Another program listens where one of ours should."""

    code = "port-taken"


class ServiceName(StrEnum):
    """The three processes in the order of their start; each is a package with a `__main__`."""

    BACKEND = "backend"
    WORKER = "worker"
    DASHBOARD = "dashboard"


@dataclass
class Service:
    """One process of the stack."""

    name: ServiceName
    process: subprocess.Popen[bytes] | None = None
    deaths: list[float] = field(default_factory=list)

    def start(self, environment: dict[str, str]) -> None:
        """Start the process in a group of its own, so that Ctrl-C reaches the supervisor alone."""
        self.process = subprocess.Popen(
            [sys.executable, "-m", self.name.value], env=environment, start_new_session=True
        )

    def died(self) -> int | None:
        """Return the exit code of a process that is gone."""
        return self.process.poll() if self.process else None

    def stop(self, deadline: float) -> None:
        """Ask the process to end, and end it when the deadline (monotonic seconds) has passed."""
        if self.process is None or self.process.poll() is not None:
            return
        try:
            self.process.wait(max(0.1, deadline - time.monotonic()))
        except subprocess.TimeoutExpired:
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()


def answers(name: ServiceName, settings: Settings) -> bool:
    """Ask whether a process does its work: the backend is ready, a worker is registered, the dashboard serves.

    Raises StartError where the backend is there and refuses: that will not change while one waits.
    """
    try:
        with httpx.Client(timeout=2, trust_env=False) as http:  # a proxy is not asked for what runs here
            match name:
                case ServiceName.BACKEND:
                    return _let_in(http.get(f"{settings.api}/api/v1/ready")).is_success
                case ServiceName.WORKER:
                    catalog = http.get(f"{settings.api}/api/v1/catalog", headers=settings.authorization)
                    return any(one["alive"] for one in _let_in(catalog).raise_for_status().json()["workers"])
                case ServiceName.DASHBOARD:
                    return http.get(f"{settings.dashboard}/healthz").is_success
    except httpx.HTTPError:
        return False


def _let_in(response: httpx.Response) -> httpx.Response:
    if response.status_code in {401, 403}:
        raise StartError(f"what answers at {response.url} refuses: {response.text[:500]}")
    return response


def check_port(host: str, port: int, variable: str) -> None:
    """Raise PortTaken where something listens on the port, naming the variable that moves ours."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            raise PortTaken(
                f"port {port} on {host} cannot be used ({error.strerror}): stop what uses it, or set {variable}"
            ) from error


class Stack:
    """The three services in the order of their start."""

    def __init__(self, settings: Settings, say: Callable[[str], None]) -> None:
        self.settings = _with_token(settings)
        self.say = say
        self.environment = os.environ | {"BLOCKHF_BACKEND_URL": settings.api, "PYTHONUNBUFFERED": "1"}
        if token := self.settings.token.get_secret_value():
            self.environment["BLOCKHF_TOKEN"] = token
        self.services = [Service(name) for name in ServiceName]

    def start(self, stopped: Callable[[], bool]) -> None:
        """Start all, then wait until each answers or `stopped()`; raises StartError naming the one that does not."""
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
                    raise StartError(f"the {service.name} ended at its start (exit code {code}); its words stand above")
                if time.monotonic() > deadline:
                    raise StartError(f"the {service.name} did not answer within {READY_SECONDS:.0f} s")
                time.sleep(0.2)
            self.say(f"{service.name} is ready")

    def watch(self) -> None:
        """Restart what died; raises StartError when one dies too often within a minute."""
        for service in self.services:
            if (code := service.died()) is None:
                continue
            now = time.monotonic()
            service.deaths = [t for t in service.deaths if now - t < 60] + [now]
            if len(service.deaths) >= QUICK_DEATHS:
                raise StartError(f"the {service.name} died {QUICK_DEATHS} times within a minute (exit code {code})")
            self.say(f"{service.name} ended (exit code {code}); starting it again")
            service.start(self.environment)

    def stop(self) -> None:
        """Stop all, the dashboard first and the backend last, so that the worker can still hand in its rows."""
        deadline = time.monotonic() + STOP_SECONDS
        for service in reversed(self.services):
            if service.process and service.process.poll() is None:
                service.process.terminate()
            service.stop(deadline)


def _with_token(settings: Settings) -> Settings:
    """Where requests need a token and none is set, draw one for the three processes, until they end."""
    if settings.token.get_secret_value() or not Tokens(settings).exist:
        return settings
    return settings.model_copy(update={"token": SecretStr(fresh())})


@contextmanager
def stop_signals() -> Iterator[Callable[[], bool]]:
    """Turn SIGINT, SIGTERM and, unless it is ignored (nohup), SIGHUP into a question: has one come?"""
    received: list[int] = []

    def note(number: int, _frame: FrameType | None) -> None:
        received.append(number)

    wanted = {signal.SIGINT, signal.SIGTERM}
    if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:
        wanted.add(signal.SIGHUP)  # the terminal was closed
    before = {number: signal.signal(number, note) for number in wanted}
    try:
        yield lambda: bool(received)
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
