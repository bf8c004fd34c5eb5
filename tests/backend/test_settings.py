"""Tests of the settings."""

from pathlib import Path

import pytest
from pydantic import ValidationError

from backend.settings import Settings


def test_defaults_are_local() -> None:
    """Without any variable everything binds to this machine alone and is kept in one folder."""
    settings = Settings()
    assert (settings.host, settings.dashboard_host) == ("127.0.0.1", "127.0.0.1")
    assert settings.url == f"sqlite:///{settings.home / 'blockhf.sqlite3'}"
    assert settings.api == f"http://127.0.0.1:{settings.port}"


def test_variables_are_read(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Each setting is the variable of its name, after BLOCKHF_."""
    monkeypatch.setenv("BLOCKHF_HOME", str(tmp_path))
    monkeypatch.setenv("BLOCKHF_PORT", "9000")
    monkeypatch.setenv("BLOCKHF_BACKEND_URL", "http://lab:1")
    settings = Settings()
    assert (settings.home, settings.port, settings.api) == (tmp_path, 9000, "http://lab:1")


@pytest.mark.parametrize(("name", "value"), [("PORT", "70000"), ("LEASE_SECONDS", "0"), ("MAX_ATTEMPTS", "x")])
def test_bad_variables_are_refused(monkeypatch: pytest.MonkeyPatch, name: str, value: str) -> None:
    """A variable that is out of bounds stops the start."""
    monkeypatch.setenv(f"BLOCKHF_{name}", value)
    with pytest.raises(ValidationError, match=name.lower()):
        Settings()


def test_every_setting_is_explained() -> None:
    """Each variable has a line of help."""
    assert all(field.description for field in Settings.model_fields.values())
