"""The gate grants time slices: how many of a worker's runs train at once, and which ones."""

import threading
import time
from collections.abc import Callable, Iterator
from enum import Enum, auto

from backend.schemas.experiments import RaceBy

SLICE_SECONDS = 0.2
"""A run trains for this long, and to the end of its update, before another one may [s]."""
START_SECONDS = 10.0
"""The first slices of a comparison wait at most this long for those of its runs that are still starting [s]."""

Group = tuple[str, int]
"""A comparison, and the priority of its runs"""


class _State(Enum):
    STARTING = auto()
    WAITING = auto()
    TRAINING = auto()
    LEFT = auto()


class Turn:
    """One run at the gate.

    Args:
        gate: the gate.
        group: the comparison, and the priority of the run.
        device: where it trains: cpu or cuda:N.
        cores: how much of the device an update takes; 1 for a GPU.
        by: what decides which run is furthest behind.
    """

    def __init__(self, gate: "Gate", group: Group, device: str, cores: int, by: RaceBy) -> None:
        self.group = group
        self.device = device
        self.cores = cores
        self._gate = gate
        self._by = by
        self.position = 0.0
        self.gain: float | None = None
        self.state = _State.STARTING
        self.since = 0.0
        self.grant: Callable[[], None] = lambda: None

    def ask(self, updates: int, seconds: float, grant: Callable[[], None]) -> None:
        """End the slice that the run has, if any, and ask for the next one.

        Args:
            updates: number of its updates so far.
            seconds: its training time so far [s].
            grant: called once the run may train, perhaps at once; must not block.
        """
        self._gate.ask(self, updates if self._by == "updates" else seconds, grant)

    def leave(self) -> None:
        """End the slice that the run has, if any, and ask for no more. Can be repeated."""
        self._gate.leave(self)

    @property
    def waiting(self) -> bool:
        """Whether the run waits for a slice."""
        return self.state is _State.WAITING


class Gate:
    """Grants slices to the runs of one worker.

    At most as many runs train at once as there are cores for their threads, or one per GPU. So an update never shares
    its cores, and its seconds are those of a run alone. The next slice goes to

    1. the highest priority;
    2. of equal priorities, the comparison that has trained least;
    3. of a comparison, the run that is furthest behind.

    A run may lead the last one of its comparison by the gain of one slice before its next one. So two runs of a
    comparison never differ by more than the gains of two slices. Cores can be free meanwhile.

    Args:
        cores: number of processor cores.
        clock: returns seconds.
    """

    def __init__(self, cores: int, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._cores = cores
        self._clock = clock
        self._lock = threading.RLock()
        self._turns: list[Turn] = []
        self._trained: dict[Group, float] = {}

    def join(self, comparison: str, *, device: str = "cpu", threads: int = 1, priority: int = 0, by: RaceBy) -> Turn:
        """Let a run that is starting take part.

        Args:
            comparison: its id.
            device: where it trains: cpu or cuda:N.
            threads: its CPU threads.
            priority: of the run.
            by: what decides which run is furthest behind.
        """
        cores = min(threads, self._cores) if device == "cpu" else 1
        turn = Turn(self, (comparison, priority), device, cores, by)
        with self._lock:
            # A new comparison has the time of the one that has trained least: it need not catch up with them.
            self._trained.setdefault(turn.group, min(self._trained.values(), default=0.0))
            turn.since = self._clock()
            self._turns.append(turn)
        return turn

    def ask(self, turn: Turn, position: float, grant: Callable[[], None]) -> None:
        """See `Turn.ask`."""
        with self._lock:
            if turn not in self._turns:
                return
            if turn.state is _State.STARTING:
                self._catch_up(turn.group)
            if turn.state is _State.TRAINING:
                turn.gain = position - turn.position
                self._end_slice(turn)
            turn.position, turn.grant, turn.state = position, grant, _State.WAITING
            self.grant_slices()

    def leave(self, turn: Turn) -> None:
        """See `Turn.leave`."""
        with self._lock:
            if turn not in self._turns:
                return
            if turn.state is _State.TRAINING:
                self._end_slice(turn)
            turn.state = _State.LEFT
            self._turns.remove(turn)
            if all(other.group != turn.group for other in self._turns):
                del self._trained[turn.group]
            self.grant_slices()

    def grant_slices(self) -> None:
        """Grant what can be granted now. Call this now and then: runs that start slowly are waited for only so long."""
        with self._lock:
            for device in sorted({turn.device for turn in self._turns if turn.waiting}):
                while (turn := self._next(device)) is not None:
                    turn.state, turn.since = _State.TRAINING, self._clock()
                    self._trained[turn.group] += SLICE_SECONDS * turn.cores
                    turn.grant()

    def _catch_up(self, group: Group) -> None:
        """Give a comparison no credit for the time until the first of its runs had started, such as for a download."""
        begun = [turn.group for turn in self._turns if turn.state is not _State.STARTING]
        if begun and group not in begun:
            self._trained[group] = max(self._trained[group], min(self._trained[other] for other in begun))

    def _end_slice(self, turn: Turn) -> None:
        """Correct the time that was charged when the slice was granted."""
        self._trained[turn.group] += (self._clock() - turn.since - SLICE_SECONDS) * turn.cores

    def _next(self, device: str) -> Turn | None:
        """Return the run that may train next on a device; None if there is none, or no core is free for it."""
        ready = [turn for turn in self._turns if turn.waiting and turn.device == device and self._may_train(turn)]
        turn = min(ready, key=self._order, default=None)
        if turn is None:
            return None
        used = sum(o.cores for o in self._turns if o.state is _State.TRAINING and o.device == device)
        # If its cores are not free, no other run gets them: a run with many threads would never train otherwise.
        return turn if used + turn.cores <= (self._cores if device == "cpu" else 1) else None

    def _order(self, turn: Turn) -> tuple[int, float, float]:
        return -turn.group[1], self._trained[turn.group], turn.position

    def _may_train(self, turn: Turn) -> bool:
        """Return whether a run may train: it leads by one slice at most, and a comparison starts together."""
        if turn.gain is None:
            now = self._clock()
            if any(o.state is _State.STARTING and now - o.since < START_SECONDS for o in self._rivals(turn)):
                return False
        last = min((o.position for o in self._rivals(turn) if o.state is not _State.STARTING), default=turn.position)
        return turn.position - last <= (turn.gain or 0)

    def _rivals(self, turn: Turn) -> Iterator[Turn]:
        return (other for other in self._turns if other is not turn and other.group == turn.group)
