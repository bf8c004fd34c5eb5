"""Where an update's time goes: the clock at the borders of its phases."""

import time
from itertools import pairwise

import torch


class Phases:
    """Time between borders. A border waits for nothing, so that measuring does not slow what is measured.

    On the CPU it is the clock's time. On CUDA it is an event in the device's current stream: a phase is the stretch of
    that stream between two borders, its idle time while the host prepares work included.
    """

    def __init__(self, device: torch.device) -> None:
        self._stream = torch.cuda.current_stream(device) if device.type == "cuda" else None
        self._times: list[float] = []
        self._events: list[torch.cuda.Event] = []
        self.border()

    def border(self) -> None:
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
