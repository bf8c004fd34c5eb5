"""Tests that a package which adds a problem and data needs no change of ours."""

import shutil
import subprocess
import sys
import tomllib
from importlib.util import find_spec
from pathlib import Path

import pytest

from backend.schemas.experiments import Budget, Evaluation, ExperimentSpec, Problem, RunConfig
from backend.schemas.optimizers import Adam, BlockHessianFree, HessianFree, LayerPartition
from backend.schemas.runs import RunStatus
from tests.processes import DEADLINE, Processes
from tests.worker.cases import Rows, planned_blocks
from worker.problems.registry import discover
from worker.training.trainer import train

PACKAGE = Path(__file__).parent / "two_moons"
CHOICE = Problem(name="two-moons", data="moons")
SIZES = {"gradient_batch": 500, "curvature_batch": 100}


@pytest.fixture
def installed(tmp_path: Path) -> Path:
    """Lay the package out as an installer does: its module, its metadata, its entry points."""
    project = tomllib.loads((PACKAGE / "pyproject.toml").read_text())["project"]
    target = tmp_path / "site"
    info = target / f"two_moons-{project['version']}.dist-info"
    info.mkdir(parents=True)
    shutil.copy(PACKAGE / "two_moons.py", target)
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {project['name']}\nVersion: {project['version']}\n")
    groups = project["entry-points"].items()
    points = [f"[{group}]\n" + "\n".join(f"{k} = {v}" for k, v in entries.items()) for group, entries in groups]
    (info / "entry_points.txt").write_text("\n\n".join(points))
    return target


def test_the_example_is_short() -> None:
    """Everything a user has to write is under 60 lines."""
    files = [PACKAGE / "pyproject.toml", PACKAGE / "two_moons.py"]
    assert sum(len(file.read_text().splitlines()) for file in files) < 60


def test_every_optimizer_learns_it(installed: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Each of the three tells the moons apart by the fast ways, from what the installed package says alone."""
    monkeypatch.syspath_prepend(installed)
    registry = discover()
    optimizers = [
        Adam(gradient_batch=500, learning_rate=0.02),
        HessianFree(**SIZES, damping=0.01, learning_rate=0.5),
        BlockHessianFree(**SIZES, damping=0.01, learning_rate=0.5),
    ]
    for optimizer in optimizers:
        config = RunConfig(problem=CHOICE, optimizer=optimizer, budget=Budget(updates=40), threads=1)
        rows = Rows()
        train(config, rows, lambda: False, blocks=planned_blocks(config, registry), registry=registry, folder=tmp_path)
        assert (rows.rows[-1].test_accuracy or 0) > 0.85
        assert all(block.product_method != "autograd" for block in rows.rows[0].blocks)


def test_it_runs_through_queue_worker_blocks_and_series(
    installed: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """A real worker announces it; its blocks are planned, its runs queued and trained, its curves served."""
    monkeypatch.setenv("PYTHONPATH", str(installed), prepend=":")
    processes = Processes(tmp_path / "home")
    try:
        processes.start("worker")
        processes.wait_until(lambda: processes.client.catalog().catalog)
        spec = ExperimentSpec(
            name="moons",
            problem=CHOICE,
            optimizers=[Adam(gradient_batch=500), BlockHessianFree(**SIZES, partition=LayerPartition())],
            budget=Budget(updates=5),
            evaluation=Evaluation(train_subset=500),
            threads=1,
        )
        planned = processes.client.check(spec).runs[1].blocks
        assert [(block.layers, block.parameters) for block in planned] == [(["1"], 48), (["3"], 272), (["5"], 34)]
        queued = processes.client.launch(spec).runs
        done = processes.client.wait([run.id for run in queued], timeout=DEADLINE)
        assert [(run.status, run.error) for run in done] == [(RunStatus.FINISHED, None)] * 2
        columns = processes.client.series([done[1].id], blocks=True)[done[1].id]
        assert columns["update"] == [1, 2, 3, 4, 5]
        assert len(columns["blocks"]) == 3
        assert all(value is not None for value in columns["test_accuracy"])
    finally:
        processes.stop()


@pytest.mark.skipif(not (find_spec("pip") and find_spec("setuptools")), reason="pip or setuptools is not installed")
def test_the_example_can_be_built_and_installed(tmp_path: Path) -> None:
    """The package's own description is enough for an installer, which needs no network for it."""
    copy = shutil.copytree(PACKAGE, tmp_path / "two_moons", ignore=shutil.ignore_patterns("__pycache__"))
    command = [sys.executable, "-m", "pip", "install", "--no-index", "--no-deps", "--no-build-isolation", "--quiet"]
    subprocess.run([*command, "--target", tmp_path / "site", copy], check=True, capture_output=True)
    assert (tmp_path / "site" / "two_moons.py").exists()
    assert "two_moons:PROBLEM" in next((tmp_path / "site").glob("*.dist-info/entry_points.txt")).read_text()
