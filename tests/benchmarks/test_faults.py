"""A small share of the fault loops; `make faults` runs them at length."""

import sys
from pathlib import Path

import pytest

from tests.benchmarks.faults import LOOPS, loop
from tests.postgres import cluster, lacking

pytestmark = [
    pytest.mark.skipif(
        sys.platform != "linux", reason="no Linux: /proc, where training processes are found, is lacking"
    ),
    pytest.mark.timeout(900),
]


@pytest.mark.parametrize(("name", "kills"), [("workers", 3), ("backend", 2), ("zombies", 1)])
def test_faults_change_nothing(tmp_path: Path, name: str, kills: int) -> None:
    """Kills of worker, training process and backend, and workers woken too late, lose and double nothing."""
    found = loop(tmp_path, LOOPS[name], kills=kills, updates=100, seed=1, lease=3)
    assert sum(found["faults"].values()) == sum(found["faults_of"].values()) == kills
    assert len(found["runs"]) == len(found["faults_of"]) == kills, "each fault strikes another optimizer"
    if name == "backend":
        assert found["rows_acknowledged"] > 0
    if name == "zombies":
        assert found["late_writes_refused"] > 0


@pytest.mark.postgres
@pytest.mark.skipif(bool(lacking()), reason=f"no PostgreSQL server: {lacking()}")
def test_a_server_that_dies_loses_nothing(tmp_path: Path) -> None:
    """PostgreSQL is killed under writes: what it acknowledged is there, training goes on as if nothing had happened."""
    with cluster() as server:
        found = loop(tmp_path, LOOPS["postgres-server"], kills=2, updates=200, seed=1, lease=3, server=server)
    assert found["faults"] == {"server": 2}
    assert found["rows_acknowledged"] > 0
