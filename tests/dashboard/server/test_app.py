"""The dashboard's settings come with the package."""

from streamlit import config

from backend.settings import Settings
from dashboard.server.app import streamlit_options


def test_options_are_known_to_streamlit() -> None:
    """Every option that is set exists, so that none is silently without effect."""
    known = set(config._config_options_template)
    assert set(streamlit_options(Settings())) <= known


def test_nothing_is_reported_or_exposed() -> None:
    """No usage statistics, the local address, protection left on, no tracebacks for visitors."""
    options = streamlit_options(Settings())
    assert options["browser.gatherUsageStats"] is False
    assert options["server.address"] == "127.0.0.1"
    assert options["client.showErrorDetails"] == "type"
    assert options["logger.hideWelcomeMessage"] is True
    assert "server.enableXsrfProtection" not in options
    assert "server.enableCORS" not in options
    assert options["server.allowedHosts"] == ["127.0.0.1", "localhost", "::1"]
    assert options["server.enableAgentApi"] is False
