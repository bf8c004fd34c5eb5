"""Tests of layer sizes and partitions."""

from itertools import combinations, pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backend.catalog.partitions import equal_blocks, expand, layer_sizes
from backend.errors import InvalidInput
from backend.schemas.optimizers import EqualPartition, ExplicitPartition, LayerPartition, Partition, ProblemPartition
from tests.backend.samples import LAYERS, catalog, dense

INFO = catalog().problems[0]
DATA = catalog().data[0]
SIZES = {"encoder.0": 30, "encoder.2": 14, "decoder.0": 18, "decoder.2": 28}


def test_sizes_follow_data_and_defaults() -> None:
    """A named dimension is a size of the data set or an option's default."""
    assert layer_sizes(INFO, DATA, {}) == SIZES


def test_sizes_follow_options() -> None:
    """A named dimension is the option's value where one is given."""
    assert layer_sizes(INFO, DATA, {"hidden": 1})["encoder.0"] == 5


def test_sizes_know_the_images_shape() -> None:
    """Channels, height, width and classes are the data set's; numbers stand for themselves."""
    layers = [dense("a", "channels", 3), dense("b", "height", "width"), dense("c", 5, "classes")]
    info = INFO.model_copy(update={"layers": layers})
    data = DATA.model_copy(update={"shape": [3, 7, 8], "classes": 10})
    assert layer_sizes(info, data, {}) == {"a": 12, "b": 64, "c": 60}


@pytest.mark.parametrize("options", [{"hidden": "linear"}, {"hidden": 1.5}, {"hidden": -1}, {"hidden": True}])
def test_sizes_refuse_what_is_no_count(options: dict[str, Any]) -> None:
    """An option that is a dimension must be a whole number; the error names it."""
    with pytest.raises(InvalidInput) as caught:
        layer_sizes(INFO, DATA, options)
    assert caught.value.errors[0].field == "problem.options.hidden"


@pytest.mark.parametrize(
    ("partition", "blocks"),
    [
        (ProblemPartition(), [LAYERS[:2], LAYERS[2:]]),
        (LayerPartition(), [[name] for name in LAYERS]),
        (EqualPartition(count=1), [LAYERS]),
        (EqualPartition(count=2), [LAYERS[:2], LAYERS[2:]]),
        (ExplicitPartition(blocks=[[LAYERS[3], LAYERS[0]], LAYERS[1:3]]), [[LAYERS[3], LAYERS[0]], LAYERS[1:3]]),
    ],
)
def test_every_kind_expands(partition: Partition, blocks: list[list[str]]) -> None:
    """Each kind of partition becomes lists of layer names."""
    assert expand(partition, INFO, SIZES, field="p") == blocks


@pytest.mark.parametrize(
    ("blocks", "field", "value", "limit"),
    [
        ([LAYERS, ["nope"]], "p.blocks.1.0", "nope", "no such layer; the layers are encoder.0, encoder.2, decoder.0"),
        ([LAYERS, ["encoder.2"]], "p.blocks.1.0", "encoder.2", "layer encoder.2 is listed 2 times"),
        ([["encoder.0", *LAYERS]], "p.blocks.0.1", "encoder.0", "layer encoder.0 is listed 2 times"),
        ([LAYERS[1:]], "p.blocks", "without encoder.0", "each layer belongs to exactly one block"),
    ],
)
def test_explicit_blocks_are_checked(blocks: list[list[str]], field: str, value: str, limit: str) -> None:
    """An unknown layer, one in two places and one in none are each named with the place and what is allowed."""
    with pytest.raises(InvalidInput) as caught:
        expand(ExplicitPartition(blocks=blocks), INFO, SIZES, field="p")
    (error,) = caught.value.errors
    assert (error.field, error.value) == (field, value)
    assert error.limit.startswith(limit)


def test_there_are_no_more_equal_blocks_than_layers() -> None:
    """Five blocks of four layers are refused."""
    with pytest.raises(InvalidInput) as caught:
        expand(EqualPartition(count=5), INFO, SIZES, field="p")
    assert str(caught.value) == "p.count is 5: there are only 4 layers, so at most 4 blocks"


def test_one_block_per_layer_has_a_limit() -> None:
    """A network with more layers than blocks are allowed cannot have one block per layer."""
    with pytest.raises(InvalidInput, match="at most 64"):
        expand(LayerPartition(), INFO, {f"layer{i}": 1 for i in range(65)}, field="p")


@given(st.lists(st.integers(0, 30), min_size=1, max_size=9), st.data())
def test_equal_blocks_are_as_equal_as_can_be(sizes: list[int], data: st.DataObject) -> None:
    """No other cut into as many consecutive blocks has a smaller largest block."""
    count = data.draw(st.integers(1, len(sizes)))
    blocks = equal_blocks({str(i): size for i, size in enumerate(sizes)}, count)
    assert [name for block in blocks for name in block] == [str(i) for i in range(len(sizes))]
    assert len(blocks) == count
    assert all(blocks)
    cuts = ([0, *inner, len(sizes)] for inner in combinations(range(1, len(sizes)), count - 1))
    best = min(max(sum(sizes[a:b]) for a, b in pairwise(cut)) for cut in cuts)
    assert max(sum(sizes[int(name)] for name in block) for block in blocks) == best
