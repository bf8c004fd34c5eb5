"""Tests of the settings' addresses."""

import os
import re
import subprocess
import sys

import pytest
from pydantic import SecretStr, ValidationError

from backend.settings import REPLACED, Settings, faults, from_environment


@pytest.mark.parametrize(
    ("host", "url"),
    [
        ("127.0.0.1", "http://127.0.0.1:8700"),
        ("0.0.0.0", "http://127.0.0.1:8700"),
        ("::", "http://[::1]:8700"),
        ("example.org", "http://example.org:8700"),
    ],
)
def test_the_backend_is_reached_where_it_listens(host: str, url: str) -> None:
    """A wildcard address is reached by loopback, an IPv6 address in brackets."""
    assert Settings(host=host, backend_url="").api == url


def test_a_given_url_wins(monkeypatch: pytest.MonkeyPatch) -> None:
    """BLOCKHF_BACKEND_URL takes precedence over address and port."""
    monkeypatch.setenv("BLOCKHF_BACKEND_URL", "http://elsewhere:1")
    assert Settings().api == "http://elsewhere:1"


def test_a_lease_is_at_least_three_heartbeats() -> None:
    """A lease that one late heartbeat could cost a worker is refused with both settings' names."""
    assert Settings(lease_seconds=6, heartbeat_seconds=2).lease_seconds == 6
    for given in ({"lease_seconds": 5.9, "heartbeat_seconds": 2}, {"heartbeat_seconds": 20}):
        with pytest.raises(ValidationError) as caught:
            Settings.model_validate(given)
        (fault,) = faults(caught.value).errors
        assert fault.field == "BLOCKHF_LEASE_SECONDS"
        assert f"3 times BLOCKHF_HEARTBEAT_SECONDS ({given['heartbeat_seconds']:g})" in fault.limit


WRONG = {
    "BLOCKHF_PORT": ("abc", "(at least 0, at most 65535)"),
    "BLOCKHF_LEASE_SECONDS": ("1", "must be at least 6, 3 times BLOCKHF_HEARTBEAT_SECONDS (2)"),
    "BLOCKHF_STALL_TIMEOUT_SECONDS": ("-1", "Input should be greater than 0"),
    "BLOCKHF_MAX_QUEUED": ("0", "Input should be greater than or equal to 1"),
    "BLOCKHF_LOG_LEVEL": ("loud", "Input should be 'debug', 'info', 'warning' or 'error'"),
    "BLOCKHF_ALLOW_UNAUTHENTICATED_NETWORK": ("maybe", "Input should be a valid boolean"),
}


@pytest.mark.parametrize("name", WRONG)
def test_a_wrong_variable_is_named(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A process of its own ends with the variable, its value and what it may be, on one line; no secret is in it."""
    value, limit = WRONG[name]
    monkeypatch.setenv("BLOCKHF_TOKEN", "secret-secret")
    monkeypatch.setenv(name, value)
    with pytest.raises(SystemExit) as caught:
        from_environment()
    line = str(caught.value.code)
    assert line.startswith(f"error: {name} is '{value}': ")
    assert limit in line
    assert line.count("\n") == 0
    assert "secret" not in line


@pytest.mark.parametrize("name", REPLACED)
def test_a_replaced_variable_is_refused(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A variable of an earlier version ends the process; the message names what replaces it."""
    variable = f"BLOCKHF_{name}".upper()
    monkeypatch.setenv(variable, "1")
    with pytest.raises(SystemExit) as caught:
        from_environment()
    assert str(caught.value.code) == f"error: {variable} is '1': {REPLACED[name]}"
    assert name not in Settings.model_fields


def test_replacements_exist() -> None:
    """Every variable that a message names is a setting."""
    named = {word for text in REPLACED.values() for word in re.findall(r"BLOCKHF_(\w+)", text)}
    assert {name.lower() for name in named} <= set(Settings.model_fields)


@pytest.mark.parametrize(
    "url", ["nonsense", "ftp://host", "http://", "http://[::1", "http://host:x", "http://host:70000"]
)
def test_an_address_that_is_none_is_refused(url: str) -> None:
    """BLOCKHF_BACKEND_URL must be a valid URL."""
    with pytest.raises(ValidationError) as caught:
        Settings(backend_url=url)
    (fault,) = faults(caught.value).errors
    assert (fault.field, fault.value) == ("BLOCKHF_BACKEND_URL", url)
    assert Settings(backend_url="https://[::1]:8700/below").api == "https://[::1]:8700/below"


@pytest.mark.parametrize("token", ["\u00e4" * 30, " begins with a space", "ends with one ", "a\nline", "tab\t"])
def test_a_token_that_no_header_can_hold_is_refused(token: str) -> None:
    """BLOCKHF_TOKEN is named, and its value is not."""
    with pytest.raises(ValidationError) as caught:
        Settings(token=SecretStr(token))
    assert str(faults(caught.value)).startswith("BLOCKHF_TOKEN is '***': must be printable ASCII characters")
    assert Settings(token=SecretStr("several words do")).token.get_secret_value() == "several words do"


@pytest.mark.parametrize("package", ["backend", "worker", "dashboard"])
def test_no_process_starts_wrongly(package: str) -> None:
    """Each of the three processes reports invalid variables without a traceback."""
    environment = os.environ | {"BLOCKHF_PORT": "70000", "BLOCKHF_MAX_QUEUED": "0"}
    done = subprocess.run([sys.executable, "-m", package], env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert [line.split(":")[1] for line in done.stderr.splitlines()] == [
        " BLOCKHF_PORT is '70000'",
        " BLOCKHF_MAX_QUEUED is '0'",
    ]
