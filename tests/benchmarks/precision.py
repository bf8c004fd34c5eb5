"""What rounded curvature products do to the solutions: the quadratic model q(x), block by block.

python -m tests.benchmarks.precision [--json] [--device cpu] [--updates 5] [--images 1000] [--curvature-batch 250]

The paper's autoencoder and LSTM on mnist-5k, its CNN on random images. From weights after a few updates in full
precision, one update solves every block with products in full, TF32 and bfloat16, in float32 and from zero. On a CPU
TF32 is emulated, see tests/benchmarks/tf32.py. q(x) = x'(G_b + d I)x / 2 + g'x is then taken in float64 at each
solution. Printed: iterations, and q over that of a solution in float64; 1 is as good, 0 useless, below 0 harmful.
"""

import argparse
import copy
import json
from collections.abc import Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from tests.benchmarks.cases import SETTINGS, Setting
from tests.benchmarks.tf32 import emulated
from worker.optim import BlockHessianFree
from worker.optim.blocks import make_blocks
from worker.optim.curvature.traced_model import TracedModel
from worker.optim.precision import PRECISIONS
from worker.problems.data import mnist_5k

PROBLEMS = {"autoencoder": "autoencoder_500", "lstm": "lstm_500", "cnn": "cnn_100"}
Batch = tuple[Tensor, Tensor]


def batch_of(name: str, setting: Setting, images: int) -> Batch:
    """Return a batch as the problem takes it: digits, or random images for the CNN."""
    if name == "cnn":
        inputs, targets = setting.data()
        return inputs[:images], targets[:images]
    drawn, labels = mnist_5k.load(Path()).train.batch(torch.arange(images), torch.float32)
    return setting.problem.inputs(drawn), setting.problem.targets(drawn, labels)


def optimizer(model: nn.Module, setting: Setting, curvature_batch: int, precision: str) -> BlockHessianFree:
    """Return BHF at the setting's damping and iterations."""
    return BlockHessianFree(
        model, setting.problem.loss, setting.problem.partition, curvature_batch=curvature_batch,
        damping=setting.damping, max_cg_iterations=setting.iterations, product_precision=precision,
    )  # fmt: skip


def solutions(model: nn.Module, setting: Setting, batch: Batch, curvature_batch: int, precision: str) -> dict[str, Any]:
    """Do one update of a copy; return every block's solution, in float64, and its iterations."""
    copied = copy.deepcopy(model)
    before = [p.detach().double().clone() for p in copied.parameters()]
    made = optimizer(copied, setting, curvature_batch, precision)
    with emulated() if precision == "tf32" and batch[0].device.type == "cpu" else nullcontext():
        result = made.step(*batch)
    lr = made.param_groups[0]["lr"]
    steps = [(p.detach().double() - b) / lr for p, b in zip(copied.parameters(), before, strict=True)]
    names = [name for name, _ in copied.named_parameters()]
    return {"steps": dict(zip(names, steps, strict=True)), "iterations": [b.cg_iterations for b in result.blocks]}


def models(
    model: nn.Module, setting: Setting, batch: Batch, curvature_batch: int, steps: dict[str, Tensor]
) -> list[float]:
    """Return q(x) of every block, in float64."""
    exact = copy.deepcopy(model).double()
    inputs = batch[0].double()
    targets = batch[1].double() if batch[1].is_floating_point() else batch[1]
    blocks = make_blocks(exact, setting.problem.partition)
    whole = TracedModel(exact, setting.problem.loss).linearize(inputs, targets)
    curvature, found = whole.narrow(curvature_batch, blocks), []
    for block in blocks:
        gradient, x, product = block.vector(), block.vector(), block.vector()
        everything = {name: torch.empty_like(p) for name, p in exact.named_parameters()}
        whole.gradient(everything | block.views(gradient))
        for name, view in block.views(x).items():
            view.copy_(steps[name])
        curvature.product(block, x, product)
        found.append((x @ product / 2 + setting.damping * (x @ x) / 2 + gradient @ x).item())
    return found


def measure(name: str, chosen: argparse.Namespace) -> dict[str, Any]:
    """Compare the precisions on one problem."""
    torch.manual_seed(0)
    setting = SETTINGS[PROBLEMS[name]]
    batch = batch_of(name, setting, chosen.images)
    batch = batch[0].to(chosen.device), batch[1].to(chosen.device)
    model, size = setting.model().to(chosen.device), chosen.curvature_batch
    warm = optimizer(model, setting, size, "full")
    for _ in range(chosen.updates):
        warm.step(*batch)
    double = batch[0].double(), batch[1].double() if batch[1].is_floating_point() else batch[1]
    best = solutions(copy.deepcopy(model).double(), setting, double, size, "full")
    reference = models(model, setting, batch, size, best["steps"])
    result: dict[str, Any] = {"float64": {"q": reference, "iterations": best["iterations"]}}
    for precision in PRECISIONS:
        solved = solutions(model, setting, batch, size, precision)
        q = models(model, setting, batch, size, solved["steps"])
        shares = [round(value / of, 4) for value, of in zip(q, reference, strict=True)]
        result[precision] = {"of_float64": shares, "iterations": solved["iterations"]}
    return result


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    add("--json", action="store_true", help="print one JSON object")
    add("--device", default="cpu")
    add("--updates", type=int, default=5, help="updates before the one that is compared")
    add("--images", type=int, default=1000, help="S_g")
    add("--curvature-batch", type=int, default=250)
    add("--only", nargs="*", default=list(PROBLEMS), choices=list(PROBLEMS))
    chosen = parser.parse_args(arguments)
    found = {name: measure(name, chosen) for name in chosen.only}
    if chosen.json:
        print(json.dumps(found, indent=1))
        return
    for name, rows in found.items():
        for precision, row in rows.items():
            print(f"{name:12} {precision:9}", *(f"{key} {value}" for key, value in row.items()))


if __name__ == "__main__":
    main()
