"""The measures: every number that an update reports, with its name, unit and scale. Tables, exports and charts read it.

To add a measure: declare its field here, add its column in a migration, and compute it where the row is made.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from types import NoneType
from typing import Any, Literal, get_args

from pydantic import AliasChoices, BaseModel, Field

from backend.schemas.base import MAX_UPDATES, Contract, Plain, Slug


class Level(StrEnum):
    """What a measure belongs to."""

    AXIS = "axis"
    """an update; it never decreases, so the other measures can be drawn over it"""
    UPDATE = "update"
    BLOCK = "block"
    """one block of an update"""


Kind = Literal["number", "integer", "text", "flag"]
Scale = Literal["log", "linear", "share"]
Group = Literal["curves", "blocks", "times"]
Better = Literal["", "lower", "higher"]


@dataclass(frozen=True)
class Measure:
    """One measure.

    Attributes:
        name: the field's and the column's name.
        level: what it belongs to.
        kind: type of its values.
        label: name for people.
        title: name on an axis, without the unit.
        unit: unit, empty if there is none; "loss": the problem's loss unit.
        description: what it is, in one line.
        scale: how it is drawn.
        group: group of charts that shows it.
        better: whether lower or higher values are better, if runs are compared by it.
        drawn: whether it can be drawn alone.
        optional: whether it may be null.
    """

    name: str
    level: Level
    kind: Kind
    label: str
    title: str
    unit: str
    description: str
    scale: Scale
    group: Group
    better: Better
    drawn: bool
    optional: bool

    @property
    def axis_title(self) -> str:
        """Title with unit."""
        return f"{self.title} [{self.unit}]" if self.unit else self.title


def measure(
    default: Any,
    description: str,
    *,
    label: str,
    title: str = "",
    unit: str = "",
    scale: Scale = "log",
    group: Group = "curves",
    better: Better = "",
    drawn: bool = True,
    axis: bool = False,
    **bounds: Any,
) -> Any:
    """Declare a measure as a field of `Update` or `BlockStats`; see `Measure` for the arguments."""
    extra: dict[str, Any] = {
        "label": label, "title": title or label.lower(), "unit": unit, "scale": scale, "group": group,
        "better": better, "drawn": drawn, "axis": axis,
    }  # fmt: skip
    text = f"{description} [{unit}]" if unit and unit != "loss" else description
    return Field(default, description=text, json_schema_extra={"measure": extra}, **bounds)


class StopReason(StrEnum):
    """Why a block's conjugate gradient stopped."""

    ITERATIONS = "iterations"
    RESIDUAL = "residual"
    PROGRESS = "progress"
    CURVATURE = "curvature"
    DIVERGED = "diverged"

    @property
    def text(self) -> str:
        """Return the cause and, if something is wrong, what to change."""
        return _STOP_TEXT[self]


_STOP_TEXT = {
    StopReason.ITERATIONS: "the maximum number of iterations was reached",
    StopReason.RESIDUAL: "the residual became small relative to the gradient",
    StopReason.PROGRESS: "the last iterations hardly lowered the quadratic model",
    StopReason.CURVATURE: "the curvature along the direction was not positive, because of rounding without "
    "damping. The last iterate is used: choose more damping or fewer iterations",
    StopReason.DIVERGED: "a value was not finite: choose more damping or a smaller learning rate",
}


class BlockStats(Contract):
    """One block's conjugate gradient run within one update."""

    cg_iterations: int = measure(
        ..., "number of iterations", label="CG iterations", scale="linear", group="blocks", ge=0, le=2**31 - 1
    )
    stop_reason: StopReason = measure(..., "why it stopped", label="Stop reason", group="blocks")
    residual: float | None = measure(
        ..., "norm of the last residual; null: not finite", label="CG residual", group="blocks"
    )
    model_decrease: float | None = measure(
        ..., "decrease of the quadratic model, -q(x) = -(x'(G + d I)x / 2 + g'x); null: not finite",
        label="Model decrease", group="blocks",
    )  # fmt: skip
    product_method: Slug | None = measure(
        None, "how curvature products were computed; null: not reported", label="Product method",
        group="blocks", drawn=False, validation_alias=AliasChoices("product_method", "way"),
    )  # fmt: skip
    note: Plain | None = measure(
        None, "why no faster method applies to this block", label="Note", group="blocks", drawn=False, max_length=500
    )
    cost: float | None = measure(
        None, "work of the solve, including its set-up", label="Solver cost", unit="gradients of S_g", group="blocks",
        ge=0,
    )  # fmt: skip
    predicted_cost: float | None = measure(
        None, "the planner's prediction of the cost, vector operations converted to matrix products",
        label="Predicted solver cost", unit="gradients of S_g", group="blocks", drawn=False, ge=0,
    )  # fmt: skip
    ritz_min: float | None = measure(
        None, "smallest eigenvalue of G + d I, as estimated by conjugate gradient", label="Smallest Ritz value",
        group="blocks",
    )  # fmt: skip
    ritz_max: float | None = measure(
        None, "largest eigenvalue of G + d I, as estimated by conjugate gradient", label="Largest Ritz value",
        group="blocks",
    )  # fmt: skip
    step_norm: float | None = measure(
        None, "Euclidean norm of the change of the block's weights", label="Block step norm", group="blocks", ge=0
    )


