"""The time of each phase of an update."""

import time
from itertools import pairwise

import torch


class Phases:
    """The time between marks. Marks do not synchronize the device, so that measuring does not slow the update.

    On the CPU a mark reads the clock. On CUDA it is an event in the device's current stream: a phase is the time of
    that stream between two marks, idle time while the host prepares work included.

    Args:
        device: where the work is done.
    """

    def __init__(self, device: torch.device) -> None:
        self._stream = torch.cuda.current_stream(device) if device.type == "cuda" else None
        self._times: list[float] = []
        self._events: list[torch.cuda.Event] = []
        self.mark()

    def mark(self) -> None:
        """End a phase and begin the next."""
        if self._stream is None:
            self._times.append(time.perf_counter())
        else:
            event = torch.cuda.Event(enable_timing=True)  # type: ignore[no-untyped-call]  # torch's own has no types
            self._events.append(self._stream.record_event(event))

    def seconds(self) -> list[float]:
        """Return each phase's time [s]; on CUDA, wait until the last one has ended."""
        if self._stream is None:
            return [end - start for start, end in pairwise(self._times)]
        self._events[-1].synchronize()
        return [start.elapsed_time(end) / 1000 for start, end in pairwise(self._events)]
