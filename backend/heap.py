"""How the C library keeps memory: a server that has once given a large answer should not keep the room for it."""

import ctypes
import sys

_TRIM_THRESHOLD, _MMAP_THRESHOLD, _ARENA_MAX = -1, -3, -8  # of mallopt, in malloc.h
_KIB = 1024


def tighten() -> bool:
    """Have freed memory go back to the system; return whether this C library can.

    glibc keeps a heap per thread, and raises by itself the size from which a block is mapped on its own: each of the
    backend's threads then keeps what its largest answer took. Two heaps, and fixed thresholds, cost no time that the
    benchmarks show.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None) if sys.platform == "linux" else None
    if mallopt is None:
        return False
    wanted = ((_ARENA_MAX, 2), (_MMAP_THRESHOLD, 64 * _KIB), (_TRIM_THRESHOLD, 128 * _KIB))
    taken = [mallopt(name, value) for name, value in wanted]
    return all(taken)
