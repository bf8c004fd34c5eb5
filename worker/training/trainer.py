"""Trains one run: draw a batch, update, evaluate, report, until a limit of the budget is reached."""

import math
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import torch
from pydantic import ValidationError
from torch import nn

from backend.errors import RunFailed, from_validation
from backend.schemas.experiments import RunConfig
from backend.schemas.measures import Update
from backend.schemas.runs import RunStatus
from worker.checkpoints.policy import CheckpointPolicy
from worker.optim import EvaluationAverage, OptimError
from worker.optim.precision import float32_products
from worker.problems.data import Dataset, Split
from worker.problems.problem import Problem
from worker.problems.registry import Registry
from worker.training import device as devices
from worker.training.evaluation import measure
from worker.training.optimizer_factory import make_optimizer
from worker.training.rows import divergence, finite, make_row
from worker.training.sampling import Sampler
from worker.training.state import NOTE_CHARACTERS, TrainingState
from worker.training.stopping import StoppingRule


class Report(Protocol):
    """Receives a run's start and updates, in the thread that trains. Its exceptions end the training."""

    def start(
        self, *, environment: dict[str, str], blocks: list[list[str]], parameters: int, resumed_from: int, note: str
    ) -> None:
        """Report what is trained, once, before the first update.

        Args:
            environment: everything on which the results depend, except the configuration.
            blocks: layer names of each block.
            parameters: number of trainable parameters.
            resumed_from: number of the update after which the run continues; 0: from the start.
            note: why it restarted, or how its results may differ from an uninterrupted run's; empty if neither.
        """
        ...

    def update(self, row: Update) -> None:
        """Report the row of an update."""
        ...


AwaitSlice = Callable[[int, float], None]
"""Receives the number of updates and the training time [s] so far; returns once the run may train, or must end."""


def _train_on(updates: int, seconds: float) -> None:
    """Let a run train that shares its cores with no other."""


@dataclass(frozen=True)
class Outcome:
    """How a run ended that did not fail: its status, and the reason for users."""

    status: RunStatus
    ended_by: str


def train(
    config: RunConfig,
    report: Report,
    cancelled: Callable[[], bool],
    *,
    blocks: list[list[str]],
    registry: Registry,
    folder: Path,
    policy: CheckpointPolicy | None = None,
    await_slice: AwaitSlice = _train_on,
) -> Outcome:
    """Train one run to its end.

    The seed determines the initial weights and the data order, which are the same for every optimizer. The same
    configuration gives the same rows bit for bit, except for times, on the same CPU with the same threads and versions;
    also if the run was interrupted and continued from a checkpoint.

    Args:
        config: what to train.
        report: receives the start and each update.
        cancelled: called after each update; returns whether to stop.
        blocks: layer names of each block; empty if the optimizer has no blocks.
        registry: the problems and data sets.
        folder: folder of the data sets.
        policy: loads the state to continue from and saves checkpoints; None: neither.
        await_slice: called before the first update and after each one; returns once the run may train, or must end.

    Returns:
        How the run ended.

    Raises:
        RunFailed: the configuration cannot be trained, or the run diverged or ran out of memory. The message explains
            what to change.
    """
    device = devices.choose_device(config.device)
    with (
        devices.threads(config.threads),
        float32_products(tf32=False),
        devices.explain_memory_errors(),
        _explain_errors(),
    ):
        trainer, note = _restored(lambda: Trainer(config, blocks, registry, folder, device), policy)
        report.start(
            environment=devices.environment(device), blocks=trainer.blocks, parameters=trainer.parameters,
            resumed_from=trainer.state.updates, note=note,
        )  # fmt: skip
        return trainer.run(report, cancelled, policy, await_slice)


