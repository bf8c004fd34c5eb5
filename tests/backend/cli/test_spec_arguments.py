"""Tests of the experiment of a command."""

from pathlib import Path

from backend.cli.spec_arguments import read, specify
from backend.schemas.experiments import ExperimentSpec
from backend.schemas.optimizers import Adam, HessianFree


def test_the_configuration_of_a_run_can_be_launched(tmp_path: Path) -> None:
    """What the run's page downloads launches the same run."""
    spec = ExperimentSpec(optimizers=[Adam(), HessianFree()], seeds=[3, 4])
    config = spec.runs()[-1]
    path = tmp_path / "run.json"
    path.write_text(config.model_dump_json())
    assert specify(read(path), {}, optimizers=[]).runs() == [config]
