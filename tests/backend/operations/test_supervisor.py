"""Tests of the supervisor's parts; the whole stack is started in tests/e2e/test_up.py."""

import os
import signal
import socket
from pathlib import Path

import pytest

from backend.operations.supervisor import (
    PortTaken,
    Service,
    ServiceName,
    StartError,
    answers,
    check_port,
    stop_signals,
)
from backend.settings import Settings
from tests.one_answer import answering
from tests.processes import free_port


def test_a_taken_port_is_said_in_one_line() -> None:
    """The message names the port, the address and the variable that moves it."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(PortTaken) as error:
            check_port("127.0.0.1", port, "BLOCKHF_PORT")
    text = str(error.value)
    assert f"port {port} on 127.0.0.1" in text
    assert "set BLOCKHF_PORT" in text
    assert "\n" not in text


def test_a_free_port_passes() -> None:
    """A free port is accepted."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    check_port("127.0.0.1", port, "BLOCKHF_PORT")


@pytest.mark.parametrize("name", list(ServiceName))
def test_nothing_answers_where_nothing_runs(name: ServiceName) -> None:
    """A process that is not there does not answer, and that is no exception."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    assert not answers(name, Settings(port=port, dashboard_port=port, backend_url=""))


@pytest.mark.parametrize("name", list(ServiceName))
def test_no_proxy_is_asked(name: ServiceName, monkeypatch: pytest.MonkeyPatch) -> None:
    """What runs here answers also where the environment names a proxy, which is not there."""
    for variable in ("HTTP_PROXY", "http_proxy", "ALL_PROXY"):
        monkeypatch.setenv(variable, f"http://127.0.0.1:{free_port()}")
    with answering(200, b'{"workers": [{"alive": true}]}') as port:
        assert answers(name, Settings(port=port, dashboard_port=port, backend_url=""))


@pytest.mark.parametrize("name", [ServiceName.BACKEND, ServiceName.WORKER])
@pytest.mark.parametrize("status", [401, 403])
def test_a_refusal_is_not_waited_for(name: ServiceName, status: int) -> None:
    """If the backend responds but refuses access, starting fails at once with its message."""
    with answering(status, b"Host is not allowed") as port, pytest.raises(StartError, match="Host is not allowed"):
        answers(name, Settings(port=port, backend_url=""))


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_is_noted_and_the_old_handler_returns(number: signal.Signals) -> None:
    """Ctrl-C, SIGTERM and a closed terminal are noted instead of ending the process; afterwards all is as before."""
    ours = signal.signal(number, signal.SIG_DFL)  # the tests themselves may run under nohup
    try:
        with stop_signals() as stopped:
            assert not stopped()
            os.kill(os.getpid(), number)
            assert stopped()
        assert signal.getsignal(number) is signal.SIG_DFL
    finally:
        signal.signal(number, ours)


def test_nohup_outlives_its_terminal() -> None:
    """Where a closed terminal is ignored, as nohup has it, it stays so."""
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with stop_signals() as stopped:
            os.kill(os.getpid(), signal.SIGHUP)
            assert not stopped()
    finally:
        signal.signal(signal.SIGHUP, before)


def test_a_folder_named_worker_is_not_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In a folder with its own package `worker` the supervisor starts BlockHF's worker, which refuses its settings."""
    own = tmp_path / "worker"
    own.mkdir()
    (own / "__init__.py").touch()
    (own / "__main__.py").write_text("raise SystemExit(7)")
    monkeypatch.chdir(tmp_path)
    service = Service(ServiceName.WORKER)
    service.start(os.environ | {"BLOCKHF_PORT": "none"})
    assert service.process is not None
    assert service.process.wait(120) == 1
