"""The library's example, executed; and whatever the README shows of the library."""

import re
from pathlib import Path
from typing import Any

import pytest
import torch

EXAMPLE = """
import torch
from torch import nn
from worker.optim import BlockHessianFree, SoftmaxCrossEntropy

torch.manual_seed(0)
inputs = torch.rand(512, 2)
targets = (inputs.sum(1) > 1).long()
model = nn.Sequential(nn.Linear(2, 16), nn.Tanh(), nn.Linear(16, 2))
blocks = [["0"], ["2"]]
optimizer = BlockHessianFree(model, SoftmaxCrossEntropy(), blocks, curvature_batch=128, learning_rate=0.5, damping=0.01)
for _ in range(50):
    result = optimizer.step(inputs, targets)
print(f"loss {result.loss:.3f}, {result.cost:.1f} gradients per update: {result.blocks[0].stop_reason}")
"""
README = Path(__file__).parents[3] / "README.md"
SHOWN = [code for code in re.findall(r"```python\n(.*?)```", README.read_text(), re.DOTALL) if "worker.optim" in code]


@pytest.mark.parametrize("code", [EXAMPLE, *SHOWN])
def test_example_trains(code: str, capsys: pytest.CaptureFixture[str]) -> None:
    """In under 15 lines, as it stands, a classifier learns to separate nearly everything."""
    assert len(code.strip().splitlines()) < 15
    names: dict[str, object] = {"__name__": "__main__"}
    with torch.random.fork_rng():
        exec(compile(code, "example", "exec"), names)
    found = re.match(r"loss (\d\.\d+), \d+\.\d gradients per update: [a-z]", capsys.readouterr().out)
    assert found
    assert float(found[1]) < 0.1


def test_the_tutorial_runs() -> None:
    """Its code blocks, one after the other."""
    tutorial = (README.parent / "docs" / "tutorials" / "library.md").read_text()
    names: dict[str, Any] = {"__name__": "__main__"}
    with torch.random.fork_rng():
        for code in re.findall(r"```python\n(.*?)```", tutorial, re.DOTALL):
            exec(compile(code, "tutorial", "exec"), names)
    assert names["result"].loss < 0.2
    assert len(names["head"].blocks) == 2
    names["decay"].step()
    assert names["optimizer"].param_groups[0]["damping"] == pytest.approx(0.0099)
