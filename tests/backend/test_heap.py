"""Tests of how the C library keeps memory."""

import ctypes
import subprocess
import sys

import pytest

CODE = """if True:
    import os, threading
    from backend import heap
    assert heap.tighten()
    def answer():
        pieces = [bytes(100_000 + n) for n in range(1_000)]
        del pieces
    threads = [threading.Thread(target=answer) for _ in range(20)]
    def resident():
        return int(open("/proc/self/statm").read().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 2**20
    before = resident()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert resident() - before < 20, resident() - before
"""


def lacking() -> bool:
    """Whether the C library is another than glibc: only Linux's has mallopt."""
    return sys.platform != "linux" or not hasattr(ctypes.CDLL(None), "mallopt")


@pytest.mark.skipif(lacking(), reason="this system's C library has no mallopt")
def test_freed_memory_goes_back() -> None:
    """After 20 threads have each used 100 MB, less than 20 MiB of it are kept."""
    done = subprocess.run([sys.executable, "-c", CODE], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
