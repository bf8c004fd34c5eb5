"""Device, threads, and the other properties of a machine on which a run's results depend."""

import os
import platform
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path

import torch

from backend.errors import RunFailed
from worker.optim import native


def choose_device(name: str) -> torch.device:
    """Return the device for auto, cpu, cuda or cuda:N.

    Raises:
        RunFailed: this machine has no such device.
    """
    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if name == "auto":
        name = "cuda" if count else "cpu"
    device = torch.device(name)
    if device.type == "cuda":
        if not count:
            raise RunFailed(f"the run requires {name}, but this worker has no CUDA device; choose auto or cpu")
        index = device.index or 0
        if index >= count:
            raise RunFailed(f"the run requires {name}, but this worker has only {count} CUDA devices (numbered from 0)")
        return torch.device("cuda", index)
    return device


def available() -> list[str]:
    """Return the devices of this machine: cpu, then cuda:0 and so on."""
    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    return ["cpu", *(f"cuda:{i}" for i in range(count))]


def cores() -> int:
    """Return the number of processor cores that this process may use; hyperthreads of one core count once."""
    if sys.platform != "linux":
        return os.cpu_count() or 1
    usable = os.sched_getaffinity(0)
    topology = [Path(f"/sys/devices/system/cpu/cpu{number}/topology/thread_siblings_list") for number in usable]
    try:
        return len({path.read_text() for path in topology})
    except OSError:  # the system does not tell
        return len(usable)


def prepare() -> None:
    """Make the CUDA context, which takes seconds, if there is one GPU; with several, the run's is not known yet."""
    if len(available()) == 2:
        torch.zeros(1, device="cuda")


@contextmanager
def threads(count: int | None) -> Iterator[None]:
    """Compute with this many CPU threads; None: torch's default."""
    before = torch.get_num_threads()
    torch.set_num_threads(count or before)
    try:
        yield
    finally:
        torch.set_num_threads(before)


@contextmanager
def explain_memory_errors() -> Iterator[None]:
    """Turn a failed allocation into a RunFailed that explains what to change."""
    try:
        yield
    except (MemoryError, torch.OutOfMemoryError) as error:
        raise _out_of_memory(error) from error
    except RuntimeError as error:
        if "allocate memory" not in str(error):  # the message of torch's CPU allocator
            raise
        raise _out_of_memory(error) from error


def _out_of_memory(error: Exception) -> RunFailed:
    detail = str(error).splitlines()[0][:200] if str(error) else type(error).__name__
    return RunFailed(
        f"out of memory; choose a smaller gradient_batch, curvature_batch or network, or another device ({detail})"
    )


def describe(device: torch.device) -> str:
    """Return a device's name for people."""
    return f"{device} ({torch.cuda.get_device_name(device)})" if device.type == "cuda" else f"cpu ({processor()})"


def memory(device: torch.device) -> int | None:
    """Return the memory of the device, or of the machine for a CPU [bytes]; None if unknown."""
    if device.type == "cuda":
        return int(torch.cuda.get_device_properties(device).total_memory)
    try:
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, OSError, ValueError):
        return None


def commit(folder: Path = Path(__file__).parents[2]) -> str:
    """Return the git commit of the checkout that this package runs from; empty if it is installed."""
    git = folder / ".git"
    try:
        head = (git / "HEAD").read_text().strip()
        name = head.removeprefix("ref: ")
        if name == head:
            return head
        if (git / name).is_file():
            return (git / name).read_text().strip()
        packed = (line.split() for line in (git / "packed-refs").read_text().splitlines())
        return next((line[0] for line in packed if line[1:] == [name]), "")
    except OSError:
        return ""


def versions() -> dict[str, str]:
    """Return the versions on which a run's results depend."""
    return {"python": platform.python_version(), "torch": torch.__version__, "blockhf": version("blockhf")}


def environment(device: torch.device) -> dict[str, str]:
    """Return everything on which a run's results depend, except its configuration."""
    return {
        "device": describe(device),
        "threads": str(torch.get_num_threads()),
        "processor": processor(),
        "instructions": torch.backends.cpu.get_cpu_capability(),
        "compiled passes": native.instruction_set() or "none",
        "system": platform.system(),
        **versions(),
        **({"commit": found} if (found := commit()) else {}),
    }


def processor() -> str:
    """Return the processor's name."""
    info = Path("/proc/cpuinfo")
    if sys.platform == "linux" and info.is_file():
        for line in info.read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()
