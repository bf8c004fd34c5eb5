"""The judges of the paper's claims: each turns an experiment's runs into a verdict, its reason and its numbers."""

from collections.abc import Sequence
from itertools import zip_longest
from math import inf, isfinite

from backend.paper.run_groups import Parts
from backend.paper.statistics import above, last_loss, middle, middle_curve, needs, noise, pace, paired, times
from backend.schemas.paper import Evidence, Verdict
from backend.schemas.runs import RunStatus

CLOSE = 0.10
"""a loss is about another one if it is at most this share above it"""
ORDER_OF_MAGNITUDE = 10.0
FEWER = 2.0
WHOLE_RUN = 0.9
"""share of the evaluated updates that counts as "during the whole run" """
COST_CLAIMED = 10.0
"""the paper: one HF or BHF update takes 5 to 10 times an Adam update's time"""

Judgement = tuple[Verdict, str, list[Evidence]]


def fewer_updates(parts: Parts) -> Judgement:
    """Judge how close BHF comes to Adam with small batches, and with how many fewer updates."""
    n = parts.best()
    bhf = parts.bhf[n]
    gaps = [above(last_loss(b), last_loss(a)) for b, a in paired(bhf, parts.small)]
    against = {"small": parts.small, "large": parts.large}
    ratios = {name: [needs(pair, "update") for pair in paired(bhf, adams)] for name, adams in against.items()}
    evidence = [
        _evidence(f"BHF's end, curvature batch {n}, above Adam's with small batches", [100 * g for g in gaps], "%"),
        _evidence("BHF's loss at its end", [last_loss(curve) for curve in bhf]),
        *(
            _evidence(f"Adam's loss at its end, {name} batches", [last_loss(c) for c in a])
            for name, a in against.items()
        ),
        *(_evidence(f"updates of Adam with {name} batches for each of BHF's", r) for name, r in ratios.items()),
    ]
    for name, pick in (("test loss", "test_loss"), ("test accuracy", "test_accuracy")):
        pairs = [(curve.last(pick), "BHF") for curve in bhf] + [(c.last(pick), "Adam") for c in parts.small]
        for who in ("BHF", "Adam"):
            values = [value for value, owner in pairs if owner == who and value is not None]
            label = f"{who}'s {name} at its end" + (", small batches" if who == "Adam" else "")
            evidence += [_evidence(label, values)] if values else []
    gap, small, large = middle(gaps), middle(ratios["small"]), middle(ratios["large"])
    text = (
        f"With curvature batch {n}, BHF ends {_percent(gap)} Adam with small batches. To the lowest loss that both "
        f"reach, Adam needs {small:.3g} times the updates of BHF with small batches, {large:.3g} times with large ones."
    )
    reached = gap <= CLOSE
    if reached and small >= ORDER_OF_MAGNITUDE and large > 1:
        return Verdict.REPRODUCED, text, evidence
    return Verdict.PARTLY if reached or small >= FEWER else Verdict.NOT, text, evidence


def below_hf(parts: Parts) -> Judgement:
    """Judge whether BHF is below HF, at each curvature batch: during which share of the run, and at its end."""
    evidence, held, words = [], 0, []
    for n in parts.shared:
        bhf, hf = middle_curve(parts.bhf[n]), middle_curve(parts.hf[n])
        pairs = list(zip_longest(bhf, hf, fillvalue=inf))
        share = sum(b <= h for b, h in pairs) / len(pairs)
        ends = [above(last_loss(b), last_loss(h)) for b, h in paired(parts.bhf[n], parts.hf[n])]
        bounded = isfinite(middle([last_loss(curve) for curve in parts.bhf[n]]))
        held += bounded and share >= WHOLE_RUN and middle(ends) <= 0
        end = f"{_percent(middle(ends))} HF" if bounded or middle(ends) else "diverged as HF"
        words.append(f"{n}: {100 * share:.0f} % of the run, at its end {end}{_diverged(parts, n)}")
        evidence += [
            Evidence(
                what=f"share of the run with BHF at or below HF, curvature batch {n}", middle=100 * share, n=len(ends),
                unit="%",
            ),
            _evidence(f"BHF's end above HF's, curvature batch {n}", [100 * e for e in ends], "%"),
        ]  # fmt: skip
    text = f"BHF is at or below HF, by curvature batch, during: {'; '.join(words)}."
    return _share(held, len(parts.shared)), text, evidence


