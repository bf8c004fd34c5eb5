"""Whole CG solves of one update, ours and the public packages', in gradients of the gradient batch of 2,000.

python -m tests.benchmarks.curvature [--json] [--rounds 5] [--only autoencoder_100 ...] [--no-peers]

One thread, process time, rounds interleaved, medians; a fresh batch per update. hf and bhf: the whole update
(linearization, planning, set-up, CG with its warm start, new weights) less one gradient; CG stops early only where its
residual has sunk into rounding. peer_hf, peer_bhf: a plain CG of all the iterations, over the faster of curvlinops' and
BackPACK's products. product: one full Gauss-Newton product in gradients of its own batch. update: BHF's whole update
over HF's. hf_iterations, bhf_iterations: of the last update's blocks. hf_full, bhf_full: the same where conjugate
gradient uses its iterations up: larger weights, less damping (`hard` in cases.py). adam_gradient: the gradient as our
Adam takes it, of the same batch; hf_adam, bhf_adam: hf and bhf with that as the unit (they differ where a layer has
passes in C, the LSTM's, which plain torch does not use). peak_gib: largest resident memory of
a process that makes 3 updates of BHF, its libraries and batches included, at a curvature batch of 500.
"""

import argparse
import json
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from itertools import cycle
from typing import Any

import torch
from torch import nn

from tests.benchmarks import peers
from tests.benchmarks.cases import MEMORY_SETTINGS, SETTINGS, Setting
from worker.optim import BlockHessianFree, layer_names, native
from worker.optim.blocks import make_blocks
from worker.optim.curvature.traced_model import TracedModel

Work = Callable[[], object]
KEEP_WEIGHTS = 1e-12
"""learning rate of the updates timed: random data would drive the weights away"""
BATCHES = 4


def medians(contenders: dict[str, Work], rounds: int) -> dict[str, float]:
    """Time each contender once per round, after one round that is not counted [s]."""
    times: dict[str, list[float]] = {name: [] for name in contenders}
    for index in range(rounds + 1):
        for name, work in contenders.items():
            start = time.process_time()
            work()
            if index:
                times[name].append(time.process_time() - start)
    return {name: statistics.median(values) for name, values in times.items()}


def gradient(setting: Setting, size: int) -> Work:
    """Plain torch: forward and backward pass over the first `size` examples."""
    model, (x, t) = setting.model(), setting.data()

    def work() -> None:
        model.zero_grad()
        torch.autograd.backward(setting.problem.loss.value(model(x[:size]), t[:size]))

    return work


def adam_gradient(setting: Setting) -> Work:
    """Do the same as our Adam does."""
    work = gradient(setting, len(setting.data()[0]))

    def faster() -> None:
        with native.single_backward():
            work()

    return faster


def update(setting: Setting, *, blocked: bool, counts: dict[str, list[int]], full: bool = False) -> Work:
    """Our whole update; `counts` gets the iterations of its blocks."""
    scale, damping = setting.hard if full else (1.0, setting.damping)
    name = f"{'bhf' if blocked else 'hf'}{'_full' if full else ''}_iterations"
    model, batches = setting.model(scale=scale), cycle([setting.data() for _ in range(BATCHES)])
    optimizer = BlockHessianFree(
        model,
        setting.problem.loss,
        setting.problem.partition if blocked else [layer_names(model)],
        curvature_batch=setting.curvature_batch,
        damping=damping,
        max_cg_iterations=setting.iterations,
        learning_rate=KEEP_WEIGHTS,
    )

    def work() -> None:
        result = optimizer.step(*next(batches))
        counts[name] = [block.cg_iterations for block in result.blocks]

    return work


def product(setting: Setting) -> Work:
    """Our product with the whole matrix, way of products."""
    model, (x, t) = setting.model(), setting.data()
    blocks = make_blocks(model, [layer_names(model)])
    batch = TracedModel(model, setting.problem.loss).linearize(x, t).narrow(setting.curvature_batch, blocks)
    vector, out = blocks[0].vector().normal_(), blocks[0].vector()
    return lambda: batch.product(blocks[0], vector, out)


Peer = Callable[..., peers.Product]