class Update(Contract):
    """One update of a run. A loss that was not evaluated or is not finite is null; `diverged` marks the latter."""

    update: int = measure(
        ..., "number of the update; 1 is the first", label="Updates", scale="linear", axis=True, ge=1, le=MAX_UPDATES
    )
    epoch: float = measure(..., "passes over the training set so far", label="Epochs", scale="linear", axis=True, ge=0)
    samples: int = measure(
        ..., "images drawn for gradients so far", label="Images", title="images drawn", scale="linear", axis=True,
        ge=0, le=2**53,
    )  # fmt: skip
    seconds: float = measure(
        ..., "training time on this machine so far, without evaluation", label="Seconds", title="training time",
        unit="s", scale="linear", axis=True, ge=0,
    )  # fmt: skip
    cost: float = measure(
        ..., "work so far; equal on every machine", label="Cost", title="cost",
        unit="gradients of one gradient batch", scale="linear", axis=True, ge=0,
    )  # fmt: skip
    cpu_seconds: float | None = measure(
        None, "processor time of training so far, summed over threads; null: not reported", label="CPU seconds",
        title="processor time of training", unit="s", scale="linear", axis=True, ge=0,
    )  # fmt: skip
    batch_loss: float | None = measure(..., "loss over S_g before the update", label="Batch loss", unit="loss")
    train_loss: float | None = measure(
        None, "loss over the fixed evaluation subset, after the update", label="Train loss", unit="loss",
        better="lower",
    )  # fmt: skip
    test_loss: float | None = measure(
        None, "loss over the test subset, after the update", label="Test loss", unit="loss", better="lower"
    )
    test_accuracy: float | None = measure(
        None, "share of test images classified correctly", label="Test accuracy", scale="share", better="higher", ge=0,
        le=1,
    )  # fmt: skip
    gradient_norm: float | None = measure(..., "Euclidean norm of the gradient over S_g", label="Gradient norm")
    step_norm: float | None = measure(..., "Euclidean norm of the change of the weights", label="Step norm")
    gradient_seconds: float | None = measure(
        None, "time of the update for loss and gradient over S_g", label="Gradient time", unit="s", group="times", ge=0
    )
    curvature_seconds: float | None = measure(
        None, "time of the update for the blocks' solves, including set-up; null if there are none",
        label="Curvature time", unit="s", group="times", ge=0,
    )  # fmt: skip
    evaluation_seconds: float | None = measure(
        None, "time of the evaluation after the update; null if there was none", label="Evaluation time", unit="s",
        group="times", ge=0,
    )  # fmt: skip
    scale: float | None = measure(
        None, "fraction of the step that was taken; null without an acceptance rule", label="Accepted step fraction",
        scale="share",
    )  # fmt: skip
    reduction_ratio: float | None = measure(
        None, "decrease of the loss over S_g / decrease of the undamped model; null without adaptive damping",
        label="Reduction ratio", scale="linear",
    )  # fmt: skip
    loss_decrease: float | None = measure(
        None, "decrease of the loss over S_g by the full step, before a line search; null without adaptive damping",
        label="Loss decrease", drawn=False,
    )  # fmt: skip
    diverged: bool = measure(
        False, "whether a loss, gradient or step is not finite", label="Diverged", scale="linear", drawn=False
    )
    blocks: list[BlockStats] = Field([], max_length=1000)


def _measures(model: type[BaseModel]) -> Iterator[Measure]:
    for name, field in model.model_fields.items():
        extra = field.json_schema_extra
        if not isinstance(extra, dict) or not isinstance(declared := extra.get("measure"), dict):
            continue
        record: dict[str, Any] = dict(declared)
        axis = record.pop("axis")
        level = Level.BLOCK if model is BlockStats else Level.AXIS if axis else Level.UPDATE
        types = get_args(field.annotation) or (field.annotation,)
        yield Measure(
            name=name, level=level, kind=_kind(types), optional=NoneType in types,
            description=(field.description or "").removesuffix(f" [{record['unit']}]"), **record,
        )  # fmt: skip


def _kind(types: tuple[Any, ...]) -> Kind:
    if bool in types:
        return "flag"
    return "number" if float in types else "integer" if int in types else "text"


UPDATE_MEASURES = {measure.name: measure for measure in _measures(Update)}
"""The axes and measures of an update by name, in the order of exports."""
BLOCK_MEASURES = {measure.name: measure for measure in _measures(BlockStats)}
"""The measures of a block by name, in the order of exports."""
AXES = tuple(m.name for m in UPDATE_MEASURES.values() if m.level is Level.AXIS and m.name != "update")
"""The axes except the update number."""
SERIES_FIELDS = tuple(name for name in UPDATE_MEASURES if name != "update")
MEASURES = tuple(name for name in SERIES_FIELDS if name not in AXES and name != "diverged")
BLOCK_FIELDS = tuple(BLOCK_MEASURES)
COMPARED = {m.name: m.better for m in UPDATE_MEASURES.values() if m.better}
"""The measures by which runs are compared, and which values are better. A summary has the last and best value."""
OLD_NAMES = {"way": "product_method"}
"""Names that files exported by version 0.1 have, with their current names."""
