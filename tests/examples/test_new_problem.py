"""The package that `blockhf new-problem` writes."""

import ast
import re
import sys
import tomllib
from importlib.metadata import EntryPoint
from pathlib import Path

import pytest
from typer.testing import CliRunner

from backend.cli.app import app
from backend.errors import InvalidInput
from backend.schemas.experiments import Budget, Evaluation, RunConfig
from backend.schemas.problem_template import problem_package
from tests.worker.cases import Rows, planned_blocks
from worker.problems.registry import discover
from worker.training.trainer import train


def test_the_written_package_trains(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its entry point loads, and Adam, HF and BHF of its preset train two updates on its network."""
    done = CliRunner().invoke(app, ["new-problem", "my-network", "--to", str(tmp_path)])
    assert done.exit_code == 0
    folder = tmp_path / "my-network"
    points = tomllib.loads((folder / "pyproject.toml").read_text())["project"]["entry-points"]["blockhf.problems"]
    monkeypatch.syspath_prepend(folder)
    found = [EntryPoint(name, value, "blockhf.problems") for name, value in points.items()]
    try:
        registry = discover(found)
    finally:
        sys.modules.pop("my_network_problem", None)
    [info] = registry.catalog().problems
    assert (info.name, info.title) == ("my-network", "My network")
    for optimizer in info.preset.optimizers:
        config = RunConfig(
            problem=info.preset.problem,
            optimizer=optimizer.model_copy(update={"gradient_batch": 40} | _curvature(optimizer.has_curvature)),
            budget=Budget(updates=2),
            evaluation=Evaluation(train_subset=50),
            threads=1,
        )
        rows = Rows()
        blocks = planned_blocks(config, registry)
        train(config, rows, lambda: False, blocks=blocks, registry=registry, folder=tmp_path)
        assert [row.update for row in rows.rows] == [1, 2]
        assert len(blocks) == {"adam": 0, "hf": 1, "bhf": 2}[optimizer.kind]
        assert all(block.product_method != "autograd" for block in rows.rows[-1].blocks)


def _curvature(wanted: bool) -> dict[str, int]:
    return {"curvature_batch": 10} if wanted else {}


def test_it_is_short_and_leaves_other_files_alone(tmp_path: Path) -> None:
    """All that a user has to read is under 60 lines, and a folder that is there already is not changed."""
    assert sum(len(text.splitlines()) for text in problem_package("mine").values()) < 60
    (tmp_path / "mine").mkdir()
    assert CliRunner().invoke(app, ["new-problem", "mine", "--to", str(tmp_path)]).exit_code != 0
    assert list((tmp_path / "mine").iterdir()) == []


@pytest.mark.parametrize("name", ["Mine", "../mine", "1mine", "mine-", "my_net", ""])
def test_a_name_that_no_package_can_have_is_refused(name: str) -> None:
    """Names are those of problems and of folders alike."""
    with pytest.raises(InvalidInput) as caught:
        problem_package(name)
    assert caught.value.errors[0].field == "name"


@pytest.mark.parametrize("name", ["mine", "a-b-2", "title", "my-module-name"])
def test_any_other_name_gives_valid_files(name: str) -> None:
    """The files of each name can be read, also where the name is a word of theirs."""
    project, module = problem_package(name).values()
    assert tomllib.loads(project)["project"]["name"] == name
    ast.parse(module)
    assert not re.search(r"\b(NAME|TITLE|MODULE|CLASS)\b", module + project)
