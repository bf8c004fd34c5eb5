"""The benchmark of precisions, at a small size."""

import json

import pytest

from tests.benchmarks import precision


def test_shares_of_the_best_model_are_printed(capsys: pytest.CaptureFixture[str]) -> None:
    """Full products reach the float64 solution's model nearly; bfloat16's are told beside them, block by block."""
    precision.main(["--json", "--only", "lstm", "--updates", "1", "--images", "40", "--curvature-batch", "20"])
    found = json.loads(capsys.readouterr().out)["lstm"]
    assert len(found["float64"]["q"]) == 3
    assert all(q < 0 for q in found["float64"]["q"])
    assert found["full"]["of_float64"] == pytest.approx([1, 1, 1], abs=0.01)
    assert found["tf32"]["of_float64"] == pytest.approx([1, 1, 1], abs=0.01)
    assert len(found["bfloat16"]["of_float64"]) == 3
