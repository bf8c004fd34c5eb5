"""Tests of the registry of problems and data sets."""

import logging
from importlib.metadata import EntryPoint

import pytest

from backend.errors import RunFailed
from backend.schemas.catalog import Catalog
from worker.problems.registry import DATA, PROBLEMS, discover


def point(name: str, value: str, group: str = PROBLEMS) -> EntryPoint:
    """Make an entry point as an installed package would have it."""
    return EntryPoint(name, value, group)


def test_installed_autoencoder_is_found() -> None:
    """The package's own entry point brings the autoencoder, with the embedded digits and MNIST."""
    registry = discover()
    assert registry.problem("autoencoder").title == "Deep autoencoder"
    assert {"mnist-5k", "mnist"} <= set(registry.data)


def test_catalog_survives_json() -> None:
    """What is announced can be read back unchanged."""
    catalog = discover().catalog()
    assert Catalog.model_validate_json(catalog.model_dump_json()) == catalog


def test_plugin_is_described() -> None:
    """A plug-in problem without symbolic shapes is announced with numbers, its options and its blocks."""
    (info,) = discover([point("classifier", "tests.worker.problems.plugin:CLASSIFIER")]).catalog().problems
    assert info.accuracy
    assert {layer.name: layer.parameters for layer in info.layers} == {
        "hidden": {"weight": [8, 784], "bias": [8]},
        "scores": {"weight": [10, 8], "bias": [10]},
    }
    assert info.options["properties"]["hidden"]["maximum"] == 64


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ("tests.worker.problems.nowhere:X", "ModuleNotFoundError"),
        ("tests.worker.problems.plugin:MISSING", "AttributeError"),
        ("tests.worker.problems.plugin:NOT_A_PROBLEM", "TypeError"),
        ("tests.worker.problems.plugin:NO_LAYERS", "no-layers"),
    ],
)
def test_broken_plugin_is_left_out(value: str, message: str, caplog: pytest.LogCaptureFixture) -> None:
    """A plug-in that fails is skipped with a warning that names it; the others are loaded."""
    points = [point("broken", value), point("good", "tests.worker.problems.plugin:CLASSIFIER")]
    with caplog.at_level(logging.WARNING):
        catalog = discover(points).catalog()
    assert [info.name for info in catalog.problems] == ["classifier"]
    assert message in caplog.text


def test_broken_data_plugin_is_left_out(caplog: pytest.LogCaptureFixture) -> None:
    """A data set's plug-in that fails is skipped with a warning."""
    registry = discover([point("broken", "tests.worker.problems.plugin:CLASSIFIER", DATA)])
    assert list(registry.data)[:2] == ["mnist-5k", "mnist"]
    assert "DataSource" in caplog.text


def test_unknown_names_are_refused() -> None:
    """Names are only looked up: an unknown one is refused, with what there is."""
    registry = discover()
    with pytest.raises(RunFailed, match=r"no problem os\.system; it has autoencoder"):
        registry.problem("os.system")
    with pytest.raises(RunFailed, match="no data set nowhere"):
        registry.source("nowhere")
