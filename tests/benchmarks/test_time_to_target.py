"""Tests of the race to Adam's error, with the embedded digits in place of the complete set."""

import json

import pytest

from tests.benchmarks import time_to_target
from tests.benchmarks.time_to_target import Point, figures
from worker.problems.data import mnist_5k


def test_the_first_evaluation_at_the_target_counts() -> None:
    """Where no evaluation is at the target, the last one is reported and said not to have reached it."""
    points = [Point(5, 1.0, 5.0, 30.0), Point(10, 2.0, 10.0, 20.0), Point(15, 3.0, 15.0, 25.0)]
    met = {"seconds": 2.0, "updates": 10, "error": 20.0, "cost": 10.0, "reached": True, "best": 20.0}
    assert figures(points, 22.0) == met
    assert figures(points, 20.0) == met
    assert figures(points, 19.0) == {
        "seconds": 3.0, "updates": 15, "error": 25.0, "cost": 15.0, "reached": False, "best": 20.0,
    }  # fmt: skip


def test_command_races_to_adams_error(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """Adam's error after its updates is the target; BHF stops at the first evaluation that has reached it."""
    monkeypatch.setattr(time_to_target, "MNIST", mnist_5k.SOURCE)
    time_to_target.main(["--json", "--only", "adam", "bhf_50", "--updates", "3", "--every", "1", "--subset", "100"])
    found = json.loads(capsys.readouterr().out)
    assert set(found) == {"target", "adam", "bhf_50"}
    assert found["adam"]["error"] == found["target"]
    assert found["adam"]["updates"] == found["adam"]["cost"] == 3
    assert found["bhf_50"]["reached"]
    assert found["bhf_50"]["error"] <= found["target"]
    assert found["bhf_50"]["cost"] > found["bhf_50"]["updates"] >= 1
