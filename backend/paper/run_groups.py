"""The runs of an experiment, grouped as the tests of the paper's claims need them."""

from collections.abc import Sequence

from backend.paper.curves import Curve, Results
from backend.paper.statistics import last_loss, median_or_inf
from backend.schemas.optimizers import Adam, CurvatureSettings, OptimizerSettings
from backend.schemas.runs import RunStatus


class RunGroups:
    """Adam with its small and its large batch, BHF and HF by curvature batch.

    Attributes:
        shared: the curvature batches that both BHF and HF have.
        complete: whether the experiment has all groups that the claims need.
    """

    def __init__(self, results: Results) -> None:
        self._results = results
        adams = [o for o in results.spec.optimizers if isinstance(o, Adam)]
        batches = [o.gradient_batch for o in adams]
        self.complete = len(set(batches)) > 1
        self.small = self._runs(adams[batches.index(min(batches))]) if adams else []
        self.large = self._runs(adams[batches.index(max(batches))]) if adams else []
        solvers = [o for o in results.spec.optimizers if isinstance(o, CurvatureSettings)]
        self.bhf = {o.curvature_batch: self._runs(o) for o in solvers if o.has_blocks}
        self.hf = {o.curvature_batch: self._runs(o) for o in solvers if not o.has_blocks}
        self.shared = sorted(self.bhf.keys() & self.hf.keys())
        self.complete = self.complete and len(self.shared) > 1

    def _runs(self, optimizer: OptimizerSettings) -> list[Curve]:
        """Return the runs that finished or failed and have rows; others cannot be judged."""
        ended = {RunStatus.FINISHED, RunStatus.FAILED}
        return [c for c in self._results.of(optimizer) if c.status in ended and c.columns["update"]]

    def best(self) -> int:
        """Return the curvature batch with the lowest final loss of BHF."""
        return min(self.bhf, key=lambda n: median_or_inf([last_loss(curve) for curve in self.bhf[n]]))

    def groups(self) -> list[Sequence[Curve]]:
        """Return the runs of each optimizer's settings."""
        return [self.small, self.large, *self.bhf.values(), *self.hf.values()]

    def clock(self) -> str:
        """Return the time axis: processor time if every run had one CPU thread and reported it, otherwise seconds."""
        curves = [curve for group in self.groups() for curve in group]
        single_thread = all(c.config.threads == 1 and c.environment.get("device", "").startswith("cpu") for c in curves)
        reported = all(value is not None for curve in curves for value in curve.columns["cpu_seconds"])
        return "cpu_seconds" if single_thread and reported else "seconds"
