"""The paper's claims, judged by the runs: Zhang et al. (2017), section 5 and its figures.

All losses are train losses over the fixed evaluation subset. A number is the median over seeds, with the least and the
largest seed beside it; runs are paired by seed, which sets the initial weights and the data order. A run that failed,
or ended above where Adam began, has diverged: it counts as one whose loss is infinite.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from math import inf

from backend.paper import claim_tests
from backend.paper.claim_tests import CLOSE, COST_CLAIMED, FEWER, ORDER_OF_MAGNITUDE, WHOLE_RUN, Judgement
from backend.paper.curves import Results
from backend.paper.run_groups import RunGroups
from backend.schemas.paper import ClaimResult, Verdict
from backend.schemas.runs import RunStatus

MIN_SEEDS = 2


@dataclass(frozen=True)
class Claim:
    """A claim of the paper, the judge of it, and the judge's rule in words."""

    judge: Callable[[RunGroups], Judgement]
    claim: str
    rule: str


CLAIMS = (
    Claim(
        claim_tests.fewer_updates,
        "BHF with large mini-batches reaches about the error of Adam with small ones, with an order of magnitude fewer "
        "updates.",
        f"Reproduced: BHF ends at most {100 * CLOSE:.0f} % above Adam with small batches, which needs at least "
        f"{ORDER_OF_MAGNITUDE:.0f} times the updates to the lowest loss that both reach, and Adam with large batches "
        f"needs more updates too. Partly: it ends that close, or Adam needs at least {FEWER:.0f} times the updates.",
    ),
    Claim(
        claim_tests.below_hf,
        "BHF is better than HF during the whole run, at every curvature batch size.",
        f"Holds for a curvature batch if BHF's median loss is at or below HF's at {100 * WHOLE_RUN:.0f} % of the "
        "evaluations, and at the end. Reproduced: for all; partly: for some.",
    ),
    Claim(
        claim_tests.small_curvature_batches,
        "BHF suffers less than HF from a small curvature batch.",
        "The loss at the end with the smallest curvature batch, over that with the largest. Reproduced: BHF's ratio is "
        "below HF's for every seed; partly: in the median.",
    ),
    Claim(
        claim_tests.cost,
        "One update of HF or BHF takes 5 to 10 times an update of Adam.",
        "Median seconds of an update over those of Adam with the same mini-batch; processor seconds, which other load "
        "on the machine hardly changes, where all runs had one CPU thread and report them. Reproduced: at most "
        f"{COST_CLAIMED:.0f} times, for BHF with every curvature batch; partly: with some. Less is better.",
    ),
    Claim(
        claim_tests.stability,
        "BHF is more stable than HF on the residual CNN.",
        "Jitter: root mean square of the second differences of the test loss over the second half of the run, over the "
        "root of 6. Reproduced: BHF's median is at or below HF's at every curvature batch; partly: at some.",
    ),
)


def judge_claims(results: Results) -> list[ClaimResult]:
    """Judge every claim that the experiment can speak about.

    A verdict needs every run to have ended and two seeds of each optimizer; until then it is "not enough data yet".
    """
    results = _with_diverged(results)
    groups = RunGroups(results)
    claims = [
        claim for claim in CLAIMS if claim.judge is not claim_tests.stability or results.spec.problem.name == "cnn"
    ]
    return [_judged(number, claim, groups, results) for number, claim in enumerate(claims, 1)]


def _judged(number: int, claim: Claim, groups: RunGroups, results: Results) -> ClaimResult:
    missing = _missing(groups, results)
    verdict, text, evidence = (Verdict.PENDING, missing, []) if missing else claim.judge(groups)
    return ClaimResult(number=number, claim=claim.claim, rule=claim.rule, verdict=verdict, text=text, evidence=evidence)


def _with_diverged(results: Results) -> Results:
    """Mark as failed the runs that ended above the loss at which Adam, with the same seed, was evaluated first."""
    began: dict[int, float] = {}
    for curve in results.curves:
        if not curve.config.optimizer.has_curvature and curve.columns["train_loss"]:
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


def _missing(groups: RunGroups, results: Results) -> str:
    """Say what a verdict lacks; empty where nothing."""
    if not groups.complete:
        return "It takes Adam with two mini-batches, and HF and BHF with two curvature batches that both have."
    if results.ended < len(results.curves):
        return f"{results.ended} of {len(results.curves)} runs have ended."
    if any(len(group) < MIN_SEEDS for group in groups.groups()):
        return f"Each optimizer needs {MIN_SEEDS} runs that ended by themselves; some were cancelled."
    return ""
