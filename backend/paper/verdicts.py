"""The paper's claims, judged by the runs: Zhang et al. (2017), section 5 and its figures.

All losses are train losses over the fixed evaluation subset. A number is the median over seeds, with the least and the
largest seed beside it; runs are paired by seed, which sets the initial weights and the data order. A run that failed,
or ended above where Adam began, has diverged: it counts as one whose loss is infinite.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import pairwise, zip_longest
from math import inf, isfinite
from statistics import fmean, median

from backend.paper.results import Curve, Results
from backend.schemas import Adam, BlockHessianFree, Evidence, Finding, HessianFree, RunStatus, Verdict

CLOSE = 0.10
"""a loss is about another one if it is at most this share above it"""
ORDER_OF_MAGNITUDE = 10.0
FEWER = 2.0
WHOLE_RUN = 0.9
"""share of the evaluated updates that counts as "during the whole run" """
COST_CLAIMED = 10.0
"""the paper: one HF or BHF update takes 5 to 10 times an Adam update's time"""
MIN_SEEDS = 2

Pair = tuple[Curve, Curve]


class Claims:
    """What an experiment has to say: its runs sorted by the part they play."""

    def __init__(self, results: Results) -> None:
        self._results = results
        adams = [o for o in results.spec.optimizers if isinstance(o, Adam)]
        batches = [o.gradient_batch for o in adams]
        self.complete = len(set(batches)) > 1
        self.small = self._runs(adams[batches.index(min(batches))]) if adams else []
        self.large = self._runs(adams[batches.index(max(batches))]) if adams else []
        self.bhf = {o.curvature_batch: self._runs(o) for o in results.spec.optimizers if o.kind == "bhf"}
        self.hf = {o.curvature_batch: self._runs(o) for o in results.spec.optimizers if o.kind == "hf"}
        self.shared = sorted(self.bhf.keys() & self.hf.keys())
        self.complete = self.complete and len(self.shared) > 1

    def _runs(self, optimizer: Adam | HessianFree | BlockHessianFree) -> list[Curve]:
        """Take the runs that came to their end or diverged; others cannot be judged."""
        ended = {RunStatus.FINISHED, RunStatus.FAILED}
        return [c for c in self._results.of(optimizer) if c.status in ended and c.columns["update"]]

    def best(self) -> int:
        """Return the curvature batch with which BHF ends lowest."""
        return min(self.bhf, key=lambda n: _middle([_end(curve) for curve in self.bhf[n]]))


def findings(results: Results) -> list[Finding]:
    """Judge every claim that the experiment can speak about.

    A verdict needs every run to have ended and two seeds of each optimizer; until then it is "not enough data yet".
    """
    results = _with_diverged(results)
    claims = Claims(results)
    judges = [_fewer_updates, _below_hf, _small_curvature_batches, _cost]
    if results.spec.problem.name == "cnn":
        judges.append(_stability)
    return [_judged(number, judge, claims, results) for number, judge in enumerate(judges, 1)]


def _with_diverged(results: Results) -> Results:
    """Mark as failed the runs that ended above the loss at which Adam, with the same seed, was evaluated first."""
    began: dict[int, float] = {}
    for curve in results.curves:
        if isinstance(curve.config.optimizer, Adam) and curve.columns["train_loss"]:
            first = curve.columns["train_loss"][0]
            began[curve.config.seed] = max(first, began.get(curve.config.seed, first))
    curves = [
        replace(curve, status=RunStatus.FAILED)
        if curve.status is RunStatus.FINISHED
        and curve.columns["train_loss"]
        and curve.columns["train_loss"][-1] > began.get(curve.config.seed, inf)
        else curve
        for curve in results.curves
    ]
    return replace(results, curves=curves)


Judgement = tuple[Verdict, str, list[Evidence]]
Judge = Callable[[Claims], Judgement]


