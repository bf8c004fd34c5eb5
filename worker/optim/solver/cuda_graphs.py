"""Repeated work on the same memory: on CUDA it is captured as a graph once, then replayed."""

from collections.abc import Callable
from typing import Any, Protocol

import torch

Work = Callable[[], None]
EAGER = 2
"""repetitions before the capture: in these, libraries initialize themselves"""
WORTH = 10
"""expected repetitions from which work is captured: a guess, not measured yet on a device"""


class Recording(Protocol):
    """Captured work."""

    def replay(self) -> None:
        """Do the work again, on the present contents of its memory."""
        ...


class Repeater:
    """Captures work on a CUDA device; elsewhere it returns work unchanged.

    Small kernels can cost more to launch than to run: a graph launches all of them at once. Captured work must do the
    same operations on the same memory each time: no tensor's value may decide what comes next, and tensors that it
    creates belong to the graph. Captures of one repeater share their memory, so only the last one may be replayed.

    Attributes:
        record: work -> its recording; None: no device that can capture.
        note: why work is not captured; empty unless a capture was tried and refused.

    Source: NVIDIA, CUDA C++ Programming Guide, section "CUDA Graphs".
    """

    def __init__(self, device: torch.device) -> None:
        self.record: Callable[[Work], Recording] | None = self._capture if device.type == "cuda" else None
        self.note = ""
        self._device = device
        self._last: Any = None
        self._stream: torch.cuda.Stream | None = None

    def __call__(self, work: Work, *, expected: int) -> Work:
        """Return a replacement of the work, to be called about `expected` times."""
        if self.record is None or self.note or expected < WORTH:
            return work
        return _Repeated(self, work)

    def captured(self, work: Work) -> Recording | None:
        """Capture work without doing it; None: it was refused, and `note` has the reason."""
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
        # The previous graph is dropped only now, so that this one can use its memory.
        self._last = graph
        return graph


def _end(graph: Any) -> None:
    """End a failed capture; its error is raised by the caller."""
    try:
        graph.capture_end()
    except RuntimeError:
        return


class _Repeated:
    """Work that is captured after EAGER repetitions."""

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
