"""The layers of a problem with their shapes."""

import pytest

from dashboard.launch.layers import LayerRow, imbalance, layer_rows
from tests.dashboard.samples import CATALOG


def test_layer_rows_resolve_names_of_options_and_data() -> None:
    """A dimension given by name is the option's value, its default where none is chosen, or the data set's size."""
    [info], [data] = CATALOG.problems, CATALOG.data
    assert layer_rows(info, data, {"hidden": None}) == [
        LayerRow("first", "weight 10 \u00d7 4, bias 10", 50),
        LayerRow("second", "weight 3 \u00d7 10, bias 3", 33),
    ]
    assert [row.parameters for row in layer_rows(info, data, {"hidden": 2})] == [10, 9]


@pytest.mark.parametrize(("sizes", "ratio"), [([5, 5], 1.0), ([30, 10], 1.5), ([], 1.0), ([0, 0], 1.0)])
def test_imbalance_is_the_largest_over_the_mean(sizes: list[int], ratio: float) -> None:
    """The imbalance is 1 for equal blocks, and the largest block over the mean block else."""
    assert imbalance(sizes) == ratio
