"""Tests of sweeps: what a grid or a list of settings expands to, and what it may not hold."""

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from backend.cli.app import app
from backend.errors import InvalidInput
from backend.experiments.sweeps import expand, parse
from backend.schemas.api import Sweep
from backend.schemas.experiments import ExperimentSpec
from backend.schemas.optimizers import Adam, BlockHessianFree, EqualPartition, LayerPartition, ProblemPartition
from tests.backend.samples import INFO, catalog, spec
from tests.clients import BothClient
from tests.processes import Processes

SMALL = {"gradient_batch": 10, "curvature_batch": 5}


def expanded(**fields: Any) -> list[Any]:
    """Return the optimizers of a sweep over the sample."""
    return expand(Sweep.model_validate({"base": spec()} | fields)).optimizers


def bhf(**settings: Any) -> BlockHessianFree:
    """Make the sample's BHF, changed."""
    return BlockHessianFree.model_validate(SMALL | settings)


def test_a_grid_is_every_combination() -> None:
    """The settings of a kind are combined, the last one fastest; other optimizers stay as they are."""
    found = expanded(grid={"bhf.damping": [0, 0.5], "bhf.max_cg_iterations": [10, 20]})
    assert found == [
        Adam(gradient_batch=10),
        *(bhf(damping=d, max_cg_iterations=n) for d in (0.0, 0.5) for n in (10, 20)),
    ]


def test_a_list_keeps_settings_together() -> None:
    """Each point is one variant, of each kind that it names."""
    found = expanded(points=[{"bhf.damping": 1, "adam.beta1": 0.5}, {"bhf.damping": 2, "bhf.warm_start": 0}])
    assert found == [Adam(gradient_batch=10, beta1=0.5), bhf(damping=1), bhf(damping=2, warm_start=0)]


def test_grid_and_list_together() -> None:
    """A grid is combined with each point; a nested setting is set if its parent allows it."""
    found = expanded(grid={"bhf.partition.count": [2, 3]}, points=[{"bhf.partition.kind": "equal"}])
    assert found[1:] == [bhf(partition=EqualPartition(count=2)), bhf(partition=EqualPartition(count=3))]


def test_blocks_are_swept_as_people_write_them() -> None:
    """A number, one per layer and default are partitions, on the command line, in the API and in a file."""
    wanted = [
        bhf(partition=EqualPartition(count=1)),
        bhf(partition=EqualPartition(count=2)),
        bhf(partition=LayerPartition()),
        bhf(partition=ProblemPartition()),
    ]
    for name in ("blocks", "partition"):
        assert expand(parse(spec(), [f"bhf.{name}=1, 2,one per layer,default"])).optimizers[1:] == wanted
        assert expanded(grid={f"bhf.{name}": [1, 2, "layers", "problem"]})[1:] == wanted
    assert bhf(partition="4") == bhf(blocks=4) == bhf(partition=EqualPartition(count=4))
    with pytest.raises(InvalidInput) as caught:
        expanded(grid={"bhf.blocks": ["many"]})
    assert caught.value.errors[0].field == "optimizers.1.partition"


def test_nothing_to_sweep_changes_nothing() -> None:
    """Without grid and list a sweep is its base; equal variants are one."""
    assert expand(Sweep(base=spec())) == spec()
    assert expanded(grid={"bhf.damping": [0, 0.0]}) == spec().optimizers


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({"grid": {"hf.damping": [1]}}, "grid"),
        ({"grid": {"bhf.nothing": [1]}}, "optimizers.1.nothing"),
        ({"grid": {"bhf.damping": [-1]}}, "optimizers.1.damping"),
        ({"grid": {"bhf.damping": list(range(100)), "bhf.momentum": [0, 0.5, 1]}}, "grid"),
        ({"grid": {"bhf.max_cg_iterations": list(range(1, 60))}}, "optimizers"),
        ({"points": [{"sgd.lr": 1}]}, "grid"),
        ({"grid": {"bhf.damping.x": [1]}}, "bhf.damping.x"),
        ({"points": [{"adam.learning_rate.a": 0.1}]}, "adam.learning_rate.a"),
    ],
)
def test_what_cannot_be_swept_is_named(fields: dict[str, Any], field: str) -> None:
    """A kind or a setting that is not there, a value out of bounds, a field of a number, and too many are errors."""
    with pytest.raises(InvalidInput) as caught:
        expanded(**fields)
    assert caught.value.errors[0].field == field


