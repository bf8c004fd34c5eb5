"""Tests of runs that continue from a checkpoint."""

import dataclasses
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.torch
import torch

from backend.schemas.experiments import Budget, Evaluation, Problem, RunConfig
from backend.schemas.optimizer_registry import Optimizer
from backend.schemas.optimizers import Adam
from backend.schemas.runs import RunStatus
from tests.worker.cases import CLOCKS, NOWHERE, OPTIMIZERS, SMALL, Rows, planned_blocks, registry, small_run
from worker.checkpoints.files import Snapshot
from worker.problems.registry import discover
from worker.training.state import NOTE_CHARACTERS, _inexact
from worker.training.trainer import Outcome, train


class Memory:
    """A policy that saves every state in memory, encoded as on disk."""

    def __init__(self, state: bytes | None = None, *, pause_after: int | None = None) -> None:
        self.states: dict[int, bytes] = {}
        self.weights = b""
        self._loaded = state
        self._pause_after = pause_after

    def load(self) -> Snapshot | None:
        """Return the given state."""
        return None if self._loaded is None else Snapshot.from_bytes(self._loaded)

    def missing_note(self) -> str:
        """Expect no state."""
        return ""

    def due(self) -> bool:
        """Save each update."""
        return True

    def pause_requested(self) -> bool:
        """Pause after enough states."""
        return len(self.states) == self._pause_after

    def save(self, snapshot: Snapshot, update: int) -> bool:
        """Save a state."""
        self.states[update] = snapshot.to_bytes()
        return True

    def save_weights(self, weights: Snapshot) -> None:
        """Save the weights."""
        self.weights = weights.to_bytes()


def run(config: RunConfig, policy: Memory) -> tuple[Outcome, Rows]:
    """Train with a policy."""
    rows = Rows()
    known = registry()
    blocks = planned_blocks(config, known)
    return train(config, rows, lambda: False, blocks=blocks, registry=known, folder=NOWHERE, policy=policy), rows


def figures(rows: Rows) -> list[dict[str, Any]]:
    """Return the rows without their times."""
    return [row.model_dump(exclude=CLOCKS) for row in rows.rows]


@pytest.mark.parametrize("decay", [None, 0.9])
@pytest.mark.parametrize("optimizer", OPTIMIZERS.values(), ids=OPTIMIZERS)
def test_resumed_runs_are_bit_exact(optimizer: Optimizer, decay: float | None) -> None:
    """From the state after any update, the later rows and the final weights are those of the uninterrupted run."""
    config = small_run(optimizer, evaluation=Evaluation(train_subset=50, polyak_decay=decay))
    whole = Memory()
    outcome, rows = run(config, whole)
    for update, state in whole.states.items():
        resumed = Memory(state)
        again, later = run(config, resumed)
        assert later.started["resumed_from"] == update
        assert later.started["note"] == ""
        assert figures(later) == figures(rows)[update:]
        assert (again, resumed.weights) == (outcome, whole.weights)
        assert later.rows[0].seconds > rows.rows[update - 1].seconds
        assert resumed.states.keys() == set(range(update + 1, 7))


def test_a_paused_run_continues() -> None:
    """A pause saves the state and ends the run; both halves together have the rows of the whole run."""
    config = small_run(OPTIMIZERS["bhf"])
    first = Memory(pause_after=3)
    outcome, rows = run(config, first)
    assert outcome.status is RunStatus.PAUSED
    _, later = run(config, Memory(first.states[3]))
    _, whole = run(config, Memory())
    assert figures(rows) + figures(later) == figures(whole)


def test_patience_is_restored() -> None:
    """Evaluations without progress before the interruption count after it."""
    still = OPTIMIZERS["adam"].model_copy(update={"learning_rate": 1e-30})
    config = small_run(still, budget=Budget(updates=50, patience=4))
    whole = Memory()
    outcome, rows = run(config, whole)
    again, later = run(config, Memory(whole.states[3]))
    assert again == outcome
    assert len(later.rows) == len(rows.rows) - 3


def test_default_generators_are_restored() -> None:
    """A network that draws random numbers in training continues with the next ones."""
    policy = Memory()
    torch.manual_seed(3)
    run(small_run(OPTIMIZERS["adam"]), policy)
    expected = torch.rand(2)
    torch.manual_seed(4)
    run(small_run(OPTIMIZERS["adam"]), Memory(policy.states[2]))
    assert torch.equal(torch.rand(2), expected)


def test_another_environment_is_noted() -> None:
    """If device, threads or versions differ from the checkpoint's, the note lists them."""
    policy = Memory()
    config = small_run(OPTIMIZERS["adam"])
    run(config, policy)
    state = Snapshot.from_bytes(policy.states[4])
    environment = state.document["environment"] | {"threads": "64", "torch": "1.0"}
    elsewhere = dataclasses.replace(state, document=state.document | {"environment": environment})
    _, rows = run(config, Memory(elsewhere.to_bytes()))
    note = rows.started["note"]
    assert all(text in note for text in ("update 4 ", "threads: 64 before, 1 now", "torch: 1.0 before"))
    assert "python" not in note


def test_processor_time_is_restored_or_omitted() -> None:
    """It continues from the checkpoint's; after a checkpoint without it, it is null."""
    policy = Memory()
    config = small_run(OPTIMIZERS["adam"])
    _, rows = run(config, policy)
    state = Snapshot.from_bytes(policy.states[4])
    _, later = run(config, Memory(policy.states[4]))
    assert (later.rows[0].cpu_seconds or 0) > (rows.rows[3].cpu_seconds or 0) > 0
    silent = {name: value for name, value in state.document.items() if name != "cpu_seconds"}
    _, later = run(config, Memory(dataclasses.replace(state, document=silent).to_bytes()))
    assert [row.cpu_seconds for row in later.rows] == [None] * 3


