"""Which configuration of a sweep is best, and how sure that is, in words. No Streamlit, no plotly."""

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean

from backend.schemas.runs import RunStatus
from dashboard.compare.differences import MEASURES, higher_is_better, outcome_of
from dashboard.compare.groups import Group, differing_settings
from dashboard.ui.text import counted

MIN_SEEDS = 2
"""Seeds in which two configurations must both have a value before one can be told from the other."""
NAMED = 3
"""Configurations that a sentence names; it counts the others."""


@dataclass(frozen=True)
class Configuration:
    """A configuration of a sweep with its outcome for each seed.

    Args:
        label: its name, such as "BHF · damping 0.1".
        by_seed: the outcome for each seed of which a run did not fail.
        failed: number of runs that failed.
        settings: the settings in which the configurations of its optimizer differ.
    """

    label: str
    by_seed: dict[int, float]
    failed: int
    settings: dict[str, float | str]

    @property
    def mean(self) -> float:
        """The mean outcome over the seeds."""
        return fmean(self.by_seed.values())


def configurations(found: Sequence[Group], measure: str) -> list[Configuration]:
    """Return the configurations that have an outcome, best first; those with failed runs come last."""
    rows = []
    for group, settings in zip(found, differing_settings(found), strict=True):
        values: dict[int, list[float]] = {}
        for run in group.runs:
            value = outcome_of(run, measure)
            if value is not None and run.status is not RunStatus.FAILED:
                values.setdefault(run.config.seed, []).append(value)
        if values:
            failed = sum(run.status is RunStatus.FAILED for run in group.runs)
            by_seed = {seed: fmean(each) for seed, each in values.items()}
            rows.append(Configuration(group.label, by_seed, failed, settings))
    sign = -1 if higher_is_better(measure) else 1
    return sorted(rows, key=lambda row: (row.failed > 0, sign * row.mean))


def answers(found: Sequence[Group], measure: str) -> list[str]:
    """Answer for each optimizer with several configurations: which is best, and how sure is that."""
    texts = []
    for kind in dict.fromkeys(group.kind for group in found):
        rows = configurations([group for group in found if group.kind == kind], measure)
        if len(rows) > 1:
            texts.append(" ".join([_best(rows[0], measure), _certainty(rows, measure), *_edges(rows)]))
    return texts


def _best(best: Configuration, measure: str) -> str:
    over = f", mean of {len(best.by_seed)} seeds" if len(best.by_seed) > 1 else ""
    failed = f", although {counted(best.failed, 'run')} failed" if best.failed else ""
    return f"{best.label} is best: {MEASURES[measure]} {best.mean:.4g}{over}{failed}."


def _certainty(rows: Sequence[Configuration], measure: str) -> str:
    """Say which of the others the best one beats in every seed, and how often chance alone would do that."""
    best, *others = rows
    common = [[seed for seed in best.by_seed if seed in other.by_seed] for other in others]
    most = max(map(len, common))
    if most < MIN_SEEDS:
        return "How sure this is cannot be said from one seed: repeat it with three or more."
    sign = -1 if higher_is_better(measure) else 1
    unsure = [
        other.label
        for other, seeds in zip(others, common, strict=True)
        if len(seeds) < MIN_SEEDS or any(sign * (other.by_seed[s] - best.by_seed[s]) <= 0 for s in seeds)
    ]
    beaten = len(others) - len(unsure)
    text = f"It beats {beaten} of the {counted(len(others), 'other')} in each of {most} seeds"
    text += f" (two equal ones would differ so in {100 * 0.5**most:.2g} % of cases)." if beaten else "."
    if not unsure:
        return text
    rest = f" and {len(unsure) - NAMED} more" if len(unsure) > NAMED else ""
    return f"{text} Not sure against: {'; '.join(unsure[:NAMED])}{rest}."


def _edges(rows: Sequence[Configuration]) -> list[str]:
    """Say of which settings the best value is the smallest or largest that was tried."""
    texts = []
    for name, value in rows[0].settings.items():
        tried = {row.settings[name] for row in rows if name in row.settings}
        numbers = [each for each in tried if not isinstance(each, str)]
        if isinstance(value, str) or len(numbers) != len(tried) or len(tried) < 3:
            continue
        for edge, extreme in (("smallest", min(numbers)), ("largest", max(numbers))):
            if value == extreme:
                word = "smaller" if edge == "smallest" else "larger"
                texts.append(f"{name.capitalize()} {value:g} is the {edge} value tried: a {word} one may be better.")
    return texts
