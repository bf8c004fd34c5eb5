"""Hypothesis plays with the queue: whatever workers and users do, and in which order, it is what its model is.

`python -m tests.benchmarks.planted_faults` shows that the play finds faults.
"""

from pathlib import Path

import pytest
from hypothesis import settings

from backend.settings import Settings
from tests.backend.queue.play.machine import PLAYS, play
from tests.backend.queue.play.stage import stage
from tests.postgres import Cluster, lacking

pytestmark = pytest.mark.slow


@pytest.mark.random
@pytest.mark.timeout(3600)  # of 1,000 plays
def test_the_queue_agrees_with_its_model(tmp_path: Path) -> None:
    """Over 60 plays of up to 50 steps, 1,000 in `make long`."""
    with stage(Settings(home=tmp_path)) as scene:
        assert play(scene) >= PLAYS.max_examples


@pytest.mark.postgres
@pytest.mark.skipif(bool(lacking()), reason=f"PostgreSQL: {lacking()}")
def test_the_queue_agrees_on_postgres(tmp_path: Path, server: Cluster) -> None:
    """Fewer plays: each statement is another trip to a server."""
    chosen = Settings(home=tmp_path, database_url=server.create(like="test0"))
    with stage(chosen) as scene:
        assert play(scene, settings(PLAYS, max_examples=15)) >= 15
