"""Layers' passes in C, compiled at installation. Without a compiler torch computes the same.

A module's forward pass uses them only within `single_backward()`, where its result is differentiated at most once, by
autograd. Outside it is plain torch, for double backward and torch.func. `enabled(False)` switches the passes off.
"""

import ctypes
import os
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from contextvars import ContextVar
from functools import cache
from importlib.util import find_spec
from itertools import pairwise

import torch
from torch import Tensor

TYPES = {torch.float32: "float", torch.float64: "double"}
_enabled = ContextVar("enabled", default=True)
_single_backward = ContextVar("single_backward", default=False)


@cache
def library() -> ctypes.CDLL | None:
    """Return the compiled library, or None where it was not built, or not for this machine."""
    found = find_spec("worker.optim.native._peephole")
    if found is None or found.origin is None:
        return None
    try:
        loaded = ctypes.CDLL(found.origin)
    except OSError:
        return None
    loaded.instruction_set.restype = ctypes.c_char_p
    return loaded


@cache
def instruction_set() -> str:
    """Return the vector instructions that the passes use: "base", "avx2" or "avx512"; "" where there is no library."""
    loaded = library()
    return "" if loaded is None else loaded.instruction_set().decode()


def supports(tensor: Tensor) -> bool:
    """Whether compiled passes exist for the tensor's device and type, and are not switched off."""
    return tensor.device.type == "cpu" and tensor.dtype in TYPES and _enabled.get() and bool(instruction_set())


def function(name: str, dtype: torch.dtype) -> Callable[..., int]:
    """Return a compiled pass.

    Args:
        name: "width", "forward", "tangent" or "backward", see `peephole.h`.
        dtype: type of the numbers, a key of TYPES.

    Returns:
        The C function for this type and the machine's vector instructions.
    """
    found: Callable[..., int] = getattr(library(), f"{name}_{TYPES[dtype]}_{instruction_set()}")
    return found


@contextmanager
def enabled(value: bool) -> Iterator[None]:
    """Allow or forbid the compiled passes in this thread, within the context.

    Args:
        value: whether they may be used.
    """
    with _set(_enabled, value):
        yield


@contextmanager
def single_backward() -> Iterator[None]:
    """Let modules use the compiled passes in their own forward pass, within the context.

    What they return can be differentiated once.
    """
    with _set(_single_backward, True):
        yield


def in_single_backward() -> bool:
    """Whether within `single_backward()`."""
    return _single_backward.get()


@contextmanager
def _set(variable: ContextVar[bool], value: bool) -> Iterator[None]:
    token = variable.set(value)
    try:
        yield
    finally:
        variable.reset(token)


def thread_ranges(chunks: int) -> list[tuple[int, int]]:
    """Cut a batch's chunks into one range for each of torch's threads.

    Args:
        chunks: number of the chunks.

    Returns:
        First chunk and the one after the last, of each range.
    """
    number = max(1, min(torch.get_num_threads(), chunks))
    edges = [chunks * i // number for i in range(number + 1)]
    return list(pairwise(edges))


def spread(work: Callable[[int, int, int], int], cut: list[tuple[int, int]]) -> None:
    """Do work on every range, in parallel.

    Args:
        work: (number of the range, from, to) -> 0 where there was no memory, else 1.
        cut: the ranges.

    Raises:
        MemoryError: there was no memory for one of them.
    """
    if len(cut) == 1:
        done = [work(0, *cut[0])]
    else:
        done = list(_pool(os.getpid(), len(cut)).map(work, range(len(cut)), *zip(*cut, strict=True)))
    if not all(done):
        raise MemoryError("no memory for a pass of the LSTM layer")


@cache
def _pool(process: int, threads: int) -> ThreadPoolExecutor:  # noqa: ARG001 - a forked child has none of the threads
    return ThreadPoolExecutor(threads, thread_name_prefix="native")
