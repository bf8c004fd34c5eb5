"""Which runs a worker may claim: those that it can train, that fit its memory, and that no other worker races."""

from collections.abc import Sequence
from typing import Any

from sqlalchemy import ColumnElement, Connection, Row, and_, func, or_, select, update

from backend.schemas.api import Announcement
from backend.schemas.catalog import WorkerInfo
from backend.schemas.runs import RunStatus
from backend.storage.tables import EXPERIMENTS, RUNS, WORKERS

PROCESS_BYTES = 500_000_000
"""What a training process takes beside the run's own tensors: torch with its libraries, or a CUDA context."""


class Placement:
    """Which runs a worker may claim, given the running runs and the other workers.

    - A run that asks for a device goes only to a worker that has it. Runs with `auto` of one comparison all train on
      the same kind of device, as long as a worker that has it is alive.
    - The worker's runs must fit its memory together, by the estimate that launches are checked with. One run always
      fits.
    - Of a comparison that is trained one run after another the worker gets no second run.
    - Of a comparison that another worker races the worker gets no run while the other one has a free slot.

    Args:
        connection: the transaction of the claim.
        worker_id: the worker.
        announced: what it announced.
        now: seconds since 1970.
        alive_since: workers that were not heard of since then are lost.
    """

    def __init__(
        self, connection: Connection, worker_id: str, announced: Announcement, now: float, alive_since: float
    ) -> None:
        self._connection = connection
        self._announced = announced
        others = connection.execute(
            select(WORKERS.c.id, WORKERS.c.info).where(WORKERS.c.id != worker_id, WORKERS.c.seen_at >= alive_since)
        )
        self._others = {row.id: WorkerInfo.model_validate_json(row.info) for row in others}
        running = (
            select(RUNS.c.worker, RUNS.c.experiment, RUNS.c.memory, EXPERIMENTS.c.schedule)
            .join(EXPERIMENTS, EXPERIMENTS.c.number == RUNS.c.experiment)
            .where(RUNS.c.status == RunStatus.RUNNING, RUNS.c.lease_until >= now)
        )
        self._held: dict[str, list[Any]] = {}
        for row in connection.execute(running):
            self._held.setdefault(row.worker, []).append(row)
        self._own = self._held.get(worker_id, [])

    def allowed(self) -> ColumnElement[bool]:
        """Return the condition on a run."""
        catalog = self._announced.catalog
        devices = or_(
            EXPERIMENTS.c.device.in_(sorted(self._announced.info.accepted - {"auto"})),
            and_(EXPERIMENTS.c.device == "auto", self._kind_allowed()),
        )
        excluded = {run.experiment for run in self._own if run.schedule == "sequential"} | self._raced_elsewhere()
        conditions: list[ColumnElement[bool]] = [
            RUNS.c.problem.in_([problem.name for problem in catalog.problems]),
            RUNS.c.data.in_([data.name for data in catalog.data]),
            RUNS.c.experiment.in_(select(EXPERIMENTS.c.number).where(devices)),
            RUNS.c.experiment.not_in(sorted(excluded)),
        ]
        if self._own and self._announced.info.memory is not None:
            free = self._announced.info.memory - _memory(self._own)
            conditions.append(func.coalesce(RUNS.c.memory, 0) + PROCESS_BYTES <= free)
        return and_(*conditions)

    def settle_device(self, experiment: Row[Any]) -> bool:
        """Note the kind of device on which a comparison's runs with `auto` train.

        Returns:
            False if another worker has claimed a run of the comparison for another kind meanwhile, which happens on
            PostgreSQL only: this claim must not be committed then.
        """
        kind = self._announced.info.kind
        if experiment.device != "auto" or experiment.device_kind == kind:
            return True
        settle = update(EXPERIMENTS).where(EXPERIMENTS.c.number == experiment.number, self._kind_allowed())
        return bool(self._connection.execute(settle.values(device_kind=kind)).rowcount)

    def _kind_allowed(self) -> ColumnElement[bool]:
        """Return the condition that a comparison's kind of device is open, this worker's, or that of lost workers."""
        taken = {info.kind for info in self._others.values()} - {self._announced.info.kind}
        return or_(EXPERIMENTS.c.device_kind.is_(None), EXPERIMENTS.c.device_kind.not_in(sorted(taken)))

    def _raced_elsewhere(self) -> set[int]:
        """Return the comparisons that another worker races and has a slot and memory left for."""
        found: set[int] = set()
        for worker_id, info in self._others.items():
            runs = self._held.get(worker_id, [])
            if len(runs) >= info.slots:
                continue
            for run in runs:
                fits = info.memory is None or _memory([*runs, run]) <= info.memory
                if run.schedule == "race" and fits:
                    found.add(run.experiment)
        return found


def _memory(runs: Sequence[Any]) -> int:
    """Return what these runs take at least [bytes]."""
    return sum(PROCESS_BYTES + (run.memory or 0) for run in runs)
