"""Tests of what may be queued."""

from contextlib import nullcontext
from typing import Any

import pytest

from backend.api.services import Services
from backend.catalog.validation import check_catalog, plan
from backend.errors import InvalidInput
from backend.schemas.api import Announcement
from backend.schemas.catalog import Catalog, Layer
from backend.schemas.optimizer_registry import Optimizer
from backend.schemas.optimizers import Adam, BlockHessianFree, HessianFree
from tests.backend.samples import INFO, LAYERS, catalog, spec

AT_OPTIONS = "catalog.problems.0.options"
SECOND_ORDER: dict[str, Any] = {"gradient_batch": 10, "curvature_batch": 5}


def bhf(partition: dict[str, Any]) -> list[dict[str, Any]]:
    """Make a list of Adam and BHF with this partition."""
    return [{"kind": "adam", "gradient_batch": 10}, {"kind": "bhf", "partition": partition} | SECOND_ORDER]


def test_plan_lists_every_run() -> None:
    """Each optimizer with each seed has a label and its blocks with their sizes."""
    optimizers = [Adam(gradient_batch=10), HessianFree(**SECOND_ORDER), BlockHessianFree(**SECOND_ORDER)]
    made = plan(spec(optimizers=optimizers, seeds=[3, 4]), catalog())
    assert [run.label for run in made.runs][:4] == [
        "Adam, seed 3",
        "HF, seed 3",
        "BHF, 2 blocks, seed 3",
        "Adam, seed 4",
    ]
    assert [[block.parameters for block in run.blocks] for run in made.runs[:3]] == [[], [90], [44, 46]]
    assert made.runs[2].blocks[1].layers == LAYERS[2:]
    assert made.total == 90


@pytest.mark.parametrize(
    ("changes", "field", "value", "limit"),
    [
        ({"problem": {"name": "nope", "data": "tiny"}}, "problem.name", "nope", "there are squeeze"),
        ({"problem": {"name": "squeeze", "data": "nope"}}, "problem.data", "nope", "there are tiny"),
        ({"problem": {"name": "squeeze", "data": "other"}}, "problem.data", "other", "there are tiny"),
        ({"train_size": 101}, "problem.train_size", 101, "at most 100"),
        ({"test_size": 21}, "problem.test_size", 21, "at most 20"),
        ({"train_size": 15}, "evaluation.train_subset", 20, "at most 15"),
        ({"options": {"depth": 3}}, "problem.options.depth", "3", "there are hidden, code, output"),
        ({"options": {"code": 9}}, "problem.options.code", 9, "maximum of 8"),
        ({"options": {"code": 1.5}}, "problem.options.code", 1.5, "not of type 'integer'"),
        ({"options": {"output": "relu"}}, "problem.options.output", "relu", "not one of ['linear', 'sigmoid']"),
        ({"options": {"hidden": 10**9}}, "problem.options.hidden", 10**9, "at most 200,000,000"),
        ({"options": {"hidden": 10**30}}, "problem.options.hidden", str(10**30), "must be between"),
        ({"optimizers": [{"kind": "adam", "gradient_batch": 101}]}, "optimizers.0.gradient_batch", 101, "at most 100"),
        (
            {"optimizers": bhf({"kind": "explicit", "blocks": [LAYERS[:3], ["decoder.2", "x"]]})},
            "optimizers.1.partition.blocks.1.1",
            "x",
            "no such layer; the layers are encoder.0",
        ),
        ({"optimizers": bhf({"kind": "equal", "count": 5})}, "optimizers.1.partition.count", 5, "at most 4"),
    ],
)
def test_bad_input_is_named(changes: dict[str, Any], field: str, value: Any, limit: str) -> None:
    """Each thing that the catalog does not allow is refused with field, value and limit."""
    inside = {key: changes.pop(key) for key in ("train_size", "test_size", "options") if key in changes}
    with pytest.raises(InvalidInput) as caught:
        plan(spec(**{"problem": {"name": "squeeze", "data": "tiny"} | inside} | changes), catalog())
    (error,) = caught.value.errors
    assert (error.field, error.value) == (field, value)
    assert limit in error.limit


def test_damping_per_block_needs_one_number_per_block() -> None:
    """As many numbers as blocks are accepted; another count is refused before anything is queued."""
    blocks = {"kind": "equal", "count": 2}
    sizes = {"gradient_batch": 20, "curvature_batch": 5}
    fitting = {"kind": "bhf", "partition": blocks, "block_damping": "0.1 0.5"} | sizes
    assert len(plan(spec(optimizers=[fitting]), catalog()).runs) == 1
    with pytest.raises(InvalidInput) as error:
        plan(spec(optimizers=[fitting | {"block_damping": "0.1 0.5 1"}]), catalog())
    (found,) = error.value.errors
    assert (found.field, found.value) == ("optimizers.0.block_damping", [0.1, 0.5, 1.0])
    assert "one number per block: 2, not 3" in found.limit


def test_all_errors_come_together() -> None:
    """Several wrong fields are reported at once."""
    problem = {"name": "squeeze", "data": "tiny", "train_size": 500, "options": {"code": 0}}
    with pytest.raises(InvalidInput) as caught:
        plan(spec(problem=problem), catalog())
    assert {error.field for error in caught.value.errors} == {"problem.train_size", "problem.options.code"}


def test_an_option_without_default_is_needed() -> None:
    """A required option that is missing is named."""
    options = {"type": "object", "properties": {"depth": {"type": "integer"}}, "required": ["depth"]}
    layers = [Layer(name="a", parameters={"weight": ["depth"]})]
    with pytest.raises(InvalidInput, match=r"problem\.options\.depth"):
        plan(spec(), catalog(options=options, layers=layers, partition=[["a"]]))