def _judged(number: int, judge: Judge, claims: Claims, results: Results) -> Finding:
    claim, rule = _TEXTS[judge.__name__]
    missing = _missing(claims, results)
    verdict, text, evidence = (Verdict.PENDING, missing, []) if missing else judge(claims)
    return Finding(number=number, claim=claim, rule=rule, verdict=verdict, text=text, evidence=evidence)


def _missing(claims: Claims, results: Results) -> str:
    """Say what a verdict lacks; empty where nothing."""
    if not claims.complete:
        return "It takes Adam with two mini-batches, and HF and BHF with two curvature batches that both have."
    if results.ended < len(results.curves):
        return f"{results.ended} of {len(results.curves)} runs have ended."
    groups = [claims.small, claims.large, *claims.bhf.values(), *claims.hf.values()]
    if any(len(group) < MIN_SEEDS for group in groups):
        return f"Each optimizer needs {MIN_SEEDS} runs that ended by themselves; some were cancelled."
    return ""


def _fewer_updates(claims: Claims) -> Judgement:
    n = claims.best()
    bhf = claims.bhf[n]
    gaps = [_above(_end(b), _end(a)) for b, a in _pairs(bhf, claims.small)]
    against = {"small": claims.small, "large": claims.large}
    ratios = {name: [_ratio(pair, "update") for pair in _pairs(bhf, adams)] for name, adams in against.items()}
    evidence = [
        _evidence(f"BHF's end, curvature batch {n}, above Adam's with small batches", [100 * g for g in gaps], "%"),
        _evidence("BHF's loss at its end", [_end(curve) for curve in bhf]),
        *(_evidence(f"Adam's loss at its end, {name} batches", [_end(c) for c in a]) for name, a in against.items()),
        *(_evidence(f"updates of Adam with {name} batches for each of BHF's", r) for name, r in ratios.items()),
    ]
    for name, pick in (("test loss", "test_loss"), ("test accuracy", "test_accuracy")):
        pairs = [(curve.last(pick), "BHF") for curve in bhf] + [(c.last(pick), "Adam") for c in claims.small]
        for who in ("BHF", "Adam"):
            values = [value for value, owner in pairs if owner == who and value is not None]
            label = f"{who}'s {name} at its end" + (", small batches" if who == "Adam" else "")
            evidence += [_evidence(label, values)] if values else []
    gap, small, large = _middle(gaps), _middle(ratios["small"]), _middle(ratios["large"])
    text = (
        f"With curvature batch {n}, BHF ends {_percent(gap)} Adam with small batches. To the lowest loss that both "
        f"reach, Adam needs {small:.3g} times the updates of BHF with small batches, {large:.3g} times with large ones."
    )
    reached = gap <= CLOSE
    if reached and small >= ORDER_OF_MAGNITUDE and large > 1:
        return Verdict.REPRODUCED, text, evidence
    return Verdict.PARTLY if reached or small >= FEWER else Verdict.NOT, text, evidence


def _below_hf(claims: Claims) -> Judgement:
    evidence, held, words = [], 0, []
    for n in claims.shared:
        bhf, hf = _middle_curve(claims.bhf[n]), _middle_curve(claims.hf[n])
        pairs = list(zip_longest(bhf, hf, fillvalue=inf))
        share = sum(b <= h for b, h in pairs) / len(pairs)
        ends = [_above(_end(b), _end(h)) for b, h in _pairs(claims.bhf[n], claims.hf[n])]
        bounded = isfinite(_middle([_end(curve) for curve in claims.bhf[n]]))
        held += bounded and share >= WHOLE_RUN and _middle(ends) <= 0
        end = f"{_percent(_middle(ends))} HF" if bounded or _middle(ends) else "diverged as HF"
        words.append(f"{n}: {100 * share:.0f} % of the run, at its end {end}{_diverged(claims, n)}")
        evidence += [
            Evidence(
                what=f"share of the run with BHF at or below HF, curvature batch {n}", middle=100 * share, n=len(ends),
                unit="%",
            ),
            _evidence(f"BHF's end above HF's, curvature batch {n}", [100 * e for e in ends], "%"),
        ]  # fmt: skip
    text = f"BHF is at or below HF, by curvature batch, during: {'; '.join(words)}."
    return _share(held, len(claims.shared)), text, evidence


