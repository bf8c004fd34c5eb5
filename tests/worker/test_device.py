"""Tests of device, threads and memory."""

import pytest
import torch

from backend.errors import RunFailed
from worker.device import choose_device, environment, memory_explained, threads

needs_no_gpu = pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device")


@needs_no_gpu
@pytest.mark.parametrize("name", ["cuda", "cuda:3"])
def test_missing_gpu_is_named(name: str) -> None:
    """A run that asks for a GPU where there is none fails with a cure."""
    with pytest.raises(RunFailed, match=f"asks for {name}, but this worker has no CUDA device; choose auto or cpu"):
        choose_device(name)


@needs_no_gpu
def test_auto_falls_to_the_cpu() -> None:
    """Without a GPU, auto is the CPU."""
    assert choose_device("auto") == torch.device("cpu")


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no CUDA device")
def test_gpu_is_chosen_and_counted() -> None:
    """Auto is the first GPU, and a number that does not exist is refused."""
    assert choose_device("auto") == torch.device("cuda", 0)
    with pytest.raises(RunFailed, match="CUDA devices, numbered from 0"):
        choose_device("cuda:99")


def test_threads_are_set_and_put_back() -> None:
    """The number of threads holds inside, and the former one after it."""
    before = torch.get_num_threads()
    with threads(before + 1):
        assert torch.get_num_threads() == before + 1
    assert torch.get_num_threads() == before


def test_out_of_memory_says_what_to_change() -> None:
    """An allocation that cannot be had becomes an error that names the knobs."""
    with pytest.raises(RunFailed, match="out of memory; choose a smaller gradient_batch"), memory_explained():
        torch.empty(10**17)


def test_other_errors_pass() -> None:
    """Another error stays what it is."""
    with pytest.raises(RuntimeError, match="size of tensor"), memory_explained():
        torch.zeros(2) + torch.zeros(3)


def test_environment_names_what_figures_depend_on() -> None:
    """Device, threads and versions are named, none of them empty."""
    found = environment(torch.device("cpu"))
    assert {"device", "threads", "processor", "python", "torch", "blockhf"} <= set(found)
    assert all(found.values())
    assert found["torch"] == torch.__version__