@pytest.mark.parametrize("lost", ["weights.encoder.code.weight", "sampler.rest"])
def test_a_run_with_another_runs_checkpoint_restarts(lost: str) -> None:
    """A checkpoint that does not fit the network or the data order is not used, and the note gives the reason."""
    policy = Memory()
    config = small_run(OPTIMIZERS["adam"])
    outcome, rows = run(config, policy)
    state = Snapshot.from_bytes(policy.states[4])
    lacking = dataclasses.replace(state, tensors={name: t for name, t in state.tensors.items() if name != lost})
    again, later = run(config, Memory(lacking.to_bytes()))
    assert later.started["resumed_from"] == 0
    assert lost.partition(".")[2] in later.started["note"]
    assert (again, figures(later)) == (outcome, figures(rows))


def test_final_weights_have_the_mean() -> None:
    """The final weights are saved by name, together with their Polyak mean."""
    policy = Memory()
    run(small_run(OPTIMIZERS["bhf"], evaluation=Evaluation(train_subset=50, polyak_decay=0.5)), policy)
    weights = Snapshot.from_bytes(policy.weights).tensors
    assert weights["encoder.code.weight"].shape == weights["average.encoder.code.weight"].shape
    assert not torch.equal(weights["encoder.code.weight"], weights["average.encoder.code.weight"])


class FullDisk(Memory):
    """A policy that cannot save."""

    def save(self, snapshot: Snapshot, update: int) -> bool:
        """Count the state, but report a failure."""
        super().save(snapshot, update)
        return False


def test_a_pause_without_a_saved_state_is_explained() -> None:
    """The reason for the end tells the user that some updates will be repeated."""
    outcome, _ = run(small_run(OPTIMIZERS["adam"]), FullDisk(pause_after=3))
    assert outcome.status is RunStatus.PAUSED
    assert "could not be saved" in outcome.ended_by
    assert len(outcome.ended_by) <= 200


@pytest.mark.parametrize("size", [60, 20])
def test_a_run_with_changed_data_restarts(tmp_path: Path, size: int) -> None:
    """A checkpoint is refused if the data set has other images, or fewer, and the note gives the reason."""

    def put(seed: int, count: int) -> None:
        draw = np.random.default_rng(seed)
        arrays: dict[str, Any] = {}
        for part in ("train", "test"):
            arrays[f"x_{part}"] = draw.random((count, 28, 28), dtype=np.float32)
            arrays[f"y_{part}"] = np.arange(count) % 3
        np.savez(tmp_path / "mine.npz", **arrays)

    def trained_on(policy: Memory) -> Rows:
        rows = Rows()
        known = discover(folder=tmp_path)
        blocks = planned_blocks(config, known)
        train(config, rows, lambda: False, blocks=blocks, registry=known, folder=tmp_path, policy=policy)
        return rows

    problem = Problem(data="mine", options=SMALL)
    config = small_run(Adam(gradient_batch=10), problem=problem, evaluation=Evaluation(train_subset=20))
    put(0, 60)
    whole = Memory()
    trained_on(whole)
    assert trained_on(Memory(whole.states[3])).started["note"] == ""
    put(1, size)
    again = trained_on(Memory(whole.states[3]))
    assert again.started["resumed_from"] == 0
    assert again.started["note"].endswith("(the data set has changed since)")


def test_runs_on_a_gpu_are_not_bit_exact() -> None:
    """On a GPU a note warns that the last digits may differ; on a CPU there is none."""
    assert _inexact({"updates": 4}, torch.device("cpu")) == ""
    note = _inexact({"updates": 4}, torch.device("cuda", 0))
    assert "GPU" in note
    assert len(note) <= NOTE_CHARACTERS


KEYS = {"updates", "seconds", "cpu_seconds", "cost", "limits", "groups", "environment", "data"}
TENSORS = {"weights.encoder.code.weight", "optimizer.0.solution", "sampler.rest", "sampler.generator", "random.cpu"}
RENAMED = {
    "max_cg_iterations": "max_cg_iters", "warm_start": "momentum", "cg_stop": "stop", "cg_tolerance": "tolerance",
}  # fmt: skip
"""keys of the optimizer's settings today -> those of version 0.1"""


@pytest.mark.parametrize("optimizer", OPTIMIZERS.values(), ids=OPTIMIZERS)
def test_a_checkpoint_of_the_version_before_continues(optimizer: Optimizer) -> None:
    """A run that version 0.1 paused has the rows of an uninterrupted run: names in the file are unchanged or known."""
    policy, config = Memory(), small_run(optimizer)
    _, rows = run(config, policy)
    today = Snapshot.from_bytes(policy.states[3])
    assert today.document.keys() == KEYS
    assert today.tensors.keys() >= (TENSORS if optimizer.kind != "adam" else TENSORS - {"optimizer.0.solution"})
    groups = [{RENAMED.get(key, key): value for key, value in group.items()} for group in today.document["groups"]]
    tensors = {name: tensor.contiguous() for name, tensor in today.tensors.items()}
    file = safetensors.torch.save(tensors, {"blockhf": json.dumps(today.document | {"groups": groups})})
    _, later = run(config, Memory(file))
    assert (later.started["resumed_from"], later.started["note"]) == (3, "")
    assert figures(later) == figures(rows)[3:]
