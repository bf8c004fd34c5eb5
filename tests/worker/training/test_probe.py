"""The speed of an update that a worker times when it starts."""

import torch

from tests.worker.problems.plugin import CLASSIFIER
from worker.problems.registry import discover
from worker.training.probe import update_speeds


def test_each_built_in_network_is_timed() -> None:
    """The networks of packages are left out; torch's random numbers are as before."""
    state = torch.get_rng_state()
    problems = discover().problems
    assert len(problems) >= 3
    speeds = update_speeds({**problems, "classifier": CLASSIFIER}, torch.device("cpu"))
    assert set(speeds) == {name for name in problems if name != "classifier"}
    assert all(1e4 < speed < 1e15 for speed in speeds.values())
    assert torch.equal(torch.get_rng_state(), state)
