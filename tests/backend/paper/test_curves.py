"""Results keep what was measured: through a file, and from the API's columns."""

from pathlib import Path

from backend.paper.curves import COLUMNS, collect, read, write
from backend.schemas.runs import RunStatus
from tests.backend.paper.samples import GOOD, results
from tests.backend.samples import spec, updates
from tests.clients import BothClient


def test_a_file_gives_back_everything(tmp_path: Path) -> None:
    """Specification, configurations, states, environments and every value survive."""
    made = results(GOOD, hf10=[RunStatus.FINISHED, RunStatus.FAILED])
    path = tmp_path / "results.parquet"
    path.write_bytes(write(made))
    (back,) = read([path])
    assert back.spec == made.spec
    assert back.curves == made.curves


def test_collect_keeps_the_evaluated_updates(client: BothClient, worker: str) -> None:
    """Only updates with an evaluation are kept, in step with each other."""
    experiment = client.launch(spec())
    claim = client.claim(worker)
    assert claim is not None
    rows = [row if row.update % 2 else row.model_copy(update={"train_loss": None}) for row in updates(1, 5)]
    client.append(claim.run.id, claim.claim_number, rows)
    found = collect(client.experiment(experiment.id), client.series)
    (curve,) = [curve for curve in found.curves if curve.columns["update"]]
    assert curve.columns["update"] == [1, 3, 5]
    assert {len(curve.columns[name]) for name in COLUMNS} == {3}
    assert found.ended == 0
