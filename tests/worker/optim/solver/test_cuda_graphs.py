"""What is captured: the same work on the same memory each time, in which no value decides anything."""

from collections.abc import Iterator
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from tests.worker.optim.cases import make
from tests.worker.optim.networks import NETWORKS
from worker.optim import BlockHessianFree, StepResult, native
from worker.optim.settings import ProductMethod
from worker.optim.solver import cg
from worker.optim.solver.cuda_graphs import EAGER, WORTH, Repeater, Work

UPDATES = 2
ITERATIONS = WORTH + 2
ALL = {"adaptive_damping": True, "backtracking": True, "line_search": True, "preconditioner": True}


class Tape(TorchDispatchMode):  # type: ignore[no-untyped-call]  # torch's has no types
    """A captured graph's stand-in: replays operations on the tensors that they had, in the memory that they had.

    To ask for a value raises, as it does in a capture.
    """

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]  # likewise
        self.operations: list[tuple[Any, Any, Any, Any]] = []
        self.replays = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Do an operation and write it down."""
        if func is torch.ops.aten._local_scalar_dense.default:
            raise RuntimeError("a value was asked for")
        out = func(*args, **(kwargs or {}))
        self.operations.append((func, args, kwargs or {}, out))
        return out

    def replay(self) -> None:
        """Do all of it again; the first time it has been done already, as a capture would not have."""
        self.replays += 1
        if self.replays == 1:
            return
        for func, args, kwargs, before in self.operations:
            after = func(*args, **kwargs)
            if not func.is_view and not func._schema.is_mutable:
                for new, old in zip(_tensors(after), _tensors(before), strict=True):
                    old.copy_(new)


def _tensors(out: Any) -> list[Tensor]:
    parts = out if isinstance(out, tuple | list) else [out]
    return [part for part in parts if isinstance(part, Tensor)]


class Recorder:
    """Makes tapes."""

    def __init__(self) -> None:
        self.tapes: list[Tape] = []

    def __call__(self, work: Work) -> Tape:
        """Record work."""
        tape = Tape()
        with tape:
            work()
        self.tapes.append(tape)
        return tape


def train(name: str, record: Any, **settings: Any) -> tuple[BlockHessianFree, list[StepResult], Tensor]:
    """Make some updates whose iterations are recorded."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        case = NETWORKS[name]() if name in NETWORKS else make(name)
    settings = {"curvature_batch": 8, "damping": 1e-3, "max_cg_iterations": ITERATIONS} | settings
    optimizer = BlockHessianFree(case.model, case.loss, case.blocks, **settings)
    for solver in optimizer._solvers:
        solver.repeater.record = record
    results = [optimizer.step(case.inputs, case.targets) for _ in range(UPDATES)]
    return optimizer, results, torch.cat([p.detach().flatten() for p in case.model.parameters()])


@pytest.fixture(autouse=True)
def as_on_a_device(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Conjugate gradient does as where work goes on behind the program's back, and there is nothing in C."""
    monkeypatch.setattr(cg, "asynchronous", lambda _: True)
    with native.enabled(False):
        yield


@pytest.mark.parametrize("options", [{}, ALL], ids=["fixed", "all options"])
@pytest.mark.parametrize("method", [method for method in list(ProductMethod) if method != "autograd"])
@pytest.mark.parametrize("name", ["autoencoder", "classifier", "functional", *NETWORKS])
def test_replayed_iterations_are_those_done_one_by_one(name: str, method: str, options: dict[str, Any]) -> None:
    """By every method, with every option: equal weights and reports; the first update was replayed."""
    recorder = Recorder()
    _, found, weights = train(name, recorder, product_method=method, **options)
    _, expected, same = train(name, None, product_method=method, **options)
    assert torch.equal(weights, same)
    assert [result.blocks for result in found] == [result.blocks for result in expected]
    first = [block.cg_iterations for block in found[0].blocks]
    assert sum(tape.replays for tape in recorder.tapes) >= sum(first) - EAGER * len(first) > 0


def test_a_refreshed_residual_is_not_replayed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Iterations that compute the residual afresh are done between replays; the result is the same."""
    made = cg.CgOptions.__init__
    monkeypatch.setattr(made, "__kwdefaults__", {**(made.__kwdefaults__ or {}), "refresh": 4})
    recorder = Recorder()
    _, found, weights = train("autoencoder", recorder, product_method="products")
    _, expected, same = train("autoencoder", None, product_method="products")
    assert torch.equal(weights, same)
    assert [r.blocks for r in found] == [r.blocks for r in expected]
    assert all(tape.replays < ITERATIONS - EAGER for tape in recorder.tapes)


@pytest.mark.parametrize("name", ["autoencoder", "uncovered"])
def test_double_backward_is_not_captured(name: str) -> None:
    """Backward passes run on streams of their own choice."""
    recorder = Recorder()
    train(name, recorder, product_method="autograd")
    assert not recorder.tapes


def test_few_iterations_are_not_captured() -> None:
    """A capture would cost more than it saves."""
    recorder = Recorder()
    train("autoencoder", recorder, max_cg_iterations=WORTH - 1)
    assert not recorder.tapes


def test_a_refused_capture_is_said_and_not_tried_again() -> None:
    """The iterations go on one by one, from where they were; the report says why."""
    tried = []

    def refuse(work: Work) -> Tape:
        tried.append(work)
        raise RuntimeError("operation not permitted when stream is capturing\nmore of it")

    optimizer, found, weights = train("autoencoder", refuse)
    _, expected, same = train("autoencoder", None)
    assert torch.equal(weights, same)
    assert len(tried) == len(optimizer.blocks)
    for result, plain in zip(found, expected, strict=True):
        for block, other in zip(result.blocks, plain.blocks, strict=True):
            assert block.steps == other.steps
            assert "not captured as a CUDA graph: operation not permitted when stream is capturing" in block.note
            assert "more of it" not in block.note


def test_nothing_is_captured_without_a_device() -> None:
    """On the CPU work stays as it is."""
    work = list[int]().clear
    assert Repeater(torch.device("cpu"))(work, expected=100) is work


def test_a_tape_refuses_values() -> None:
    """The stand-in finds what a capture would refuse."""
    with pytest.raises(RuntimeError, match="a value was asked for"), Tape():
        torch.ones(2).sum().item()
