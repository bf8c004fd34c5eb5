"""Tests of runs that go on from a checkpoint."""

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from backend.schemas.experiments import Budget, Evaluation, Problem, RunConfig
from backend.schemas.optimizer_registry import Optimizer
from backend.schemas.optimizers import Adam
from backend.schemas.runs import RunStatus
from tests.worker.cases import CLOCKS, NOWHERE, OPTIMIZERS, SMALL, Rows, planned_blocks, registry, small_run
from worker.checkpoints.files import State
from worker.problems.registry import discover
from worker.training.state import NOTE_CHARACTERS, _inexact
from worker.training.trainer import Outcome, train


class Memory:
    """A keeper that keeps every state in memory, in the form it has on disk."""

    def __init__(self, state: bytes | None = None, *, pause_after: int | None = None) -> None:
        self.states: dict[int, bytes] = {}
        self.weights = b""
        self._found = state
        self._pause_after = pause_after

    def found(self) -> State | None:
        """Give the state it was made with."""
        return None if self._found is None else State.from_bytes(self._found)

    def missing(self) -> str:
        """Miss nothing."""
        return ""

    def due(self) -> bool:
        """Keep each update."""
        return True

    def paused(self) -> bool:
        """Pause when enough is kept."""
        return len(self.states) == self._pause_after

    def keep(self, state: State, update: int) -> bool:
        """Keep a state."""
        self.states[update] = state.to_bytes()
        return True

    def end(self, weights: State) -> None:
        """Keep the weights."""
        self.weights = weights.to_bytes()


def run(config: RunConfig, keeper: Memory) -> tuple[Outcome, Rows]:
    """Train with a keeper."""
    rows = Rows()
    return train(
        config,
        rows,
        lambda: False,
        blocks=planned_blocks(config, registry()),
        registry=registry(),
        folder=NOWHERE,
        keeper=keeper,
    ), rows


def figures(rows: Rows) -> list[dict[str, Any]]:
    """Give all of the rows but the times."""
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


def test_a_paused_run_goes_on() -> None:
    """A pause keeps the state after its update and ends the run; together both halves are the whole run."""
    config = small_run(OPTIMIZERS["bhf"])
    first = Memory(pause_after=3)
    outcome, rows = run(config, first)
    assert outcome == Outcome(RunStatus.PAUSED, "paused after 3 updates")
    _, later = run(config, Memory(first.states[3]))
    _, whole = run(config, Memory())
    assert figures(rows) + figures(later) == figures(whole)


def test_patience_counts_on() -> None:
    """What the patience has counted before the interruption counts after it."""
    still = OPTIMIZERS["adam"].model_copy(update={"learning_rate": 1e-30})
    config = small_run(still, budget=Budget(updates=50, patience=4))
    whole = Memory()
    outcome, rows = run(config, whole)
    again, later = run(config, Memory(whole.states[3]))
    assert again == outcome
    assert len(later.rows) == len(rows.rows) - 3


def test_default_generators_are_restored() -> None:
    """A network that draws random numbers as it trains draws those that come next."""
    keeper = Memory()
    torch.manual_seed(3)
    run(small_run(OPTIMIZERS["adam"]), keeper)
    expected = torch.rand(2)
    torch.manual_seed(4)
    run(small_run(OPTIMIZERS["adam"]), Memory(keeper.states[2]))
    assert torch.equal(torch.rand(2), expected)


def test_another_environment_is_told() -> None:
    """Where device, threads or versions differ from those before, the run says which, and that figures may differ."""
    keeper = Memory()
    config = small_run(OPTIMIZERS["adam"])
    run(config, keeper)
    state = State.from_bytes(keeper.states[4])
    environment = state.document["environment"] | {"threads": "64", "torch": "1.0"}
    elsewhere = dataclasses.replace(state, document=state.document | {"environment": environment})
    _, rows = run(config, Memory(elsewhere.to_bytes()))
    note = rows.started["note"]
    assert note.startswith("went on after update 4 elsewhere, so that later figures may differ")
    assert "threads 64 before, 1 now; torch 1.0 before" in note


