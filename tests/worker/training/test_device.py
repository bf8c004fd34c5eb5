"""Tests of device, threads and memory."""

from pathlib import Path

import pytest
import torch

from backend.errors import RunFailed
from worker.training import device as devices
from worker.training.device import choose_device, environment, explain_memory_errors, threads

needs_no_gpu = pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device")


@needs_no_gpu
@pytest.mark.parametrize("name", ["cuda", "cuda:3"])
def test_missing_gpu_is_named(name: str) -> None:
    """A run that requires a missing GPU fails; the message names an alternative."""
    with pytest.raises(RunFailed, match=rf"{name}\b.*choose auto or cpu"):
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
    with pytest.raises(RunFailed, match="cuda:"):
        choose_device("cuda:99")


def test_threads_are_set_and_put_back() -> None:
    """The number of threads is set inside the context, and restored after it."""
    before = torch.get_num_threads()
    with threads(before + 1):
        assert torch.get_num_threads() == before + 1
    assert torch.get_num_threads() == before


def test_out_of_memory_says_what_to_change() -> None:
    """A failed allocation becomes an error that names the settings to change."""
    with pytest.raises(RunFailed, match="gradient_batch"), explain_memory_errors():
        torch.empty(10**17)


def test_other_errors_pass() -> None:
    """Other errors are not changed."""
    with pytest.raises(RuntimeError, match="size of tensor"), explain_memory_errors():
        torch.zeros(2) + torch.zeros(3)


def test_environment_names_what_figures_depend_on() -> None:
    """Device, threads and versions are listed, and none is empty."""
    found = environment(torch.device("cpu"))
    assert {"device", "threads", "processor", "python", "torch", "blockhf"} <= set(found)
    assert all(found.values())
    assert found["torch"] == torch.__version__


def test_the_machines_memory_is_told() -> None:
    """It is more than the memory of this process, and less than a petabyte."""
    assert 2**26 < (devices.memory(torch.device("cpu")) or 0) < 2**50


def test_the_commit_is_that_of_the_checkout(tmp_path: Path) -> None:
    """It is found for a branch, a packed branch and a detached head; without a checkout it is empty."""
    assert devices.commit(tmp_path) == ""
    git = tmp_path / ".git"
    (git / "refs" / "heads").mkdir(parents=True)
    (git / "HEAD").write_text("ref: refs/heads/main\n")
    (git / "packed-refs").write_text("# pack-refs with: peeled\nabc refs/heads/main\n")
    assert devices.commit(tmp_path) == "abc"
    (git / "refs" / "heads" / "main").write_text("def\n")
    assert devices.commit(tmp_path) == "def"
    (git / "HEAD").write_text("0123\n")
    assert devices.commit(tmp_path) == "0123"