def peer(setting: Setting, package: Peer, *, blocked: bool) -> Work:
    """A public package's products in a plain CG, block by block."""
    model, (x, t) = setting.model(), setting.data()
    x, t = x[: setting.curvature_batch], t[: setting.curvature_batch]
    blocks = make_blocks(model, setting.problem.partition if blocked else [layer_names(model)])
    sides = [block.vector().normal_() for block in blocks]

    def work() -> None:
        for block, b in zip(blocks, sides, strict=True):
            parameters: list[nn.Parameter] = list(block.parameters)
            matrix = package(model, setting.problem.loss, parameters, x, t)
            peers.plain_solve(matrix, b, setting.damping, setting.iterations)

    return work


def measure(setting: Setting, *, rounds: int, with_peers: bool) -> dict[str, Any]:
    """Return the ratios of one setting."""
    torch.manual_seed(0)
    counts: dict[str, list[int]] = {}
    contenders = {
        "gradient": gradient(setting, len(setting.data()[0])),
        "small_gradient": gradient(setting, setting.curvature_batch),
        "adam_gradient": adam_gradient(setting),
        "product": product(setting),
        "hf": update(setting, blocked=False, counts=counts),
        "bhf": update(setting, blocked=True, counts=counts),
        "hf_full": update(setting, blocked=False, counts=counts, full=True),
        "bhf_full": update(setting, blocked=True, counts=counts, full=True),
    }
    if with_peers:
        for package in (peers.curvlinops, peers.backpack):
            contenders[f"{package.__name__}_hf"] = peer(setting, package, blocked=False)
            contenders[f"{package.__name__}_bhf"] = peer(setting, package, blocked=True)
    seconds = medians(contenders, rounds)
    unit = seconds["gradient"]
    result = {
        "gradient_seconds": unit,
        "product": seconds["product"] / seconds["small_gradient"],
        "update": seconds["bhf"] / seconds["hf"],
        "hf": seconds["hf"] / unit - 1,
        "bhf": seconds["bhf"] / unit - 1,
        "hf_full": seconds["hf_full"] / unit - 1,
        "bhf_full": seconds["bhf_full"] / unit - 1,
        "adam_gradient": seconds["adam_gradient"] / unit,
        "hf_adam": seconds["hf"] / seconds["adam_gradient"] - 1,
        "bhf_adam": seconds["bhf"] / seconds["adam_gradient"] - 1,
    }
    if with_peers:
        for kind in ("hf", "bhf"):
            each = {p: seconds[f"{p}_{kind}"] / unit for p in ("curvlinops", "backpack")}
            result |= {f"peer_{kind}": min(each.values())} | {f"{p}_{kind}": v for p, v in each.items()}
    return {name: round(value, 4) for name, value in result.items()} | counts


def peak(name: str) -> float:
    """Make 3 updates in this process; return its largest resident memory so far [GiB]."""
    torch.manual_seed(0)
    work = update(MEMORY_SETTINGS[name], blocked=True, counts={})
    for _ in range(3):
        work()
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20


def peaks() -> dict[str, float]:
    """Measure each problem's peak in a process of its own."""
    command = [sys.executable, "-m", "tests.benchmarks.curvature", "--peak-of"]
    found = {n: subprocess.run([*command, n], check=True, capture_output=True, text=True) for n in MEMORY_SETTINGS}
    return {name: float(done.stdout) for name, done in found.items()}


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.add_argument("--rounds", type=int, default=5, help="rounds counted")
    parser.add_argument("--only", nargs="*", default=list(SETTINGS), choices=list(SETTINGS))
    parser.add_argument("--no-peers", action="store_true", help="leave the public packages out")
    parser.add_argument("--peak-of", choices=list(MEMORY_SETTINGS), help="print this problem's peak memory alone")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    if arguments.peak_of:
        print(round(peak(arguments.peak_of), 3))
        return
    # First: a process begins with the peak of the one that starts it, which is still small here.
    results: dict[str, dict[str, Any]] = {"peak_gib": peaks()}
    for name in arguments.only:
        results[name] = measure(SETTINGS[name], rounds=arguments.rounds, with_peers=not arguments.no_peers)
        if not arguments.json:
            print(name, results[name])
    if arguments.json:
        print(json.dumps(results, indent=1))
    else:
        print("peak_gib", results["peak_gib"])


if __name__ == "__main__":
    main()
