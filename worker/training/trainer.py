"""Training one run: draw a batch, update, measure, report, until the budget is spent. Knows no HTTP."""

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
from backend.schemas.measures import BlockStats, StopReason, Update
from backend.schemas.runs import RunStatus
from worker.checkpoints.policy import Keeper
from worker.optim import BlockResult, EvaluationAverage, OptimError, StepResult
from worker.optim.precision import float32_products
from worker.problems.data import Dataset, Split
from worker.problems.problem import Problem
from worker.problems.registry import Registry
from worker.training import device as devices
from worker.training.evaluation import measure
from worker.training.optimizer_factory import make_optimizer
from worker.training.sampling import Sampler
from worker.training.state import Course
from worker.training.stopping import Limits


class Report(Protocol):
    """What a run tells as it goes."""

    def start(
        self, *, environment: dict[str, str], blocks: list[list[str]], parameters: int, resumed_from: int, note: str
    ) -> None:
        """Say what the run is made of, after which update it goes on, and what is to be known of that."""
        ...

    def update(self, row: Update) -> None:
        """Hand over an update's figures."""
        ...


@dataclass(frozen=True)
class Outcome:
    """How a run that did not fail ended."""

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
    keeper: Keeper | None = None,
) -> Outcome:
    """Train one run to its end.

    The seed sets the initial weights and the data order, alike for every optimizer; the same configuration gives the
    same rows, bit for bit but for `seconds`, on the same device with the same threads and versions, also where it was
    interrupted and went on from a checkpoint.

    Args:
        config: what to train.
        report: is told what the run is made of, and every update.
        cancelled: is asked after every update whether to stop.
        blocks: layer names of each block; empty if the optimizer has no blocks.
        registry: the problems and data sets.
        folder: where data sets are kept.
        keeper: gives the state to go on from, and keeps it from time to time; None: nothing is kept.

    Raises:
        RunFailed: it cannot be trained as configured, or diverged, or memory ran out; the text says what to change.
    """
    device = devices.choose_device(config.device)
    with devices.threads(config.threads), float32_products(tf32=False), devices.memory_explained(), _explained():
        trainer, note = _prepared(lambda: Trainer(config, blocks, registry, folder, device), keeper)
        report.start(
            environment=devices.environment(device), blocks=trainer.blocks, parameters=trainer.parameters,
            resumed_from=trainer.course.updates, note=note,
        )  # fmt: skip
        return trainer.run(report, cancelled, keeper)