def _small_curvature_batches(claims: Claims) -> Judgement:
    least, most = claims.shared[0], claims.shared[-1]
    growth = {}
    for name, runs in (("BHF", claims.bhf), ("HF", claims.hf)):
        growth[name] = [_times(_end(s), _end(m)) for s, m in _pairs(runs[least], runs[most])]
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
    return Verdict.PARTLY if _middle(ours) < _middle(theirs) else Verdict.NOT, text, evidence


def _cost(claims: Claims) -> Judgement:
    evidence, held, words = [], 0, []
    for n in claims.shared:
        for name, runs in (("BHF", claims.bhf[n]), ("HF", claims.hf[n])):
            seconds = [_pace(s, "seconds") / _pace(a, "seconds") for s, a in _pairs(runs, claims.large)]
            work = [_pace(s, "cost") / _pace(a, "cost") for s, a in _pairs(runs, claims.large)]
            held += name == "BHF" and _middle(seconds) <= COST_CLAIMED
            words += [f"{n}: {_middle(seconds):.3g}"] if name == "BHF" else []
            evidence += [
                _evidence(f"{name}'s update for Adam's on the same batch, seconds, curvature batch {n}", seconds),
                _evidence(f"{name}'s update for Adam's on the same batch, gradients, curvature batch {n}", work),
            ]
    best = claims.bhf[claims.best()]
    for name, adams in (("small", claims.small), ("large", claims.large)):
        ratios = [_ratio(pair, "seconds") for pair in _pairs(best, adams)]
        evidence.append(_evidence(f"seconds of Adam with {name} batches for each of BHF's, to the same loss", ratios))
        words += [f"seconds to the same loss, Adam with {name} batches for BHF: {_middle(ratios):.3g}"]
    text = f"Seconds of one BHF update for one of Adam's, by curvature batch: {'; '.join(words)}."
    return _share(held, len(claims.shared)), text, evidence


def _stability(claims: Claims) -> Judgement:
    groups = {"Adam, large batches": claims.large, "Adam, small batches": claims.small}
    groups |= {f"HF, curvature batch {n}": claims.hf[n] for n in claims.shared}
    jitter = {name: [_jitter(curve) for curve in runs] for name, runs in groups.items()}
    ours = {n: [_jitter(curve) for curve in claims.bhf[n]] for n in claims.shared}
    evidence = [_evidence(f"jitter of the test loss, BHF, curvature batch {n}", values) for n, values in ours.items()]
    evidence += [_evidence(f"jitter of the test loss, {name}", values) for name, values in jitter.items()]
    held = sum(_middle(ours[n]) <= _middle(jitter[f"HF, curvature batch {n}"]) < inf for n in claims.shared)
    numbers = "; ".join(
        f"{n}: {_number(_middle(ours[n]))} against {_number(_middle(jitter[f'HF, curvature batch {n}']))}"
        for n in claims.shared
    )
    text = f"Jitter of the test loss, BHF against HF, by curvature batch: {numbers}."
    return _share(held, len(claims.shared)), text, evidence