class Trainer:
    """One run's data and training state.

    Attributes:
        state: network, optimizer, data order and counters.
        blocks: layer names of each block; empty if the optimizer has no blocks.

    Raises:
        RunFailed: the configuration cannot be trained.
    """

    def __init__(
        self, config: RunConfig, blocks: list[list[str]], registry: Registry, folder: Path, device: torch.device
    ) -> None:
        self._config = config
        self._problem = registry.problem(config.problem.name)
        self._dtype = getattr(torch, config.precision)
        data = registry.source(config.problem.data).load(folder)
        parts = [
            _subset(data.train, config.problem.train_size, "train_size"),
            _subset(data.test, config.problem.test_size, "test_size"),
        ]
        self._train, self._test = (part.to(device) for part in parts)
        self._train_subset = self._train.head(config.evaluation.train_subset)
        model = initial_model(self._problem, config, data).to(device, self._dtype)
        self.blocks = blocks
        decay = config.evaluation.polyak_decay
        self.state = TrainingState(
            model=model,
            device=device,
            optimizer=make_optimizer(config.optimizer, model, self._problem.loss, self.blocks),
            sampler=_sampler(config, len(self._train)),
            average=None if decay is None else EvaluationAverage(model, decay),
            stopping=StoppingRule(config.budget),
            data=" ".join(part.fingerprint() for part in parts),
        )

    @property
    def parameters(self) -> int:
        """Number of trainable parameters."""
        return sum(p.numel() for p in self.state.model.parameters() if p.requires_grad)

    def run(
        self,
        report: Report,
        cancelled: Callable[[], bool],
        policy: CheckpointPolicy | None = None,
        await_slice: AwaitSlice = _train_on,
    ) -> Outcome:
        """Update until a limit of the budget is reached, or the user cancels or pauses the run.

        Args:
            report: receives each update.
            cancelled: called after each update; returns whether to stop.
            policy: saves checkpoints and final weights; None: neither.
            await_slice: called before the first update and after each one, outside the training time.

        Raises:
            RunFailed: a loss, gradient or step is not finite.
        """
        state = self.state
        await_slice(state.updates, state.seconds)
        if cancelled():
            return Outcome(RunStatus.CANCELLED, f"cancelled after {state.updates} updates")
        if policy is not None and policy.pause_requested():  # what there is to save, is saved
            return Outcome(RunStatus.PAUSED, f"paused after {state.updates} updates")
        while True:
            row = self.update()
            ended_by = state.stopping.reached(row)
            # The last update is always evaluated, so that every run ends with a loss that can be compared.
            if not row.diverged and (ended_by or state.updates % self._config.evaluation.every == 0):
                row = self.evaluated(row)
                ended_by = ended_by or state.stopping.out_of_patience(row)
            # Report before failing, so that the diverged update is in the curves; and before saving, because a
            # checkpoint is valid only together with the rows before it.
            report.update(row)
            if row.diverged:
                raise RunFailed(divergence(row, self._config))
            if ended_by:
                if policy is not None:
                    policy.save_weights(state.weights())
                return Outcome(RunStatus.FINISHED, ended_by)
            await_slice(state.updates, state.seconds)
            if cancelled():
                return Outcome(RunStatus.CANCELLED, f"cancelled after {state.updates} updates")
            if policy is not None and (policy.due() or policy.pause_requested()):
                saved = policy.save(state.snapshot(), state.updates)
                if policy.pause_requested():
                    lost = "" if saved else "; this state could not be saved, so the run will repeat some updates"
                    return Outcome(RunStatus.PAUSED, f"paused after {state.updates} updates{lost}")

    def update(self) -> Update:
        """Draw a batch and do one update; the row has no evaluation yet."""
        state = self.state
        started, cpu_started = time.perf_counter(), time.process_time()
        rows = state.sampler.draw().to(self._train.labels.device)
        images, labels = self._train.batch(rows, self._dtype)
        step = state.optimizer.step(self._problem.inputs(images), self._problem.targets(images, labels))
        state.seconds += time.perf_counter() - started
        if state.cpu_seconds is not None:
            state.cpu_seconds += time.process_time() - cpu_started
        state.cost += step.cost
        state.updates += 1
        if state.average is not None:
            state.average.update()
        samples = state.updates * len(rows)
        return make_row(
            step, update=state.updates, samples=samples, epoch=samples / len(self._train), seconds=state.seconds,
            cost=state.cost, cpu_seconds=state.cpu_seconds,
        )  # fmt: skip

    def evaluated(self, row: Update) -> Update:
        """Return the row with the losses over the training subset and the test set, of the averaged weights if any."""
        average, model = self.state.average, self.state.model
        started = time.perf_counter()
        with average.evaluating() if average is not None else nullcontext():
            train = measure(self._problem, model, self._train_subset, self._dtype)
            test = measure(self._problem, model, self._test, self._dtype)
        return row.model_copy(
            update={
                "train_loss": finite(train.loss),
                "test_loss": finite(test.loss),
                "test_accuracy": test.accuracy,
                "evaluation_seconds": time.perf_counter() - started,
                "diverged": not (math.isfinite(train.loss) and math.isfinite(test.loss)),
            }
        )


def initial_model(problem: Problem, config: RunConfig, data: Dataset) -> nn.Module:
    """Build the network with the initial weights of the run's seed, on the CPU in float32.

    So the weights do not depend on device, precision or optimizer. The state of torch's default generator is restored.

    Raises:
        RunFailed: an option is unknown or out of bounds, or the problem cannot use the data set.
    """
    if not problem.accepts(data.info):
        raise RunFailed(
            f"the problem {problem.name} cannot use the data set {data.info.name} (images of shape {data.info.shape})"
        )
    try:
        options = problem.options.model_validate(config.problem.options)
    except ValidationError as error:
        raise RunFailed(str(from_validation(error, ("problem", "options")))) from None
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(config.seed)
        return problem.build(options, data.info)


def _restored(make: Callable[[], Trainer], policy: CheckpointPolicy | None) -> tuple[Trainer, str]:
    """Make a trainer that continues from its run's checkpoint; return it with the note for the run."""
    trainer = make()
    snapshot = policy.load() if policy is not None else None
    if policy is None or snapshot is None:
        return trainer, "" if policy is None else policy.missing_note()
    try:
        return trainer, trainer.state.restore(snapshot)
    except (KeyError, ValueError, RuntimeError) as error:
        # A new trainer, because the failed restore may have changed a part of this one.
        return make(), f"restarted: the checkpoint does not fit this run ({error})"[:NOTE_CHARACTERS]


def _subset(split: Split, size: int | None, name: str) -> Split:
    if size is not None and size > len(split):
        raise RunFailed(
            f"problem.{name} is {size}, but the data set has {len(split)} such images; choose at most {len(split)}"
        )
    return split.head(size)


def _sampler(config: RunConfig, size: int) -> Sampler:
    batch = config.optimizer.gradient_batch
    if batch > size:
        raise RunFailed(f"gradient_batch is {batch}, but there are {size} training images; choose at most {size}")
    return Sampler(size, batch, config.seed)


@contextmanager
def _explain_errors() -> Iterator[None]:
    """Turn the optimizers' errors, whose messages explain what to change, into RunFailed."""
    try:
        yield
    except OptimError as error:
        raise RunFailed(str(error)) from error