class Trainer:
    """One run's network, data, optimizer and clock.

    Attributes:
        course: network, optimizer, sampler and counts, which change while it trains.
        blocks: layer names of each block; empty if the optimizer has no blocks.
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
        self._shown = self._train.head(config.evaluation.train_subset)
        model = initial_model(self._problem, config, data).to(device, self._dtype)
        self.blocks = blocks
        decay = config.evaluation.polyak_decay
        self.course = Course(
            model=model,
            device=device,
            optimizer=make_optimizer(config.optimizer, model, self._problem.loss, self.blocks),
            sampler=_sampler(config, len(self._train)),
            average=None if decay is None else EvaluationAverage(model, decay),
            limits=Limits(config.budget),
            data=" ".join(part.fingerprint() for part in parts),
        )

    @property
    def parameters(self) -> int:
        """Number of trainable parameters."""
        return sum(p.numel() for p in self.course.model.parameters() if p.requires_grad)

    def run(self, report: Report, cancelled: Callable[[], bool], keeper: Keeper | None = None) -> Outcome:
        """Update until a limit of the budget is reached, or someone cancels or pauses.

        Raises:
            RunFailed: a loss, gradient or step is not finite.
        """
        course = self.course
        while True:
            row = self.update()
            ended_by = course.limits.reached(row)
            if not row.diverged and (ended_by or course.updates % self._config.evaluation.every == 0):
                row = self.evaluated(row)
                ended_by = ended_by or course.limits.stalled(row)
            report.update(row)
            if row.diverged:
                raise RunFailed(_divergence(row, self._config))
            if ended_by:
                if keeper is not None:
                    keeper.end(course.weights())
                return Outcome(RunStatus.FINISHED, ended_by)
            if cancelled():
                return Outcome(RunStatus.CANCELLED, f"cancelled after {course.updates} updates")
            if keeper is not None and (keeper.due() or keeper.paused()):
                kept = keeper.keep(course.state(), course.updates)
                if keeper.paused():
                    left = "" if kept else "; that state could not be kept, so it goes on from an earlier one, if any"
                    return Outcome(RunStatus.PAUSED, f"paused after {course.updates} updates{left}")

    def update(self) -> Update:
        """Draw a batch and make one update; its row has no evaluation yet."""
        course = self.course
        started, cpu_started = time.perf_counter(), time.process_time()
        rows = course.sampler.draw().to(self._train.labels.device)
        images, labels = self._train.batch(rows, self._dtype)
        step = course.optimizer.step(self._problem.inputs(images), self._problem.targets(images, labels))
        course.seconds += time.perf_counter() - started
        if course.cpu_seconds is not None:
            course.cpu_seconds += time.process_time() - cpu_started
        course.cost += step.cost
        course.updates += 1
        if course.average is not None:
            course.average.update()
        samples = course.updates * len(rows)
        return _row(
            step, update=course.updates, samples=samples, epoch=samples / len(self._train), seconds=course.seconds,
            cost=course.cost, cpu_seconds=course.cpu_seconds,
        )  # fmt: skip

    def evaluated(self, row: Update) -> Update:
        """Add the losses over the fixed training subset and the test subset, of the averaged weights if asked for."""
        average, model = self.course.average, self.course.model
        started = time.perf_counter()
        with average.evaluating() if average is not None else nullcontext():
            train = measure(self._problem, model, self._shown, self._dtype)
            test = measure(self._problem, model, self._test, self._dtype)
        return row.model_copy(
            update={
                "train_loss": _finite(train.loss),
                "test_loss": _finite(test.loss),
                "test_accuracy": test.accuracy,
                "evaluation_seconds": time.perf_counter() - started,
                "diverged": not (math.isfinite(train.loss) and math.isfinite(test.loss)),
            }
        )


def initial_model(problem: Problem, config: RunConfig, data: Dataset) -> nn.Module:
    """Build the network with the initial weights of the run's seed, on the CPU in float32.

    So the weights do not depend on device, precision or optimizer. The default generator is left as it was.

    Raises:
        RunFailed: an option is unknown or out of bounds, or the problem cannot use the data set.
    """
    if not problem.accepts(data.info):
        raise RunFailed(
            f"the problem {problem.name} cannot use images of the shape {data.info.shape} ({data.info.name})"
        )
    try:
        options = problem.options.model_validate(config.problem.options)
    except ValidationError as error:
        raise RunFailed(str(from_validation(error, ("problem", "options")))) from None
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(config.seed)
        return problem.build(options, data.info)


def _prepared(make: Callable[[], Trainer], keeper: Keeper | None) -> tuple[Trainer, str]:
    """Make a trainer that goes on where its run was left, and say what is to be known of that."""
    trainer = make()
    state = keeper.found() if keeper is not None else None
    if keeper is None or state is None:
        return trainer, "" if keeper is None else keeper.missing()
    try:
        return trainer, trainer.course.restore(state)
    except (KeyError, ValueError, RuntimeError) as error:
        return make(), f"began again: its checkpoint does not fit what is trained here ({error})"[:500]


def _subset(split: Split, size: int | None, name: str) -> Split:
    if size is not None and size > len(split):
        raise RunFailed(f"problem.{name} is {size}, but the data set has only {len(split)} such images")
    return split.head(size)


def _sampler(config: RunConfig, size: int) -> Sampler:
    batch = config.optimizer.gradient_batch
    if batch > size:
        raise RunFailed(f"gradient_batch is {batch}, but there are only {size} training images; choose at most {size}")
    return Sampler(size, batch, config.seed)


def _row(step: StepResult, **counted: float | None) -> Update:
    """Turn an update's figures into a row; what is not finite becomes null."""
    ruled = step.evaluations > 0  # a rule of acceptance is on
    figures = (step.loss, step.gradient_norm, step.step_norm)
    return Update.model_validate(
        {
            **counted,
            "batch_loss": _finite(step.loss),
            "gradient_norm": _finite(step.gradient_norm),
            "step_norm": _finite(step.step_norm),
            "gradient_seconds": step.gradient_seconds,
            "curvature_seconds": step.curvature_seconds,
            "scale": step.scale if ruled else None,
            "reduction_ratio": _finite(step.reduction_ratio),
            "loss_decrease": _finite(step.loss_decrease),
            "diverged": not all(math.isfinite(figure) for figure in figures),
            "blocks": [_block(block) for block in step.blocks],
        }
    )


def _block(result: BlockResult) -> BlockStats:
    """Turn a block's solve into its part of the row."""
    return BlockStats(
        cg_iterations=result.cg_iterations,
        stop_reason=StopReason(result.stop_reason.value),
        residual=_finite(result.residual),
        model_decrease=_finite(result.model_decrease),
        product_method=result.product_method or None,
        note=result.note[:500] or None,
        cost=result.cost,
        predicted_cost=result.predicted_cost,
        ritz_min=_finite(result.ritz_min),
        ritz_max=_finite(result.ritz_max),
        step_norm=_finite(result.step_norm),
    )


def _finite(value: float | None) -> float | None:
    return value if value is not None and math.isfinite(value) else None


def _divergence(row: Update, config: RunConfig) -> str:
    """Say what is not finite, and what to change."""
    named = {
        "the loss over the batch": row.batch_loss, "the gradient": row.gradient_norm, "the step": row.step_norm,
    }  # fmt: skip
    broken = [name for name, value in named.items() if value is None] or ["the loss after the update"]
    cure = "choose a smaller learning_rate"
    if config.optimizer.has_curvature:
        cure += " or more damping, or fewer max_cg_iterations"
    return f"diverged at update {row.update}: {' and '.join(broken)} is not a finite number; {cure}"


@contextmanager
def _explained() -> Iterator[None]:
    """Turn the optimizers' errors, whose texts say what to change, into RunFailed."""
    try:
        yield
    except OptimError as error:
        raise RunFailed(str(error)) from error
