"""The study: answers and advice from its sweeps."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from math import log10
from statistics import fmean, median
from typing import Any

from backend.paper.curves import Curve, Results
from backend.paper.figures import Mode, axis_style, axis_title, base_layout, diverged_mark
from backend.paper.specifications import LONG, QUESTIONS, Question, study
from backend.schemas.optimizer_registry import OPTIMIZERS, Optimizer
from backend.schemas.optimizers import BlockHessianFree, CgStop, EqualPartition, HessianFree, LayerPartition
from backend.schemas.paper import Answer, PlotlyFigure
from backend.schemas.runs import RunStatus

CLOSE = 1.05
"""A loss within this factor of the lowest counts as equally good."""
DIVERGED = 10_000
"""A loss above this is shown as diverged."""
AGAINST_HF = (Question.SMALL_BATCH, *LONG)
"""Questions that compare BHF with HF."""


@dataclass(frozen=True)
class Choice:
    """One value of the swept setting for one optimizer, with the first and final losses of its seeds."""

    kind: str
    label: str
    first_losses: Sequence[float]
    losses: Sequence[float]
    cost: float
    diverged: int
    median_curve: Mapping[int, float] = field(default_factory=dict)
    """median train loss at each evaluated update that all seeds reached"""

    @property
    def loss(self) -> float:
        """Median final train loss."""
        return median(self.losses)


def answer(
    question: Question, results: Results, *, recorded: bool, experiment: str | None = None, mode: Mode = "light"
) -> Answer:
    """Answer a question from the runs of its sweep.

    Args:
        question: the question.
        results: the runs.
        recorded: whether the runs ship with BlockHF.
        experiment: ID of the sweep in this database.
        mode: colours of the figure.
    """
    choices = [choice for optimizer in results.spec.optimizers if (choice := _choice(question, optimizer, results))]
    text, advice = _describe(question, choices)
    if results.ended < len(results.curves):
        advice = "Not enough data yet."
    return Answer(
        question=question.value, title=QUESTIONS[question], text=text, advice=advice, recorded=recorded,
        experiment=experiment, ended=results.ended, total=len(results.curves), figure=_figure(choices, mode),
    )  # fmt: skip


def empty(question: Question) -> Answer:
    """Return the answer to a question without runs."""
    return answer(question, Results(study(question), []), recorded=False)


def _choice(question: Question, optimizer: Optimizer, results: Results) -> Choice | None:
    """Summarize the runs of one optimizer; None if no run was evaluated or the study does not cover the optimizer."""
    if not isinstance(optimizer, HessianFree | BlockHessianFree):
        return None
    curves = results.of(optimizer)
    ended = [curve for curve in curves if curve.status is RunStatus.FINISHED and _is_usable(curve)]
    diverged = sum(curve.status is RunStatus.FAILED for curve in curves)
    if not ended and not diverged:
        return None
    first_losses, losses = ([float(curve.columns["train_loss"][i]) for curve in ended] for i in (0, -1))
    cost = fmean(_cost(curve) for curve in ended) if ended else 0.0
    return Choice(
        optimizer.kind, _label(question, optimizer), first_losses, losses, cost, diverged, _median_curve(ended)
    )


def _is_usable(curve: Curve) -> bool:
    """Return whether a run has positive losses and a cost; an imported run may lack them."""
    losses = curve.columns["train_loss"]
    return bool(losses) and min(losses) > 0 and _cost(curve) > 0


def _median_curve(curves: Sequence[Curve]) -> dict[int, float]:
    """Return the median over seeds at each evaluation; all seeds are evaluated at the same updates."""
    updates = min((curve.columns["update"] for curve in curves), key=len, default=[])
    return {n: median(curve.columns["train_loss"][i] for curve in curves) for i, n in enumerate(updates)}


def _cost(curve: Curve) -> float:
    """Return the work of one update, in gradients."""
    return float(curve.columns["cost"][-1] / curve.columns["update"][-1])


def _label(question: Question, optimizer: HessianFree | BlockHessianFree) -> str:
    """Return the value of the swept setting as text."""
    if question is Question.BLOCKS:
        return _blocks(optimizer)
    if question is Question.STOP:
        tolerance = f" {optimizer.cg_tolerance:g}" if optimizer.cg_stop is CgStop.RESIDUAL else ""
        return f"{optimizer.cg_stop.value}{tolerance}"
    if question in AGAINST_HF:
        plain = HessianFree().model_dump()
        names = ("damping", "cg_stop", "max_cg_iterations", "warm_start")
        own = {name: getattr(optimizer, name) for name in names if getattr(optimizer, name) != plain[name]}
        return ", ".join(f"{name.replace('_', ' ')} {value}" for name, value in own.items()) or "paper's settings"
    return f"{getattr(optimizer, question.value):g}"


def _blocks(optimizer: HessianFree | BlockHessianFree) -> str:
    if isinstance(optimizer, HessianFree):
        return "1 (HF)"
    if isinstance(optimizer.partition, EqualPartition):
        return str(optimizer.partition.count)
    return "one per layer" if isinstance(optimizer.partition, LayerPartition) else "the problem's"


def _describe(question: Question, choices: Sequence[Choice]) -> tuple[str, str]:
    """Return the result of a sweep and the advice as text."""
    valid = [choice for choice in choices if choice.losses]
    if not valid:
        return "No run has ended yet.", "Not enough data yet."
    if question in AGAINST_HF:
        return _against_hf(valid)
    of_kinds = {"all": valid} if question is Question.BLOCKS else {k: _of(valid, k) for k in ("bhf", "hf")}
    words = [_range(kind, group) for kind, group in of_kinds.items() if group]
    words += [
        f"{OPTIMIZERS[c.kind].title} with {c.label}: {c.diverged} run{'s' * (c.diverged > 1)} diverged."
        for c in choices
        if c.diverged
    ]
    chosen = of_kinds.get("bhf") or valid
    best = min(chosen, key=lambda choice: choice.loss)
    cheap = min((c for c in chosen if c.loss <= CLOSE * best.loss), key=lambda choice: choice.cost)
    advice = f"Choose {cheap.label}: " if question is Question.BLOCKS else f"For BHF choose {cheap.label}: "
    advice += (
        "it ends lowest."
        if cheap is best
        else f"it ends within {100 * (CLOSE - 1):.0f} % of the lowest ({best.label}), at {cheap.cost / best.cost:.2g} "
        "times its cost."
    )
    return " ".join(words), advice


def _of(choices: Sequence[Choice], kind: str) -> list[Choice]:
    return [choice for choice in choices if choice.kind == kind]


def _range(kind: str, group: Sequence[Choice]) -> str:
    best, worst = min(group, key=lambda c: c.loss), max(group, key=lambda c: c.loss)
    name = {"all": "The train loss"}.get(kind) or f"{OPTIMIZERS[kind].title}'s train loss"
    seeds = len(best.losses)
    return (
        f"{name} ends at {_loss(best.loss)} with {best.label} (lowest, {seeds} seeds) and at {_loss(worst.loss)} with "
        f"{worst.label} (highest)."
    )


def _loss(value: float) -> str:
    """Write a loss; of one that has diverged, the digits say nothing."""
    return f"{value:.4g}" if value < DIVERGED else f"over {DIVERGED:,}"


def _against_hf(choices: Sequence[Choice]) -> tuple[str, str]:
    """Compare BHF with HF at each setting: which one turns the order around, or keeps both from collapsing?

    A setting has collapsed where it ends above what the best one began with.
    """
    best = min(choices, key=lambda choice: choice.loss)
    bound = max(best.first_losses)
    others = {choice.label: choice for choice in _of(choices, "hf")}
    parts, ratios = [], {}
    for choice in _of(choices, "bhf"):
        if (other := others.get(choice.label)) is None:
            continue
        if min(choice.loss, other.loss) > bound:
            parts.append(f"{choice.label}: both collapse ({choice.loss:.4g} and {other.loss:.4g})")
            continue
        ratio = ratios[choice.label] = choice.loss / other.loss - 1
        led = max((n for n, loss in choice.median_curve.items() if loss <= other.median_curve.get(n, 0.0)), default=0)
        before = f" (at or below until update {led})" if ratio > 0 and led else ""
        parts.append(f"{choice.label}: {abs(100 * ratio):.1f} % {'below' if ratio < 0 else 'above'}{before}")
    if not ratios:
        return "No pair of runs has ended yet.", "Not enough data yet."
    text = f"BHF's final train loss, against HF's with the same setting: {'; '.join(parts)}."
    own = min(_of(choices, "bhf"), key=lambda choice: choice.loss)
    least = min(ratios, key=lambda label: ratios[label])
    if len(_of(choices, "bhf")) == 1:
        return text, f"BHF ends {'below' if ratios[least] < 0 else 'no lower than'} HF with {least}."
    words = "is furthest below" if ratios[least] < 0 else "comes closest to"
    return text, f"BHF {words} HF with {least}; BHF itself ends lowest with {own.label}."


def _figure(choices: Sequence[Choice], mode: Mode) -> PlotlyFigure:
    """Draw the final loss of each seed and the median over the values of the setting."""
    data: list[dict[str, Any]] = []
    for kind in ("bhf", "hf"):
        group = [choice for choice in _of(choices, kind) if choice.losses]
        if not group:
            continue
        looks = {"color": getattr(OPTIMIZERS[kind].colour, mode)}
        name = OPTIMIZERS[kind].title
        data.append(
            {
                "x": [choice.label for choice in group], "y": [choice.loss for choice in group], "name": name,
                "mode": "lines+markers", "line": looks | {"width": 2}, "marker": looks | {"size": 9},
                "text": [f"{choice.cost:.3g} gradients per update" for choice in group],
                "hovertemplate": "%{x}: %{y:.4~g}, %{text}",
            }
        )  # fmt: skip
        data.append(
            {
                "x": [choice.label for choice in group for _ in choice.losses],
                "y": [loss for choice in group for loss in choice.losses], "name": f"{name}, each seed",
                "mode": "markers", "marker": looks | {"size": 6, "opacity": 0.5, "symbol": "circle-open"},
            }
        )  # fmt: skip
    limits = _limits(choices)
    data += _diverged(choices, limits, mode)
    layout = base_layout(mode) | {
        "height": 320,
        "margin": {"l": 60, "r": 12, "t": 30, "b": 26},
        "xaxis": axis_style(mode) | {"type": "category", "categoryarray": [*dict.fromkeys(c.label for c in choices)]},
        "yaxis": axis_style(mode)
        | {"type": "log", "title": axis_title("train loss at the end")}
        | ({"range": limits} if limits else {}),
        "legend": {"orientation": "h", "y": 1.02, "yanchor": "bottom"},
    }
    return PlotlyFigure(data=data, layout=layout)


def _diverged(choices: Sequence[Choice], limits: Sequence[float] | None, mode: Mode) -> list[dict[str, Any]]:
    """Mark at the top of the frame how many runs of each choice diverged or ended above it."""
    if not limits:
        return []
    top = 10 ** limits[1]
    traces = []
    for place, kind in enumerate(("bhf", "hf")):
        marked = [(c, lost) for c in _of(choices, kind) if (lost := c.diverged + sum(x > top for x in c.losses))]
        if marked:
            name = OPTIMIZERS[kind].title
            texts = [f"{lost} of {len(c.losses) + c.diverged} diverged" for c, lost in marked]
            traces.append(
                diverged_mark(
                    [c.label for c, _ in marked], [top] * len(marked), ["<br>" * place + text for text in texts],
                    [f"{name}, {c.label}: {text}" for (c, _), text in zip(marked, texts, strict=True)],
                    getattr(OPTIMIZERS[kind].colour, mode), symbol="triangle-up",
                )
            )  # fmt: skip
    return traces


def _limits(choices: Sequence[Choice]) -> list[float] | None:
    """End the axis a bit above where the runs began, in decades: what diverged leaves the frame."""
    valid = [choice for choice in choices if choice.losses]
    if not valid:
        return None
    lowest, best = min(min(choice.losses) for choice in valid), min(valid, key=lambda choice: choice.loss)
    return [log10(0.9 * lowest), log10(1.5 * max(best.first_losses))]
