"""Verdicts against numbers worked out by hand."""

from collections.abc import Sequence
from dataclasses import replace

import pytest

from backend.paper.claims import judge_claims
from backend.schemas.paper import Verdict
from backend.schemas.runs import RunStatus
from tests.backend.paper.samples import GOOD, results


def changed(**groups: Sequence[Sequence[float]]) -> dict[str, Sequence[Sequence[float]]]:
    """Take the curves for which every claim holds, with some groups replaced."""
    return GOOD | groups


def test_every_claim_holds() -> None:
    """With curves made for it, each claim is reproduced."""
    assert [finding.verdict for finding in judge_claims(results(GOOD))] == [Verdict.REPRODUCED] * 4


def test_fewer_updates_by_hand() -> None:
    """BHF reaches Adam's 10.0 at update 2, Adam with small batches at 40; with large ones it ends at 12.0, update 4."""
    finding = judge_claims(results(GOOD))[0]
    values = {evidence.what: evidence for evidence in finding.evidence}
    assert values["updates of Adam with small batches per update of BHF, to the same loss"].middle == 20
    assert values["updates of Adam with large batches per update of BHF, to the same loss"].middle == 2
    gap = values["BHF's final loss, curvature batch 50, above Adam's with small batches"]
    assert (gap.middle, gap.low, gap.high, gap.n) == pytest.approx((-17.5, -20, -15, 2))
    assert "Adam needs 20 times the updates" in finding.text


@pytest.mark.parametrize(
    ("small", "verdict"),
    [
        ([[30.0, 20.0, 10.0]] * 2, Verdict.PARTLY),  # reached, but in as few updates
        ([[30.0, 20.0, *([7.0] * 30)]] * 2, Verdict.NOT),  # far lower, in as few updates
        ([[*([30.0] * 40), 7.0]] * 2, Verdict.PARTLY),  # far lower, but many more updates to the common loss
    ],
)
def test_fewer_updates_fails(small: Sequence[Sequence[float]], verdict: Verdict) -> None:
    """A claim of which a part does not hold is no more than partly reproduced."""
    assert judge_claims(results(changed(small=small)))[0].verdict is verdict


def test_below_hf_at_some_batches_or_none() -> None:
    """One curvature batch of two: partly; none: not reproduced, with the shares of the run."""
    low = [[1.0, 1.0, 1.0]] * 2
    some = judge_claims(results(changed(hf10=low)))[1]
    assert some.verdict is Verdict.PARTLY
    assert "10: 0 % of the run" in some.text
    assert judge_claims(results(changed(hf10=low, hf50=low)))[1].verdict is Verdict.NOT


def test_below_only_at_the_end_is_not_during_the_run() -> None:
    """BHF that is above HF for two of three evaluations does not count, though it ends below."""
    late = [[5.0, 5.0, 13.0]] * 2
    assert "10: 33 % of the run" in judge_claims(results(changed(hf10=late)))[1].text


def test_small_curvature_batches() -> None:
    """BHF grows by 9/8 and 9.5/8.5; where HF grows less in the median the claim fails."""
    finding = judge_claims(results(GOOD))[2]
    assert finding.evidence[0].low == pytest.approx(9.5 / 8.5)
    assert finding.evidence[0].high == pytest.approx(9 / 8)
    flat = judge_claims(results(changed(hf10=GOOD["hf50"])))[2]
    assert flat.verdict is Verdict.NOT
    mixed = judge_claims(results(changed(hf10=[[24.0, 14.0, 8.5], [24.0, 14.0, 13.0]])))[2]
    assert mixed.verdict is Verdict.PARTLY


def test_cost_by_hand() -> None:
    """BHF takes 4 seconds for Adam's one; to the loss 10 that is 8 seconds against 40."""
    finding = judge_claims(results(GOOD))[3]
    values = {evidence.what: evidence.middle for evidence in finding.evidence}
    assert values["BHF's update / Adam's on the same batch, seconds, curvature batch 50"] == 4
    assert values["seconds of Adam with small batches / of BHF, to the same loss"] == 5


