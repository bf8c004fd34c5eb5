"""What version 0.1 stored opens unchanged: `version_0_1.sql` is a dump of its database, made with its code.

It holds a comparison under the names of then: the settings momentum, curvature_way ("generic") and block_damping as one
text, the mark study.momentum, and the column `way` of the blocks.
"""

import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest

from backend.api.services import Services
from backend.catalog.validation import resolve_blocks
from backend.schemas.api import Append
from backend.schemas.measures import BlockStats, Update
from backend.schemas.optimizers import Adam, BlockHessianFree, HessianFree, ProductMethod
from backend.schemas.runs import RunStatus
from backend.settings import Settings

NOW = 1_790_000_001.0
BLOCK = '{"cg_iterations": 1, "stop_reason": "residual", "residual": 0, "model_decrease": 0, "way": "samples"}'


@pytest.fixture
def old(tmp_path: Path) -> Iterator[Services]:
    """Open the database of version 0.1."""
    connection = sqlite3.connect(tmp_path / "blockhf.sqlite3")
    connection.executescript((Path(__file__).parent / "version_0_1.sql").read_text())
    connection.close()
    services = Services(Settings(home=tmp_path), clock=lambda: NOW)
    yield services
    services.close()


def test_specifications_have_todays_names(old: Services) -> None:
    """Comparison, runs and presets mean what they meant."""
    optimizers = [
        BlockHessianFree(damping=0.1, block_damping=[0.1, 0.5]),
        HessianFree(warm_start=0.5, product_method=ProductMethod.AUTOGRAD),
        Adam(),
    ]
    [experiment] = old.experiments.list()
    [preset] = old.presets.list()
    assert experiment.spec.optimizers == preset.spec.optimizers == optimizers
    assert [run.config.optimizer for run in experiment.runs] == optimizers
    assert (experiment.spec.reproduces, experiment.spec.budget.updates) == ("study.warm_start", 3)


def test_rows_are_read_under_todays_names(old: Services) -> None:
    """The rows of the finished run are there, with how each block was computed."""
    [experiment] = old.experiments.list()
    run = experiment.runs[0]
    columns = old.metrics.series([run.id], blocks=True)[run.id]
    assert (run.status, columns["update"], columns["train_loss"]) == (RunStatus.FINISHED, [1, 2, 3], [40, 20, 40 / 3])
    assert [block["product_method"] for block in columns["blocks"]] == [["generic"] * 3, ["samples"] * 3]


def test_queued_runs_are_claimed_with_their_blocks(old: Services) -> None:
    """Version 0.1 queued runs without blocks; the claim has them."""
    answer = old.workers.catalog()
    assert answer.catalog is not None
    claim = old.queue.claim(answer.workers[0].id)
    assert claim is not None
    assert claim.run.config.optimizer.kind == "hf"
    blocks = resolve_blocks(claim.run.config.optimizer, claim.run.config.problem, answer.catalog)
    assert len(blocks) == 1
    assert claim.run.blocks == blocks


def test_rows_that_wait_in_an_outbox_are_accepted() -> None:
    """A worker of today delivers rows that version 0.1 wrote: `way` is the product method."""
    assert BlockStats.model_validate_json(BLOCK).product_method == "samples"
    row = Update(update=1, epoch=1, samples=1, seconds=1, cost=1, batch_loss=1, gradient_norm=1, step_norm=1)
    text = row.model_dump_json().replace('"blocks":[]', f'"blocks":[{BLOCK}]')
    assert Append.model_validate_json(f'{{"token": 1, "rows": [{text}]}}').rows[0].blocks[0].product_method == "samples"