def test_a_network_without_options_can_be_too_large() -> None:
    """Where no option is to blame the problem is named."""
    layers = [Layer(name="a", parameters={"weight": [20_000, 20_000]})]
    with pytest.raises(InvalidInput) as caught:
        plan(spec(), catalog(layers=layers, partition=[["a"]]))
    assert caught.value.errors[0].field == "problem.name"


def test_a_good_catalog_passes() -> None:
    """A catalog that describes itself completely is accepted."""
    check_catalog(catalog())
    check_catalog(Catalog(problems=[], data=[]))


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"options": {"type": "nonsense"}}, AT_OPTIONS),
        ({"options": {"properties": {"a": {"$ref": "http://127.0.0.1/a"}}}}, AT_OPTIONS),
        ({"options": {"properties": {"a": {"$ref": "#/$defs/a"}}, "$defs": {"a": {"$ref": "#/$defs/a"}}}}, AT_OPTIONS),
        ({"data": ["tiny", "nowhere"]}, "catalog.problems.0.data"),
        ({"layers": [Layer(name="a", parameters={"weight": ["nowhere"]})]}, "problem.options.nowhere"),
        ({"partition": [LAYERS[:2]]}, "catalog.problems.0.partition"),
    ],
)
def test_a_broken_catalog_is_refused(changes: dict[str, Any], field: str) -> None:
    """What a worker announces must be complete in itself."""
    with pytest.raises(InvalidInput) as caught:
        check_catalog(catalog(**changes))
    assert caught.value.errors[0].field == field


@pytest.mark.parametrize(
    ("optimizer", "precision", "needed"),
    [
        (Adam(gradient_batch=10), "float32", 4 * 4 * 90),
        (Adam(gradient_batch=10), "float64", 8 * 4 * 90),
        (HessianFree(**SECOND_ORDER), "float32", 4 * (3 * 90 + 5 * (6 + 2 + 6 + 4))),
        (BlockHessianFree(**SECOND_ORDER, product_precision="bfloat16"), "float32", 4 * 3 * 90 + 2 * 5 * 18),
    ],
)
def test_what_no_worker_can_hold_is_refused(optimizer: Optimizer, precision: str, needed: int) -> None:
    """Weights and what belongs to them, and activations of the curvature batch, must fit: at least those."""
    wanted = spec(optimizers=[optimizer], precision=precision)
    plan(wanted, catalog())
    plan(wanted, catalog(), needed)
    with pytest.raises(InvalidInput, match="no worker has more than") as caught:
        plan(wanted, catalog(), needed - 1)
    field = "kind" if optimizer.kind == "adam" else "curvature_batch"
    assert [error.field for error in caught.value.errors] == [f"optimizers.0.{field}"]


@pytest.mark.parametrize(
    ("workers", "device", "refused"),
    [
        ([("cpu (a)", 100)], "auto", True),
        ([("cpu (a)", 100), ("cpu (b)", 10**9)], "auto", False),
        ([("cpu (a)", 100), ("cpu (b)", None)], "auto", False),
        ([("cuda:0 (a)", 100)], "cpu", False),
        ([("cuda:0 (a)", 100)], "cuda:1", True),
        ([("cuda:0 (a)", 100), ("cpu (b)", 10**9)], "auto", False),
    ],
)
def test_the_largest_worker_counts(
    services: Services, workers: list[tuple[str, int | None]], device: str, refused: bool
) -> None:
    """A comparison that fits one live worker is queued; if a worker reports no memory, none is refused for memory."""
    for name, memory in workers:
        info = INFO.model_copy(update={"device": name, "memory": memory})
        services.workers.register(Announcement(info=info, catalog=catalog()))
    with pytest.raises(InvalidInput) if refused else nullcontext():
        services.experiments.launch(spec(device=device))
    assert len(services.experiments.list()) == (not refused)


EXPONENTIAL = {"type": "string", "pattern": "^(a+)+$", "default": "a" * 60 + "!"}


def test_a_pattern_takes_linear_time() -> None:
    """A pattern for which Python's engine needs years is matched at once, at registration and at a launch."""
    options = catalog().problems[0].options
    known = catalog(options=options | {"properties": options["properties"] | {"a": EXPONENTIAL}})
    check_catalog(known)
    asked = spec()
    problem = asked.problem.model_copy(update={"options": asked.problem.options | {"a": "a" * 60 + "!"}})
    with pytest.raises(InvalidInput) as caught:
        plan(asked.model_copy(update={"problem": problem}), known)
    assert [error.field for error in caught.value.errors] == ["problem.options.a"]


@pytest.mark.parametrize(
    "options",
    [
        {"properties": {"a": {"patternProperties": {"^(a+)+$": {}}}}},
        {"properties": {"a": {"pattern": "(?=a)b", "default": "b"}}},
        {"properties": {"a": {"allOf": [{}] * 5000}}},
        {"properties": {"a": {"$ref": "#/$defs/x"}}, "$defs": {"x": {"allOf": [{"$ref": "#/$defs/y"}] * 2}, "y": {}}},
    ],
    ids=["patternProperties", "lookahead", "large", "nested references"],
)
def test_costly_options_are_refused(options: dict[str, Any]) -> None:
    """Options whose check could take long register nobody."""
    with pytest.raises(InvalidInput) as caught:
        check_catalog(catalog(options={"type": "object"} | options))
    assert caught.value.errors[0].field == "catalog.problems.0.options"
