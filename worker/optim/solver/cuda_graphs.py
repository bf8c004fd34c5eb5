"""Work done over and over on the same memory: on CUDA it is captured as a graph once, then replayed."""

from collections.abc import Callable
from typing import Any, Protocol

import torch

Work = Callable[[], None]
EAGER = 2
"""times that work is done before it is captured: libraries set themselves up in them"""
WORTH = 10
"""times from which a capture is taken to pay: a guess, not measured yet on a device"""


class Recording(Protocol):
    """Captured work."""

    def replay(self) -> None:
        """Do it again, on whatever its memory holds now."""
        ...


class Repeater:
    """Captures work on a CUDA device; elsewhere work stays as it is.

    Small kernels can cost more to launch than to run: a graph launches all of them at once. Work that is captured must
    do the same to the same memory each time: no value of a tensor may decide what comes next, and what it makes anew is
    memory of the graph. record: work -> what replays it; None where there is nothing to capture with.
    note: why work is not captured, if capturing was tried and refused. Captures of one repeater share their memory, so
    only the last one may be replayed. Source: NVIDIA, CUDA C++ Programming Guide, section "CUDA Graphs".
    """

    def __init__(self, device: torch.device) -> None:
        self.record: Callable[[Work], Recording] | None = self._capture if device.type == "cuda" else None
        self.note = ""
        self._device = device
        self._last: Any = None
        self._stream: torch.cuda.Stream | None = None

    def __call__(self, work: Work, *, expected: int) -> Work:
        """Return what does the work, to be called about `expected` times."""
        if self.record is None or self.note or expected < WORTH:
            return work
        return _Repeated(self, work)

    def captured(self, work: Work) -> Recording | None:
        """Capture work without doing it; None where that is refused: then `note` says why."""
        assert self.record is not None
        try:
            return self.record(work)
        except RuntimeError as error:
            reason = str(error).strip().partition("\n")[0]
            self.note = f"its iterations are not captured as a CUDA graph: {reason}"
            return None

    def _capture(self, work: Work) -> Recording:
        # Not torch.cuda.graph: it empties the allocator's cache at each capture, and there is one in every solve.
        graph = torch.cuda.CUDAGraph()
        if self._stream is None:
            self._stream = torch.cuda.Stream(self._device)  # type: ignore[no-untyped-call]  # torch's has no types
        self._stream.wait_stream(torch.cuda.current_stream(self._device))
        shared = None if self._last is None else self._last.pool()
        with torch.cuda.stream(self._stream):
            graph.capture_begin(shared, capture_error_mode="thread_local")
            try:
                work()
            except BaseException:
                _end(graph)
                raise
            graph.capture_end()
        # The graph before stays until now, so that its memory serves this one.
        self._last = graph
        return graph


def _end(graph: Any) -> None:
    """End a capture that failed; that it failed is known already."""
    try:
        graph.capture_end()
    except RuntimeError:
        return


class _Repeated:
    """Work that is captured once its eager times are over."""

    def __init__(self, repeater: Repeater, work: Work) -> None:
        self._repeater, self._work, self._times = repeater, work, 0
        self._recording: Recording | None = None

    def __call__(self) -> None:
        if self._times == EAGER:
            self._recording = self._repeater.captured(self._work)
        self._times += 1
        if self._recording is None:
            self._work()
        else:
            self._recording.replay()