def test_processor_time_is_preferred() -> None:
    """Where every run had one CPU thread and reported it, processor time is compared: here twice the seconds' ratio."""
    made = results(GOOD)
    curves = []
    for curve in made.curves:
        config = curve.config.model_copy(update={"threads": 1})
        factor = 2 if config.optimizer.kind == "bhf" else 1
        columns = {**curve.columns, "cpu_seconds": [factor * value for value in curve.columns["seconds"]]}
        curves.append(replace(curve, config=config, columns=columns, environment={"device": "cpu (any)"}))
    whole = judge_claims(replace(made, curves=curves))[3]
    values = {evidence.what: evidence.middle for evidence in whole.evidence}
    assert whole.text.startswith("CPU seconds of one BHF update")
    assert values["BHF's update / Adam's on the same batch, CPU seconds, curvature batch 50"] == 8
    curves[0] = replace(curves[0], columns={**curves[0].columns, "cpu_seconds": [None] * 40})
    assert judge_claims(replace(made, curves=curves))[3].text.startswith("Seconds of one BHF update")


def test_a_diverged_run_counts_as_infinite() -> None:
    """A failed run is neither omitted nor a number: the claim fails, and the divergence is reported."""
    failed = [RunStatus.FAILED] * 2
    told = judge_claims(results(GOOD, bhf10=failed))
    assert told[1].verdict is Verdict.PARTLY
    assert "diverged: BHF 2 of 2" in told[1].text
    assert told[2].verdict is Verdict.NOT
    assert told[2].evidence[0].middle is None


def test_too_little_data() -> None:
    """While runs train, with one seed, or without a counterpart there is no verdict, and the reason is said."""
    running = judge_claims(results(GOOD, hf10=[RunStatus.FINISHED, RunStatus.RUNNING]))
    assert {finding.verdict for finding in running} == {Verdict.PENDING}
    assert running[0].text == "11 of 12 runs have ended."
    cancelled = judge_claims(results(GOOD, hf10=[RunStatus.FINISHED, RunStatus.CANCELLED]))
    assert "2 runs that were not cancelled" in cancelled[0].text
    alone = judge_claims(results({name: GOOD[name] for name in ("small", "bhf50", "hf50")}))
    assert "two mini-batches" in alone[0].text


def test_stability_is_judged_for_the_cnn() -> None:
    """Jitter of white noise +-1 around a line is its root mean square; a straight line has none."""
    line = [[20.0 - i for i in range(12)]] * 2
    noisy = [[20.0 - i + (-1) ** i for i in range(12)]] * 2
    curves = changed(bhf10=line, bhf50=line, hf10=noisy, hf50=noisy)
    finding = judge_claims(results(curves, problem="cnn"))[4]
    assert finding.verdict is Verdict.REPRODUCED
    jitter = {evidence.what: evidence.middle for evidence in finding.evidence}
    assert jitter["jitter of the test loss, BHF, curvature batch 10"] == 0
    assert jitter["jitter of the test loss, HF, curvature batch 10"] == pytest.approx((16 / 6) ** 0.5)
    swapped = changed(bhf10=noisy, bhf50=noisy, hf10=line, hf50=line)
    assert judge_claims(results(swapped, problem="cnn"))[4].verdict is Verdict.NOT


def test_a_run_that_ends_above_where_adam_began_has_diverged() -> None:
    """Adam began at 40; a run that ends at 1e30 counts as infinite, not as a number."""
    told = judge_claims(results(changed(hf10=[[24.0, 14.0, 1e30]] * 2)))
    assert "at its end infinitely far below HF (diverged: HF 2 of 2)" in told[1].text
    assert told[2].verdict is Verdict.REPRODUCED
    assert told[2].text.endswith("of HF diverges.")