_TEXTS = {
    "_fewer_updates": (
        "BHF with large mini-batches reaches about the error of Adam with small ones, with an order of magnitude fewer "
        "updates.",
        f"Reproduced: BHF ends at most {100 * CLOSE:.0f} % above Adam with small batches, which needs at least "
        f"{ORDER_OF_MAGNITUDE:.0f} times the updates to the lowest loss that both reach, and Adam with large batches "
        f"needs more updates too. Partly: it ends that close, or Adam needs at least {FEWER:.0f} times the updates.",
    ),
    "_below_hf": (
        "BHF is better than HF during the whole run, at every curvature batch size.",
        f"Holds for a curvature batch if BHF's median loss is at or below HF's at {100 * WHOLE_RUN:.0f} % of the "
        "evaluations, and at the end. Reproduced: for all; partly: for some.",
    ),
    "_small_curvature_batches": (
        "BHF suffers less than HF from a small curvature batch.",
        "The loss at the end with the smallest curvature batch, over that with the largest. Reproduced: BHF's ratio is "
        "below HF's for every seed; partly: in the median.",
    ),
    "_cost": (
        "One update of HF or BHF takes 5 to 10 times an update of Adam.",
        f"Median seconds of an update over those of Adam with the same mini-batch. Reproduced: at most "
        f"{COST_CLAIMED:.0f} times, for BHF with every curvature batch; partly: with some. Less is better.",
    ),
    "_stability": (
        "BHF is more stable than HF on the residual CNN.",
        "Jitter: root mean square of the second differences of the test loss over the second half of the run, over the "
        "root of 6. Reproduced: BHF's median is at or below HF's at every curvature batch; partly: at some.",
    ),
}


def _pairs(first: Sequence[Curve], second: Sequence[Curve]) -> list[Pair]:
    """Pair runs of the same seed."""
    by_seed = {curve.config.seed: curve for curve in second}
    return [(curve, by_seed[curve.config.seed]) for curve in first if curve.config.seed in by_seed]


def _end(curve: Curve) -> float:
    """Return the train loss at the end: infinite where the run diverged."""
    return inf if curve.status is RunStatus.FAILED else float(curve.columns["train_loss"][-1])


def _above(ours: float, theirs: float) -> float:
    """Return by which share one loss is above another; 0 where both are infinite."""
    return 0.0 if ours == theirs else ours / theirs - 1


def _times(ours: float, theirs: float) -> float:
    """Return how many times one loss is the other; infinite where either is."""
    return ours / theirs if isfinite(theirs) else inf


def _ratio(pair: Pair, axis: str) -> float:
    """Return how much of an axis the second needs for what the first needs, to the lowest loss that both reach."""
    target = max(min(curve.columns["train_loss"]) for curve in pair)
    ours, theirs = (curve.first_at(target, axis) for curve in pair)
    assert ours is not None
    assert theirs is not None
    return theirs / ours


def _middle(values: Sequence[float]) -> float:
    """Return the median; infinite where there are no values."""
    return median(values) if values else inf


def _middle_curve(curves: Sequence[Curve]) -> list[float]:
    """Return the median of the train losses over seeds at each evaluation, infinite after a run diverged."""
    losses = [[inf if value is None else value for value in curve.columns["train_loss"]] for curve in curves]
    return [median(values) for values in zip_longest(*losses, fillvalue=inf)]


def _pace(curve: Curve, axis: str) -> float:
    """Return the median growth of an axis per update: single slow updates do not count."""
    points = list(zip(curve.columns["update"], curve.columns[axis], strict=True))
    steps = [(b - a) / (after - before) for (before, a), (after, b) in pairwise([(0, 0.0), *points])]
    return float(median(steps))


def _jitter(curve: Curve) -> float:
    """Return the noise of the test loss around its own trend: of white noise, its standard deviation."""
    values = curve.columns["test_loss"][len(curve.columns["test_loss"]) // 2 :]
    seconds = [(c - 2 * b + a) ** 2 for a, b, c in zip(values, values[1:], values[2:], strict=False)]
    return float((fmean(seconds) / 6) ** 0.5) if seconds and curve.status is RunStatus.FINISHED else inf


def _diverged(claims: Claims, n: int) -> str:
    """Say which runs with a curvature batch diverged; empty where none."""
    counts = {"BHF": claims.bhf[n], "HF": claims.hf[n]}
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
    middle = _middle(factors)
    return f"of {name} grows {middle:.3g} times" if isfinite(middle) else f"of {name} diverges"


def _evidence(what: str, values: Sequence[float], unit: str = "") -> Evidence:
    """Sum values up; what is infinite becomes null."""
    known = [value if isfinite(value) else None for value in (_middle(values), min(values), max(values))]
    return Evidence(what=what, middle=known[0], low=known[1], high=known[2], n=len(values), unit=unit)
