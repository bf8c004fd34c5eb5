"""Every benchmark can be started."""

from importlib import import_module
from pathlib import Path

import pytest

MODULES = sorted(path.stem for path in Path(__file__).parent.glob("*.py") if not path.stem.startswith(("test_", "__")))


@pytest.mark.parametrize("part", range(5))
def test_every_module_imports(part: int) -> None:
    """A benchmark follows a change of what it measures."""
    for name in MODULES[part::5]:
        assert import_module(f"tests.benchmarks.{name}").__doc__