def test_a_terminal_writes_a_grid_as_text() -> None:
    """Values are separated by commas and parsed as numbers or words."""
    sweep = parse(spec(), ["bhf.damping=0,1e-1", "bhf.cg_stop=martens"])
    assert sweep.grid == {"bhf.damping": [0, 0.1], "bhf.cg_stop": ["martens"]}
    assert expand(sweep).optimizers[1:] == [bhf(damping=d, cg_stop="martens") for d in (0, 0.1)]
    for text in ("bhf.damping", "=1", "bhf=1", "bhf.damping=[}"):
        with pytest.raises(InvalidInput):
            expand(parse(spec(), [text]))


def test_a_terminal_writes_ranges_as_the_form_does() -> None:
    """A range lists its values, whole numbers for a setting that is an integer."""
    sweep = parse(spec(), ["bhf.damping=0.001..1/4", "bhf.max_cg_iterations=10..50/4"])
    assert sweep.grid == {"bhf.damping": [0.001, 0.01, 0.1, 1], "bhf.max_cg_iterations": [10, 23, 37, 50]}


def test_a_terminal_writes_points_as_text() -> None:
    """Settings of a point are separated by spaces; each point is one optimizer, or several with a grid."""
    points = ["bhf.damping=0.1 bhf.cg_stop=martens", "bhf.damping=1"]
    sweep = parse(spec(), [], points)
    assert sweep.points == [{"bhf.damping": 0.1, "bhf.cg_stop": "martens"}, {"bhf.damping": 1}]
    assert expand(sweep).optimizers[1:] == [bhf(damping=0.1, cg_stop="martens"), bhf(damping=1)]
    assert len(expand(parse(spec(), ["bhf.momentum=0,0.5"], points)).optimizers) == 1 + 4
    for text in ("", "bhf.damping", "=1", "bhf=1", "bhf.damping=[}"):
        with pytest.raises(InvalidInput):
            expand(parse(spec(), [], [text]))


def test_a_sweep_is_launched_once(client: BothClient, worker: str) -> None:
    """Over REST a sweep is an experiment; the same key queues it once."""
    assert worker
    base = ExperimentSpec.model_validate(spec().model_dump() | {"seeds": [0, 1]})
    made = [client.sweep(base, grid={"bhf.damping": [0, 0.1, 1]}, idempotency_key="k") for _ in range(2)]
    assert made[0] == made[1]
    assert len(made[0].runs) == 2 * 4
    assert client.experiments() == [made[0]]


def test_a_terminal_launches_a_grid(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`blockhf launch --grid` queues each value; --dry-run lists them first."""
    processes = Processes(tmp_path)
    try:
        monkeypatch.setenv("BLOCKHF_BACKEND_URL", processes.backend_url)
        processes.client.register(INFO, catalog())
        file = tmp_path / "base.json"
        file.write_text(spec().model_dump_json())
        command = ["launch", str(file), "--grid", "bhf.damping=0,0.1,1", "--json"]
        dry = CliRunner().invoke(app, [*command, "--dry-run"])
        assert len(json.loads(dry.stdout)["runs"]) == 4
        done = CliRunner().invoke(app, command)
        assert len(json.loads(done.stdout)["runs"]) == 4
        points = [*command, "--point", "bhf.damping=5 bhf.learning_rate=0.5", "--dry-run"]
        assert len(json.loads(CliRunner().invoke(app, points).stdout)["runs"]) == 4
        assert isinstance(CliRunner().invoke(app, [*command, "--grid", "sgd.lr=1"]).exception, InvalidInput)
    finally:
        processes.stop()


def test_a_setting_is_given_once() -> None:
    """A setting that is repeated in a grid or a point is an error; no value is dropped."""
    with pytest.raises(InvalidInput, match=r"grid.bhf.damping is '1': is set twice"):
        parse(spec(), ["bhf.damping=0", "bhf.damping=1"])
    with pytest.raises(InvalidInput, match=r"points.bhf.damping is '1': is set twice"):
        parse(spec(), [], ["bhf.damping=1 bhf.damping=1"])


@pytest.mark.parametrize("value", [float("nan"), float("inf"), None, [1], "x" * 65])
def test_a_value_is_refused_once(client: BothClient, value: Any) -> None:
    """The error names the setting, not each kind of value that it could be; over REST too."""
    for fields, field in (
        ({"grid": {"bhf.damping": [0, value]}}, "grid.bhf.damping.1"),
        ({"points": [{"bhf.damping": value}]}, "points.0.bhf.damping"),
    ):
        with pytest.raises(InvalidInput) as caught:
            client.sweep(spec(), **fields)
        ((name, limit),) = [(error.field, error.limit) for error in caught.value.errors]
        assert name == field
        assert limit.startswith("must be ")
    with pytest.raises(InvalidInput, match=r"^grid.bhf.damping.1 is 'nan': must be finite$"):
        parse(spec(), ["bhf.damping=0,nan"])
