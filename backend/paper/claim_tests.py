"""Tests of the paper's claims: each turns the runs of an experiment into a verdict, its reason and its numbers."""

from collections.abc import Sequence
from itertools import zip_longest
from math import inf, isfinite

from backend.paper.run_groups import RunGroups
from backend.paper.statistics import (
    growth_per_update,
    last_loss,
    loss_ratio,
    median_curve,
    median_or_inf,
    noise,
    paired,
    ratio_at_common_loss,
    relative_excess,
)
from backend.schemas.paper import Evidence, Verdict
from backend.schemas.runs import RunStatus

CLOSE = 0.10
"""Maximum relative excess of a loss that counts as about equal to another one."""
ORDER_OF_MAGNITUDE = 10.0
FEWER = 2.0
WHOLE_RUN = 0.9
"""Share of the evaluated updates that counts as "during the whole run"."""
COST_CLAIMED = 10.0
"""The paper: one HF or BHF update takes 5 to 10 times as long as an Adam update."""

Judgement = tuple[Verdict, str, list[Evidence]]


def fewer_updates(groups: RunGroups) -> Judgement:
    """Test how close BHF comes to Adam with small batches, and with how many fewer updates."""
    n = groups.best()
    bhf = groups.bhf[n]
    gaps = [relative_excess(last_loss(b), last_loss(a)) for b, a in paired(bhf, groups.small)]
    against = {"small": groups.small, "large": groups.large}
    ratios = {
        name: [ratio_at_common_loss(pair, "update") for pair in paired(bhf, adams)] for name, adams in against.items()
    }
    evidence = [
        _evidence(
            f"BHF's final loss, curvature batch {n}, above Adam's with small batches", [100 * g for g in gaps], "%"
        ),
        _evidence("BHF's final loss", [last_loss(curve) for curve in bhf]),
        *(_evidence(f"Adam's final loss, {name} batches", [last_loss(c) for c in a]) for name, a in against.items()),
        *(
            _evidence(f"updates of Adam with {name} batches per update of BHF, to the same loss", r)
            for name, r in ratios.items()
        ),
    ]
    for name, pick in (("test loss", "test_loss"), ("test accuracy", "test_accuracy")):
        pairs = [(curve.last(pick), "BHF") for curve in bhf] + [(c.last(pick), "Adam") for c in groups.small]
        for who in ("BHF", "Adam"):
            values = [value for value, owner in pairs if owner == who and value is not None]
            label = f"{who}'s final {name}" + (", small batches" if who == "Adam" else "")
            evidence += [_evidence(label, values)] if values else []
    gap, small, large = median_or_inf(gaps), median_or_inf(ratios["small"]), median_or_inf(ratios["large"])
    text = (
        f"With curvature batch {n}, BHF ends {_percent(gap)} Adam with small batches. To the lowest loss that both "
        f"reach, Adam needs {small:.3g} times the updates of BHF with small batches, {large:.3g} times with large ones."
    )
    reached = gap <= CLOSE
    if reached and small >= ORDER_OF_MAGNITUDE and large > 1:
        return Verdict.REPRODUCED, text, evidence
    return Verdict.PARTLY if reached or small >= FEWER else Verdict.NOT, text, evidence


def below_hf(groups: RunGroups) -> Judgement:
    """Test at each curvature batch whether BHF is below HF: during which share of the run, and at its end."""
    evidence, held, words = [], 0, []
    for n in groups.shared:
        bhf, hf = median_curve(groups.bhf[n]), median_curve(groups.hf[n])
        pairs = list(zip_longest(bhf, hf, fillvalue=inf))
        share = sum(b <= h for b, h in pairs) / len(pairs)
        ends = [relative_excess(last_loss(b), last_loss(h)) for b, h in paired(groups.bhf[n], groups.hf[n])]
        bounded = isfinite(median_or_inf([last_loss(curve) for curve in groups.bhf[n]]))
        held += bounded and share >= WHOLE_RUN and median_or_inf(ends) <= 0
        end = f"{_percent(median_or_inf(ends))} HF" if bounded or median_or_inf(ends) else "diverged as HF"
        words.append(f"{n}: {100 * share:.0f} % of the run, at its end {end}{_diverged(groups, n)}")
        evidence += [
            Evidence(
                what=f"share of the run with BHF at or below HF, curvature batch {n}", middle=100 * share, n=len(ends),
                unit="%",
            ),
            _evidence(f"BHF's final loss above HF's, curvature batch {n}", [100 * e for e in ends], "%"),
        ]  # fmt: skip
    text = f"BHF is at or below HF, by curvature batch, during: {'; '.join(words)}."
    return _share(held, len(groups.shared)), text, evidence