def test_processor_time_counts_on_or_is_not_told() -> None:
    """It goes on where the state left it; a state that does not tell it leaves it out from there on."""
    keeper = Memory()
    config = small_run(OPTIMIZERS["adam"])
    _, rows = run(config, keeper)
    state = State.from_bytes(keeper.states[4])
    _, later = run(config, Memory(keeper.states[4]))
    assert (later.rows[0].cpu_seconds or 0) > (rows.rows[3].cpu_seconds or 0) > 0
    silent = {name: value for name, value in state.document.items() if name != "cpu_seconds"}
    _, later = run(config, Memory(dataclasses.replace(state, document=silent).to_bytes()))
    assert [row.cpu_seconds for row in later.rows] == [None] * 3


@pytest.mark.parametrize("lost", ["weights.encoder.code.weight", "sampler.rest"])
def test_a_foreign_state_begins_again(lost: str) -> None:
    """A checkpoint that does not fit the network or the data order is not used, and the run says so."""
    keeper = Memory()
    config = small_run(OPTIMIZERS["adam"])
    outcome, rows = run(config, keeper)
    state = State.from_bytes(keeper.states[4])
    lacking = dataclasses.replace(state, tensors={name: t for name, t in state.tensors.items() if name != lost})
    again, later = run(config, Memory(lacking.to_bytes()))
    assert later.started["resumed_from"] == 0
    assert later.started["note"].startswith("began again: its checkpoint does not fit")
    assert (again, figures(later)) == (outcome, figures(rows))


def test_final_weights_hold_the_mean() -> None:
    """The final weights are there by name, and beside them their Polyak mean."""
    keeper = Memory()
    run(small_run(OPTIMIZERS["bhf"], evaluation=Evaluation(train_subset=50, polyak_decay=0.5)), keeper)
    weights = State.from_bytes(keeper.weights).tensors
    assert weights["encoder.code.weight"].shape == weights["average.encoder.code.weight"].shape
    assert not torch.equal(weights["encoder.code.weight"], weights["average.encoder.code.weight"])


class Forgetful(Memory):
    """A keeper whose disk is full."""

    def keep(self, state: State, update: int) -> bool:
        """Keep nothing of it, but count."""
        super().keep(state, update)
        return False


def test_a_pause_that_could_not_be_kept_says_so() -> None:
    """A user who pauses a run learns that its last updates will be done again."""
    outcome, _ = run(small_run(OPTIMIZERS["adam"]), Forgetful(pause_after=3))
    assert outcome.status is RunStatus.PAUSED
    assert outcome.ended_by.startswith("paused after 3 updates; that state could not be kept")
    assert len(outcome.ended_by) <= 200


@pytest.mark.parametrize("size", [60, 20])
def test_a_run_whose_data_changed_begins_again(tmp_path: Path, size: int) -> None:
    """A checkpoint is of the images that it was trained on: with others, or fewer, the run begins again and says so."""

    def put(seed: int, count: int) -> None:
        draw = np.random.default_rng(seed)
        arrays: dict[str, Any] = {}
        for part in ("train", "test"):
            arrays[f"x_{part}"] = draw.random((count, 28, 28), dtype=np.float32)
            arrays[f"y_{part}"] = np.arange(count) % 3
        np.savez(tmp_path / "mine.npz", **arrays)

    def trained_on(keeper: Memory) -> Rows:
        rows = Rows()
        train(
            config,
            rows,
            lambda: False,
            blocks=planned_blocks(config, discover(folder=tmp_path)),
            registry=discover(folder=tmp_path),
            folder=tmp_path,
            keeper=keeper,
        )
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


def test_a_gpu_promises_no_digits() -> None:
    """On a GPU a run that goes on says that its last digits may differ; on a CPU it need not."""
    assert _inexact({"updates": 4}, torch.device("cpu")) == ""
    note = _inexact({"updates": 4}, torch.device("cuda", 0))
    assert note.startswith("went on after update 4 on a GPU, whose kernels may add in another order each time")
    assert len(note) <= NOTE_CHARACTERS
