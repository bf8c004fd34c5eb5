"""Specification of a comparison and of its runs: problem, optimizers, seeds and budget."""

from typing import Annotated, Literal, Self

from pydantic import AfterValidator, StringConstraints, ValidationInfo, field_validator, model_validator

from backend.schemas.base import MAX_IMAGES, MAX_RUNS_PER_EXPERIMENT, MAX_UPDATES, Contract, Seed, Slug, Title, setting
from backend.schemas.optimizer_registry import Optimizer, StoredOptimizer, UnavailableOptimizer

OLD_MARKS = {"study.momentum": "study.warm_start"}
"""Values of `reproduces` that version 0.1 stored, with their current names."""

OptionValue = bool | int | float | Slug


class Problem(Contract):
    """A network with its loss, and the data set it is trained on."""

    name: Slug = setting("autoencoder", "network and loss")
    data: Slug = setting("mnist-5k", "data set")
    train_size: int | None = setting(
        None, "how many training images to use; empty: all", unit="images", ge=2, le=MAX_IMAGES
    )
    test_size: int | None = setting(None, "how many test images to use; empty: all", unit="images", ge=1, le=MAX_IMAGES)
    options: dict[Slug, OptionValue] = setting({}, "the problem's own options, such as layer widths", max_length=32)


class Budget(Contract):
    """Limits of a run. It ends when it reaches the first of them."""

    updates: int | None = setting(100, "end after this many updates", unit="updates", ge=1, le=MAX_UPDATES)
    epochs: float | None = setting(
        None, "end after this many passes over the training set", unit="epochs", gt=0, le=100_000, paper=1000
    )
    seconds: float | None = setting(
        None, "end after this much training time, without evaluation", unit="s", gt=0, le=10_000_000
    )
    patience: int | None = setting(
        None,
        "end when test accuracy (test loss, if there is no accuracy) has not improved for this many evaluations",
        unit="evaluations",
        ge=1,
        le=100_000,
    )

    @model_validator(mode="after")
    def _is_finite(self) -> Self:
        if self.updates is None and self.epochs is None and self.seconds is None:
            raise ValueError(
                "updates, epochs and seconds are all empty: set at least one, otherwise the run never ends"
            )
        return self


class Evaluation(Contract):
    """When the losses of the curves are computed, and on which images. Its time does not count as training time."""

    every: int = setting(1, "evaluate after every n updates (and after the last one)", unit="updates", ge=1, le=100_000)
    train_subset: int = setting(
        1000, "training images, always the same ones, over which the train loss is computed", unit="images", ge=1,
        le=MAX_IMAGES,
    )  # fmt: skip
    polyak_decay: float | None = setting(
        None, "evaluate the weights' running mean with this decay (Polyak averaging); empty: the weights", gt=0, lt=1,
        paper=0.99,
    )  # fmt: skip


Schedule = Literal["race", "sequential"]
RaceBy = Literal["updates", "seconds"]
Device = Annotated[str, StringConstraints(pattern=r"^(auto|cpu|cuda(:[0-9]{1,2})?)$")]


class _Shared(Contract):
    """Settings that all runs of an experiment share."""

    problem: Problem = Problem()
    budget: Budget = Budget()
    evaluation: Evaluation = Evaluation()
    device: Device = setting("auto", "auto (the GPU if the worker has one), cpu, cuda or cuda:N")
    precision: Literal["float32", "float64"] = setting("float32", "floating-point type of weights and products")
    threads: int | None = setting(
        None, "CPU threads of the run; empty: the worker's choice", unit="threads", ge=1, le=1024
    )


class RunConfig(_Shared):
    """Complete configuration of one run. On the same machine it gives bit-identical rows."""

    optimizer: StoredOptimizer
    seed: Seed = setting(0, "determines initial weights and data order, which are equal for every optimizer")


_OPTIMIZERS = setting(..., "the optimizers to compare", min_length=1, max_length=32)


class StoredSpec(_Shared):
    """A specification as it was launched; its optimizers may be unavailable by now."""

    name: Title = setting("comparison", "name of the comparison")
    optimizers: list[StoredOptimizer] = _OPTIMIZERS
    seeds: list[Seed] = setting([0], "one run per optimizer and seed", min_length=1, max_length=100)
    # Comparisons that an earlier version stored have neither field. They race, as new ones do.
    schedule: Schedule = setting("race", "race: a worker trains its runs side by side; sequential: one after another")
    race_by: RaceBy = setting("updates", "the run that is furthest behind by this trains next")
    reproduces: Slug | None = setting(None, "which of BlockHF's reproductions this is; empty: your own comparison")

    @field_validator("reproduces")
    @classmethod
    def _current_mark(cls, value: str | None) -> str | None:
        return OLD_MARKS.get(value or "", value)

    @field_validator("optimizers")
    @classmethod
    def _optimizers_differ(cls, value: list[Optimizer]) -> list[Optimizer]:
        if len({o.model_dump_json() for o in value}) < len(value):
            raise ValueError("duplicate optimizer: remove one of the two identical ones")
        return value

    @field_validator("seeds")
    @classmethod
    def _seeds_differ(cls, value: list[int], info: ValidationInfo) -> list[int]:
        if len(set(value)) < len(value):
            raise ValueError("seeds must be unique")
        count = len(value) * len(info.data.get("optimizers", []))
        if count > MAX_RUNS_PER_EXPERIMENT:
            raise ValueError(f"optimizers x seeds is {count} runs; at most {MAX_RUNS_PER_EXPERIMENT} are allowed")
        return value

    def runs(self) -> list[RunConfig]:
        """Expand into runs. The seed varies slowest, so that all optimizers show a curve early."""
        shared = {name: getattr(self, name) for name in _Shared.model_fields}
        return [RunConfig(**shared, optimizer=o, seed=s) for s in self.seeds for o in self.optimizers]

    def to_launch(self) -> "ExperimentSpec | None":
        """Return it as a specification that can be launched again; None if one of its optimizers is unavailable."""
        if any(isinstance(optimizer, UnavailableOptimizer) for optimizer in self.optimizers):
            return None
        return ExperimentSpec(**{name: getattr(self, name) for name in ExperimentSpec.model_fields})


class ExperimentSpec(StoredSpec):
    """A named comparison: every optimizer with every seed, on the same problem."""

    optimizers: list[Optimizer] = _OPTIMIZERS


AnySpec = Annotated[StoredSpec, AfterValidator(lambda spec: spec.to_launch() or spec)]
"""What was launched: an ExperimentSpec if it could be launched again, otherwise a StoredSpec."""