def small_curvature_batches(groups: RunGroups) -> Judgement:
    """Test how the final loss grows from the largest curvature batch to the smallest, for BHF and for HF."""
    least, most = groups.shared[0], groups.shared[-1]
    growth = {}
    for name, runs in (("BHF", groups.bhf), ("HF", groups.hf)):
        growth[name] = [loss_ratio(last_loss(s), last_loss(m)) for s, m in paired(runs[least], runs[most])]
    evidence = [
        _evidence(f"{name}'s final loss with curvature batch {least} / with {most}", values, "times")
        for name, values in growth.items()
    ]
    ours, theirs = growth["BHF"], growth["HF"]
    text = f"From curvature batch {most} to {least}, the final loss {_growth('BHF', ours)}, {_growth('HF', theirs)}."
    if all(b < h for b, h in zip(ours, theirs, strict=False)):
        return Verdict.REPRODUCED, text, evidence
    return Verdict.PARTLY if median_or_inf(ours) < median_or_inf(theirs) else Verdict.NOT, text, evidence


def cost(groups: RunGroups) -> Judgement:
    """Test how long an update of HF and BHF takes compared with Adam's, and how long the same loss takes."""
    axis = groups.clock()
    unit = "CPU seconds" if axis == "cpu_seconds" else "seconds"
    evidence, held, words = [], 0, []
    for n in groups.shared:
        for name, runs in (("BHF", groups.bhf[n]), ("HF", groups.hf[n])):
            seconds = [growth_per_update(s, axis) / growth_per_update(a, axis) for s, a in paired(runs, groups.large)]
            work = [growth_per_update(s, "cost") / growth_per_update(a, "cost") for s, a in paired(runs, groups.large)]
            held += name == "BHF" and median_or_inf(seconds) <= COST_CLAIMED
            words += [f"{n}: {median_or_inf(seconds):.3g}"] if name == "BHF" else []
            evidence += [
                _evidence(f"{name}'s update / Adam's on the same batch, {unit}, curvature batch {n}", seconds),
                _evidence(f"{name}'s update / Adam's on the same batch, gradients, curvature batch {n}", work),
            ]
    best = groups.bhf[groups.best()]
    for name, adams in (("small", groups.small), ("large", groups.large)):
        ratios = [ratio_at_common_loss(pair, axis) for pair in paired(best, adams)]
        evidence.append(_evidence(f"{unit} of Adam with {name} batches / of BHF, to the same loss", ratios))
        words += [f"{unit} to the same loss, Adam with {name} batches / BHF: {median_or_inf(ratios):.3g}"]
    text = f"{unit[0].upper()}{unit[1:]} of one BHF update / one Adam update, by curvature batch: {'; '.join(words)}."
    return _share(held, len(groups.shared)), text, evidence


def stability(groups: RunGroups) -> Judgement:
    """Test how much the test loss jitters, for BHF and for HF at each curvature batch."""
    others = {"Adam, large batches": groups.large, "Adam, small batches": groups.small}
    others |= {f"HF, curvature batch {n}": groups.hf[n] for n in groups.shared}
    jitter = {name: [noise(curve) for curve in runs] for name, runs in others.items()}
    ours = {n: [noise(curve) for curve in groups.bhf[n]] for n in groups.shared}
    evidence = [_evidence(f"jitter of the test loss, BHF, curvature batch {n}", values) for n, values in ours.items()]
    evidence += [_evidence(f"jitter of the test loss, {name}", values) for name, values in jitter.items()]
    held = sum(median_or_inf(ours[n]) <= median_or_inf(jitter[f"HF, curvature batch {n}"]) < inf for n in groups.shared)
    numbers = "; ".join(
        f"{n}: {_number(median_or_inf(ours[n]))} against {_number(median_or_inf(jitter[f'HF, curvature batch {n}']))}"
        for n in groups.shared
    )
    text = f"Jitter of the test loss, BHF against HF, by curvature batch: {numbers}."
    return _share(held, len(groups.shared)), text, evidence


def _diverged(groups: RunGroups, n: int) -> str:
    """Return how many runs with a curvature batch diverged; empty if none did."""
    counts = {"BHF": groups.bhf[n], "HF": groups.hf[n]}
    reported = [
        f"{name} {sum(c.status is RunStatus.FAILED for c in runs)} of {len(runs)}"
        for name, runs in counts.items()
        if any(c.status is RunStatus.FAILED for c in runs)
    ]
    return f" (diverged: {', '.join(reported)})" if reported else ""


def _share(held: int, of: int) -> Verdict:
    return Verdict.REPRODUCED if held == of else Verdict.PARTLY if held else Verdict.NOT


def _percent(share: float) -> str:
    if not isfinite(share):
        return "diverged, unlike"
    if share == -1:
        return "infinitely far below"
    return f"{abs(100 * share):.1f} % {'below' if share < 0 else 'above'}"


def _number(value: float) -> str:
    return f"{value:.3g}" if isfinite(value) else "diverged"


def _growth(name: str, factors: Sequence[float]) -> str:
    typical = median_or_inf(factors)
    return f"of {name} grows {typical:.3g} times" if isfinite(typical) else f"of {name} diverges"


def _evidence(what: str, values: Sequence[float], unit: str = "") -> Evidence:
    """Summarize values; an infinite value becomes null."""
    known = [value if isfinite(value) else None for value in (median_or_inf(values), min(values), max(values))]
    return Evidence(what=what, middle=known[0], low=known[1], high=known[2], n=len(values), unit=unit)
