"""What our training loop costs beside bare torch, and what reporting costs beside training.

python -m tests.benchmarks.reporting [--json] [--rounds 7] [--batch 1000]

One thread, process time. `loop`: an epoch of Adam on the paper's autoencoder and 4,000 digits through `train`, its rows
kept in memory, over the same epoch in a bare torch loop; rounds interleaved, median of the ratios. `reporting`: of
runs of the small and the large network that post to a real backend process, the share of the process's time that the
reporting thread and the calls that hand it rows take.
"""

import argparse
import json
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

import torch

from backend.schemas.catalog import WorkerInfo
from backend.schemas.experiments import Budget, Evaluation, ExperimentSpec, Problem, RunConfig
from backend.schemas.measures import Update
from backend.schemas.optimizers import Adam
from tests.clients import BothClient
from tests.processes import Processes
from worker.delivery.reporter import Reporter
from worker.problems.autoencoder import PROBLEM, AutoencoderOptions
from worker.problems.data import mnist_5k
from worker.problems.registry import discover
from worker.training.device import threads
from worker.training.trainer import train

NOWHERE = Path("nowhere")
NETWORKS: dict[str, dict[str, int]] = {
    "paper": {},
    "tiny": {"hidden_1": 50, "hidden_2": 25, "hidden_3": 12, "code": 5},
}


class Silent:
    """A report that does nothing."""

    def start(self, **_: Any) -> None:
        """Ignore."""

    def update(self, row: Update) -> None:
        """Ignore."""


class Timed(Reporter):
    """A reporter that knows how much processor time it takes."""

    seconds = 0.0

    def update(self, row: Update) -> None:
        """Take the row, on the clock of the training thread."""
        started = time.thread_time()
        super().update(row)
        self.seconds += time.thread_time() - started

    def _post_all(self) -> None:
        super()._post_all()
        self.seconds += time.thread_time()  # of the reporting thread, from its start


def ours(batch: int) -> float:
    """Train one epoch; return its process time [s]."""
    config = RunConfig(
        problem=Problem(test_size=1),
        optimizer=Adam(gradient_batch=batch),
        budget=Budget(updates=None, epochs=1),
        evaluation=Evaluation(every=100_000, train_subset=1),
    )
    registry = discover()
    started = time.process_time()
    train(config, Silent(), lambda: False, blocks=[], registry=registry, folder=NOWHERE)
    return time.process_time() - started


def bare(batch: int) -> float:
    """Do the same in plain torch, from loading the images to the last update; return its process time [s]."""
    started = time.process_time()
    images, _ = mnist_5k.load(NOWHERE).train.batch(slice(None), torch.float32)
    images = images.flatten(1)
    model = PROBLEM.build(AutoencoderOptions(), mnist_5k.INFO)
    optimizer = torch.optim.Adam(model.parameters(), lr=0.001)
    for rows in torch.split(torch.randperm(len(images)), batch):
        chosen = images[rows]
        optimizer.zero_grad()
        loss = (model(chosen) - chosen).square().sum() / len(chosen)
        loss.backward()
        optimizer.step()
        loss.item()
    return time.process_time() - started


def loop_ratio(batch: int, rounds: int) -> float:
    """Compare the two, interleaved; the first round warms up."""
    ratios = [ours(batch) / bare(batch) for _ in range(rounds + 1)]
    return statistics.median(ratios[1:])


def reporting_share(client: BothClient, options: dict[str, int]) -> dict[str, float]:
    """Train a run that posts to the backend; return the share of the time that reporting takes, and rows per second."""
    registry = discover()
    worker = client.register(WorkerInfo(name="benchmark", device="cpu", threads=1), registry.catalog())
    client.launch(
        ExperimentSpec(
            problem=Problem(options=options),
            optimizers=[Adam(gradient_batch=1000)],
            budget=Budget(updates=None, seconds=5),
            evaluation=Evaluation(every=10),
        )
    )
    claim = client.claim(worker.worker_id)
    assert claim is not None
    reporter = Timed(client, claim.run.id, claim.claim_number)
    started, clock = time.process_time(), time.monotonic()
    outcome = train(
        claim.run.config, reporter, lambda: False, blocks=claim.run.blocks, registry=registry, folder=NOWHERE
    )
    reporter.finish(outcome.status, ended_by=outcome.ended_by)
    share = reporter.seconds / (time.process_time() - started)
    return {"share": share, "rows_per_second": client.run(claim.run.id).summary.updates / (time.monotonic() - clock)}


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.add_argument("--rounds", type=int, default=7, help="rounds of the loop's comparison (default 7)")
    parser.add_argument("--batch", type=int, default=1000, help="images per gradient in the loop's comparison")
    chosen = parser.parse_args()
    with threads(1), tempfile.TemporaryDirectory() as home:
        figures: dict[str, Any] = {"loop": loop_ratio(chosen.batch, chosen.rounds)}
        processes = Processes(Path(home))
        try:
            figures["reporting"] = {
                name: reporting_share(processes.client, options) for name, options in NETWORKS.items()
            }
        finally:
            processes.stop()
    if chosen.json:
        print(json.dumps(figures, indent=2))
        return
    print(f"an epoch of Adam, batch {chosen.batch}: {figures['loop']:.3f} times a bare torch loop")
    for name, figure in figures["reporting"].items():
        print(f"reporting, {name} network: {figure['share']:.2%} of the run, {figure['rows_per_second']:.0f} rows/s")


if __name__ == "__main__":
    main()
