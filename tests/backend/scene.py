"""A queue with something in it, and the words that its tests are written in."""

from dataclasses import dataclass, field

from backend.api.services import Services
from backend.schemas.api import Announcement, Append, Claim, Start
from backend.schemas.catalog import Catalog
from backend.schemas.runs import Experiment, Run
from backend.settings import Settings
from tests.backend.samples import INFO, Clock, catalog, checkpoint, spec, updates


@dataclass
class Scene:
    """A queue with one comparison of two runs and one worker."""

    services: Services
    clock: Clock
    settings: Settings
    worker: str = field(init=False)
    experiment: Experiment = field(init=False)

    def __post_init__(self) -> None:
        self.worker = self.register()
        self.experiment = self.services.experiments.launch(spec())

    def register(self, announced: Catalog | None = None) -> str:
        """Add a worker."""
        body = Announcement(info=INFO, catalog=announced or catalog())
        return self.services.workers.register(body).worker_id

    def claim(self) -> Claim:
        """Claim a run that must be there."""
        claim = self.services.queue.claim(self.worker)
        assert claim is not None
        return claim

    def lose(self) -> None:
        """Let every lease run out."""
        self.clock.now += self.settings.lease_seconds + 1

    def run(self, claim: Claim) -> Run:
        """Read the current state of a claimed run."""
        return self.services.runs.get(claim.run.id)

    def append(self, claim: Claim, last: int, *, saved: int = 0) -> int:
        """Report updates up to `last`, from the first on, and perhaps a checkpoint."""
        named = checkpoint(saved) if saved else None
        return self.services.metrics.append(
            claim.run.id, Append(claim_number=claim.claim_number, rows=updates(1, last), checkpoint=named)
        )

    def start(self, claim: Claim, resumed_from: int, note: str = "") -> None:
        """Begin from an update."""
        body = Start(
            claim_number=claim.claim_number,
            environment={},
            blocks=[],
            parameters=1,
            resumed_from=resumed_from,
            note=note,
        )
        self.services.queue.start(claim.run.id, body)

    def rows(self, claim: Claim) -> list[int]:
        """Read the stored update numbers."""
        stored: list[int] = self.services.metrics.series([claim.run.id])[claim.run.id]["update"]
        return stored
