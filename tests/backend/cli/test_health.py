"""Tests of the fast health check: it asks the same addresses as the complete one, and gives the same answers."""

import socket

import pytest

from backend.cli import health
from backend.cli.main import main
from backend.settings import Settings
from tests.one_answer import answering

ENVIRONMENTS = [
    {},
    {"PORT": "9", "DASHBOARD_PORT": "8"},
    {"HOST": "0.0.0.0", "DASHBOARD_HOST": "::"},
    {"HOST": "::1", "BACKEND_URL": "http://elsewhere:1"},
]


@pytest.mark.parametrize("environment", ENVIRONMENTS)
def test_addresses_are_those_of_the_settings(environment: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    """The check derives the same addresses from variables as the settings do."""
    variables = {f"BLOCKHF_{name}": value for name, value in environment.items()}
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    settings = Settings()
    assert health.url("backend", variables) == f"{settings.api}/api/v1/ready"
    assert health.url("worker", variables) == f"{settings.api}/api/v1/catalog"
    assert health.url("dashboard", variables) == f"{settings.dashboard}/healthz"


@pytest.mark.parametrize(
    ("service", "status", "body", "expected"),
    [
        ("backend", 200, b"{}", True),
        ("backend", 503, b"{}", False),
        ("backend", 403, b"", None),
        ("worker", 200, b'{"workers": [{"alive": false}, {"alive": true}]}', True),
        ("worker", 200, b'{"workers": []}', False),
        ("dashboard", 200, b"ok", True),
    ],
)
def test_answers(
    service: str, status: int, body: bytes, expected: bool | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A service is ready, not ready, or refuses the request, which the complete command explains."""

    with answering(status, body) as port:
        for name in ("BLOCKHF_PORT", "BLOCKHF_DASHBOARD_PORT"):
            monkeypatch.setenv(name, str(port))
        assert health.check(service) is expected


def test_the_exit_code_tells_a_missing_service(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a server the exit code is 1; an invalid variable gives one, too."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        monkeypatch.setenv("BLOCKHF_PORT", str(probe.getsockname()[1]))
    monkeypatch.setattr("sys.argv", ["blockhf", "health", "backend"])
    with pytest.raises(SystemExit) as caught:
        main()
    assert caught.value.code == 1
    monkeypatch.setenv("BLOCKHF_PORT", "none")
    assert health.check("backend") is None
