"""The claims of Zhang et al. (2017), section 5 and its figures, judged from runs.

All losses are train losses over the fixed evaluation subset. A number is the median over seeds, with the smallest and
the largest value. Runs are paired by seed, which determines the initial weights and the data order. A run that failed,
or whose final loss is above Adam's first one, has diverged: its loss counts as infinite.
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
    """A claim of the paper, the function that tests it, and the rule of the test in words."""

    test: Callable[[RunGroups], Judgement]
    claim: str
    rule: str


CLAIMS = (
    Claim(
        claim_tests.fewer_updates,
        "BHF with large mini-batches reaches about the error of Adam with small ones, with an order of magnitude fewer "
        "updates.",
        f"Reproduced: BHF's final loss is at most {100 * CLOSE:.0f} % above that of Adam with small batches, which "
        f"needs at least {ORDER_OF_MAGNITUDE:.0f} times the updates to the lowest loss that both reach, and Adam with "
        "large batches needs more updates, too. Partly: the loss is that close, or Adam needs at least "
        f"{FEWER:.0f} times the updates.",
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
        "Ratio of the final losses with the smallest and the largest curvature batch. Reproduced: BHF's ratio is "
        "below HF's for every seed; partly: in the median.",
    ),
    Claim(
        claim_tests.cost,
        "One update of HF or BHF takes 5 to 10 times an update of Adam.",
        "Median time of an update, divided by that of Adam with the same mini-batch. It is processor time, on which "
        "other load has little effect, if all runs had one CPU thread and report it. Reproduced: at most "
        f"{COST_CLAIMED:.0f} times, for BHF with every curvature batch; partly: with some. Less is better.",
    ),
    Claim(
        claim_tests.stability,
        "BHF is more stable than HF on the residual CNN.",
        "Jitter: root mean square of the second differences of the test loss in the second half of the run, divided "
        "by the square root of 6. Reproduced: BHF's median is at or below HF's at every curvature batch; partly: at "
        "some.",
    ),
)


def judge_claims(results: Results) -> list[ClaimResult]:
    """Test every claim that applies to the experiment.

    A verdict requires that every run has ended and that each optimizer has two seeds; until then it is "not enough
    data yet".
    """
    results = _with_diverged(results)
    groups = RunGroups(results)
    claims = [
        claim for claim in CLAIMS if claim.test is not claim_tests.stability or results.spec.problem.name == "cnn"
    ]
    return [_judged(number, claim, groups, results) for number, claim in enumerate(claims, 1)]


def _judged(number: int, claim: Claim, groups: RunGroups, results: Results) -> ClaimResult:
    missing = _missing(groups, results)
    verdict, text, evidence = (Verdict.PENDING, missing, []) if missing else claim.test(groups)
    return ClaimResult(number=number, claim=claim.claim, rule=claim.rule, verdict=verdict, text=text, evidence=evidence)


def _with_diverged(results: Results) -> Results:
    """Mark runs as failed if their final loss is above the first loss of Adam with the same seed."""
    first_losses: dict[int, float] = {}
    for curve in results.curves:
        if not curve.config.optimizer.has_curvature and curve.columns["train_loss"]:
            first = curve.columns["train_loss"][0]
            first_losses[curve.config.seed] = max(first, first_losses.get(curve.config.seed, first))
    curves = [
        replace(curve, status=RunStatus.FAILED)
        if curve.status is RunStatus.FINISHED
        and curve.columns["train_loss"]
        and curve.columns["train_loss"][-1] > first_losses.get(curve.config.seed, inf)
        else curve
        for curve in results.curves
    ]
    return replace(results, curves=curves)


def _missing(groups: RunGroups, results: Results) -> str:
    """Return what a verdict lacks; empty if nothing."""
    if not groups.complete:
        return "The claims need Adam with two mini-batches, and HF and BHF with two common curvature batches."
    if results.ended < len(results.curves):
        return f"{results.ended} of {len(results.curves)} runs have ended."
    if any(len(group) < MIN_SEEDS for group in groups.groups()):
        return f"Each optimizer needs {MIN_SEEDS} runs that were not cancelled."
    return ""