def small_curvature_batches(parts: Parts) -> Judgement:
    """Judge how the loss at the end grows from the largest curvature batch to the smallest, for BHF and for HF."""
    least, most = parts.shared[0], parts.shared[-1]
    growth = {}
    for name, runs in (("BHF", parts.bhf), ("HF", parts.hf)):
        growth[name] = [times(last_loss(s), last_loss(m)) for s, m in paired(runs[least], runs[most])]
    evidence = [
        _evidence(f"{name}'s end with curvature batch {least} for {most}", values, "times")
        for name, values in growth.items()
    ]
    ours, theirs = growth["BHF"], growth["HF"]
    text = (
        f"From curvature batch {most} to {least}, the loss at the end {_growth('BHF', ours)}, {_growth('HF', theirs)}."
    )
    if all(b < h for b, h in zip(ours, theirs, strict=False)):
        return Verdict.REPRODUCED, text, evidence
    return Verdict.PARTLY if middle(ours) < middle(theirs) else Verdict.NOT, text, evidence


def cost(parts: Parts) -> Judgement:
    """Judge what an update of HF and BHF takes for one of Adam's, and what the same loss takes."""
    axis = parts.clock()
    unit = "CPU seconds" if axis == "cpu_seconds" else "seconds"
    evidence, held, words = [], 0, []
    for n in parts.shared:
        for name, runs in (("BHF", parts.bhf[n]), ("HF", parts.hf[n])):
            seconds = [pace(s, axis) / pace(a, axis) for s, a in paired(runs, parts.large)]
            work = [pace(s, "cost") / pace(a, "cost") for s, a in paired(runs, parts.large)]
            held += name == "BHF" and middle(seconds) <= COST_CLAIMED
            words += [f"{n}: {middle(seconds):.3g}"] if name == "BHF" else []
            evidence += [
                _evidence(f"{name}'s update for Adam's on the same batch, {unit}, curvature batch {n}", seconds),
                _evidence(f"{name}'s update for Adam's on the same batch, gradients, curvature batch {n}", work),
            ]
    best = parts.bhf[parts.best()]
    for name, adams in (("small", parts.small), ("large", parts.large)):
        ratios = [needs(pair, axis) for pair in paired(best, adams)]
        evidence.append(_evidence(f"{unit} of Adam with {name} batches for each of BHF's, to the same loss", ratios))
        words += [f"{unit} to the same loss, Adam with {name} batches for BHF: {middle(ratios):.3g}"]
    text = f"{unit[0].upper()}{unit[1:]} of one BHF update for one of Adam's, by curvature batch: {'; '.join(words)}."
    return _share(held, len(parts.shared)), text, evidence


def stability(parts: Parts) -> Judgement:
    """Judge how much the test loss jitters, for BHF and for HF at each curvature batch."""
    groups = {"Adam, large batches": parts.large, "Adam, small batches": parts.small}
    groups |= {f"HF, curvature batch {n}": parts.hf[n] for n in parts.shared}
    jitter = {name: [noise(curve) for curve in runs] for name, runs in groups.items()}
    ours = {n: [noise(curve) for curve in parts.bhf[n]] for n in parts.shared}
    evidence = [_evidence(f"jitter of the test loss, BHF, curvature batch {n}", values) for n, values in ours.items()]
    evidence += [_evidence(f"jitter of the test loss, {name}", values) for name, values in jitter.items()]
    held = sum(middle(ours[n]) <= middle(jitter[f"HF, curvature batch {n}"]) < inf for n in parts.shared)
    numbers = "; ".join(
        f"{n}: {_number(middle(ours[n]))} against {_number(middle(jitter[f'HF, curvature batch {n}']))}"
        for n in parts.shared
    )
    text = f"Jitter of the test loss, BHF against HF, by curvature batch: {numbers}."
    return _share(held, len(parts.shared)), text, evidence


def _diverged(parts: Parts, n: int) -> str:
    """Say which runs with a curvature batch diverged; empty where none."""
    counts = {"BHF": parts.bhf[n], "HF": parts.hf[n]}
    told = [
        f"{name} {sum(c.status is RunStatus.FAILED for c in runs)} of {len(runs)}"
        for name, runs in counts.items()
        if any(c.status is RunStatus.FAILED for c in runs)
    ]
    return f" (diverged: {', '.join(told)})" if told else ""


def _share(held: int, of: int) -> Verdict:
    return Verdict.REPRODUCED if held == of else Verdict.PARTLY if held else Verdict.NOT


def _percent(share: float) -> str:
    if not isfinite(share):
        return "diverged, unlike"
    if share == -1:
        return "without bound below"
    return f"{abs(100 * share):.1f} % {'below' if share < 0 else 'above'}"


def _number(value: float) -> str:
    return f"{value:.3g}" if isfinite(value) else "diverged"


def _growth(name: str, factors: Sequence[float]) -> str:
    typical = middle(factors)
    return f"of {name} grows {typical:.3g} times" if isfinite(typical) else f"of {name} diverges"


def _evidence(what: str, values: Sequence[float], unit: str = "") -> Evidence:
    """Sum values up; what is infinite becomes null."""
    known = [value if isfinite(value) else None for value in (middle(values), min(values), max(values))]
    return Evidence(what=what, middle=known[0], low=known[1], high=known[2], n=len(values), unit=unit)
