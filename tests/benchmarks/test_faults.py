"""A small share of the fault loop."""

import sys
from pathlib import Path

import pytest

from tests.benchmarks.faults import storm


@pytest.mark.skipif(sys.platform != "linux", reason="training processes are found in /proc")
def test_faults_change_nothing(tmp_path: Path) -> None:
    """Some random kills of worker, training process and backend lose and double nothing, down to the final weights."""
    assert storm(tmp_path, kills=3, updates=300, seed=1).total() == 3
