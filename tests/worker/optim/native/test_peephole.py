"""Tests of the peephole LSTM layer's passes in C: they are torch's by every set of instructions, and serve unasked."""

import shutil
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from worker.optim import BlockHessianFree, FirstOrder, PeepholeLSTM, SoftmaxCrossEntropy, layer_partition, native
from worker.optim.curvature.rules.recurrent import peephole_lstm
from worker.optim.curvature.rules.recurrent_native import CompiledPeepholeRule, lstm
from worker.optim.curvature.traced_model import TracedModel
from worker.optim.native import peephole as passes
from worker.problems.lstm import StackedLSTM

NAMES = ("weight", "recurrent", "peephole", "bias")
SETS = {"base": (), "avx2": ("avx2",), "avx512": ("avx2", "avx512")}
ACCURACY = {torch.float32: 5e-6, torch.float64: 1e-13}
SHAPES = [(1, 10, 9, 70, 70), (3, 5, 4, 40, 7), (10, 10, 7, 33, 33), (2, 3, 1, 5, 5)]
"""inputs, hidden units, steps, examples, examples in use"""

needs_passes = pytest.mark.skipif(
    not native.instruction_set(), reason="there are no passes in C: they were not built at installation, or do not load"
)


@pytest.fixture(params=list(SETS))
def instructions(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Choose a set of instructions that the processor has."""
    name: str = request.param
    widest = native.instruction_set()
    if list(SETS).index(name) > list(SETS).index(widest or "base") or not widest:
        pytest.skip(f"no {name} here: the widest is {widest or 'none'}")
    monkeypatch.setattr(native, "instruction_set", lambda: name)
    return name


def layer(inputs: int, hidden: int, dtype: torch.dtype = torch.float64) -> PeepholeLSTM:
    """Make a layer whose gates are far from linear."""
    made = PeepholeLSTM(inputs, hidden).to(dtype)
    for parameter in made.parameters():
        nn.init.normal_(parameter, std=0.5)
    return made


def same(found: Tensor, expected: Tensor) -> None:
    """Compare relative to the largest number, in the accuracy of the type."""
    assert found.shape == expected.shape
    error = (found - expected).abs().max() / expected.abs().max().clamp_min(1e-30)
    assert error <= ACCURACY[found.dtype], f"relative error {error:.1e}"


@needs_passes
@pytest.mark.parametrize("dtype", list(ACCURACY), ids=["float32", "float64"])
@pytest.mark.parametrize(("inputs", "hidden", "steps", "examples", "used"), SHAPES)
def test_passes_are_torchs(
    instructions: str, dtype: torch.dtype, inputs: int, hidden: int, steps: int, examples: int, used: int
) -> None:
    """States, tangents, cotangents and rows, of one vector and of a stack, at the first examples of a batch."""
    assert native.instruction_set() == instructions
    torch.manual_seed(0)
    made, x = layer(inputs, hidden, dtype), torch.randn(examples, steps, inputs, dtype=dtype)
    with torch.no_grad():
        (states, fast), (expected, slow) = lstm(made, x), peephole_lstm(made, x)
    assert isinstance(fast, CompiledPeepholeRule)
    same(states, expected)
    fast, slow = fast.narrow(used), slow.narrow(used)
    weights = {name: torch.randn_like(getattr(made, name)).detach() for name in NAMES}
    one, stack = torch.randn(used, steps, inputs, dtype=dtype), torch.randn(3, used, steps, inputs, dtype=dtype)
    for entering in ({}, weights, {"peephole": weights["peephole"]}, {"recurrent": weights["recurrent"]}):
        for seed in (None, one) if entering else (one, stack):
            same(fast.tangent((seed,), entering), slow.tangent((seed,), entering))
    back, backs = torch.randn(used, steps, hidden, dtype=dtype), torch.randn(3, used, steps, hidden, dtype=dtype)
    for seed, names in ((back, NAMES), (back, ("peephole",)), (back, ()), (backs, ())):
        found, wanted = ({name: torch.full_like(weights[name], torch.nan) for name in names} for _ in range(2))
        for (a,), (b,) in (
            (fast.backward(seed, (n,), found), slow.backward(seed, (n,), wanted)) for n in (True, False)
        ):
            assert (a is None) == (b is None)
            if a is not None and b is not None:
                same(a, b)
        for name in names:
            same(found[name], wanted[name])
    rows, wanted = fast.rows(backs, NAMES), slow.rows(backs, NAMES)
    for name in NAMES:
        same(rows[name], wanted[name])


@needs_passes
@pytest.mark.parametrize("value", [0.0, 1e-6, -0.3, 3.0, -40.0, 1e4, -1e30])
def test_gates_are_accurate_at_any_sum(instructions: str, value: float) -> None:
    """What enters the gates may be tiny or huge: the state is torch's to a few units of its last place."""
    assert native.instruction_set() == instructions
    for dtype in ACCURACY:
        made = PeepholeLSTM(1, 1).to(dtype)
        for parameter in made.parameters():
            nn.init.constant_(parameter, 1.0)
        nn.init.zeros_(made.bias)
        x = torch.full((1, 2, 1), value, dtype=dtype)
        with torch.no_grad(), native.single_backward():
            found = made(x)
        expected = made(x)
        torch.testing.assert_close(found, expected, rtol=8 * torch.finfo(dtype).eps, atol=torch.finfo(dtype).tiny)


@needs_passes
def test_not_a_number_stays_one() -> None:
    """A NaN in an input is one in the states of its example, and in no other's."""
    made, x = layer(1, 3), torch.randn(40, 4, 1, dtype=torch.float64)
    x[7, 1] = torch.nan
    with torch.no_grad(), native.single_backward():
        bad = made(x).isnan().flatten(1).any(1)
    assert bad.nonzero().flatten().tolist() == [7]


@needs_passes
def test_threads_share_the_examples() -> None:
    """With two threads each takes a part; states are equal bit by bit, sums to rounding."""
    torch.manual_seed(0)
    made, x, before = layer(2, 3), torch.randn(90, 4, 2, dtype=torch.float64), torch.get_num_threads()
    results = []
    try:
        for threads in (1, 2):
            torch.set_num_threads(threads)
            with native.single_backward():
                states = made(x)
            results.append((states.detach(), torch.autograd.grad(states.square().sum(), list(made.parameters()))))
    finally:
        torch.set_num_threads(before)
    (one, sums), (two, others) = results
    assert torch.equal(one, two)
    for a, b in zip(sums, others, strict=True):
        same(a, b)


@needs_passes
def test_adam_and_bhf_use_them(monkeypatch: pytest.MonkeyPatch) -> None:
    """Adam's gradient and BHF's whole update go through C; both agree with torch's."""
    called = []
    spread = native.spread

    def spy(work: Callable[..., int], cut: list[tuple[int, int]]) -> None:
        called.append(len(cut))
        spread(work, cut)

    monkeypatch.setattr(native, "spread", spy)
    x, t = torch.rand(50, 49, dtype=torch.float64), torch.arange(50) % 10
    found: dict[bool, list[Tensor]] = {}
    for compiled in (True, False):
        found[compiled] = []
        for kind in ("adam", "bhf"):
            torch.manual_seed(0)
            model, loss = StackedLSTM(1, 10, 10).double(), SoftmaxCrossEntropy()
            before = len(called)
            with native.enabled(compiled):
                if kind == "adam":
                    FirstOrder(model, loss, torch.optim.Adam).step(x, t)
                else:
                    BlockHessianFree(model, loss, layer_partition(model), curvature_batch=20, damping=0.1).step(x, t)
            assert (len(called) > before) == compiled
            found[compiled].append(torch.cat([p.detach().flatten() for p in model.parameters()]))
    for a, b in zip(found[True], found[False], strict=True):
        torch.testing.assert_close(a, b, rtol=1e-8, atol=1e-10)


@needs_passes
def test_outside_once_the_layer_can_be_differentiated_twice() -> None:
    """A plain call is plain torch, for double backward and for torch.func; within `once` double backward is refused."""
    made, x = layer(2, 3), torch.randn(5, 4, 2, dtype=torch.float64)
    weights = list(made.parameters())
    (first, *_) = torch.autograd.grad(made(x).square().sum(), weights, create_graph=True)
    assert torch.autograd.grad(first.sum(), weights)[0].abs().sum() > 0
    by_func = torch.func.grad(lambda w: torch.func.functional_call(made, {"weight": w}, (x,)).square().sum())
    same(by_func(made.weight.detach()), torch.autograd.grad(made(x).square().sum(), weights)[0])
    with native.single_backward():
        (first, *_) = torch.autograd.grad(made(x).square().sum(), weights, create_graph=True)
    with pytest.raises(RuntimeError, match=r"once_differentiable|not have been used in the graph"):
        torch.autograd.grad(first.sum(), weights)


@needs_passes
def test_gradient_by_the_inputs() -> None:
    """The input's gradient comes with the weights', as a layer below needs it."""
    made, x = layer(2, 3), torch.randn(5, 4, 2, dtype=torch.float64, requires_grad=True)
    every = [x, *made.parameters()]
    with native.single_backward():
        found = torch.autograd.grad(made(x).square().sum(), every)
    for a, b in zip(found, torch.autograd.grad(made(x).square().sum(), every), strict=True):
        same(a, b)


@needs_passes
def test_a_bfloat16_rule_is_torchs() -> None:
    """C has no bfloat16: the rule of the kept numbers in bfloat16 is torch's, cut from the chunks."""
    torch.manual_seed(0)
    made, x = layer(2, 3, torch.float32), torch.randn(40, 4, 2)
    with torch.no_grad():
        fast, slow = lstm(made, x)[1].narrow(35), peephole_lstm(made, x)[1].narrow(35)
    seed = torch.randn(35, 4, 2).bfloat16()
    found, expected = (rule.cast(torch.bfloat16).tangent((seed,), {}) for rule in (fast, slow))
    torch.testing.assert_close(found, expected, rtol=0.05, atol=0.02)


@needs_passes
def test_memory_of_an_example_is_that_of_a_chunk_by_its_examples() -> None:
    """What decides whether a batch passes in pieces is not the memory of a chunk with one example."""
    model = StackedLSTM(1, 10, 10)
    source = TracedModel(model, SoftmaxCrossEntropy())
    source.linearize_in_chunks(64, torch.rand(64, 49), torch.arange(64) % 10)
    numbers = 49 * (3 * 8 * 10 + 3 + 1 + 10 + 10 + 3 * 10)
    assert source.example_bytes == pytest.approx(4 * numbers, rel=0.25)


def test_without_the_passes_torch_serves(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where nothing was compiled, or what was does not load, everything works."""
    for found in (None, type("Spec", (), {"origin": __file__})):
        native.library.cache_clear()
        native.instruction_set.cache_clear()
        with monkeypatch.context() as patch:
            patch.setattr(native, "find_spec", lambda _, found=found: found)
            assert native.instruction_set() == ""
            made = layer(1, 3)
            with torch.no_grad(), native.single_backward():
                assert torch.equal(
                    made(torch.ones(2, 3, 1).double()), peephole_lstm(made, torch.ones(2, 3, 1).double())[0]
                )
        native.library.cache_clear()
        native.instruction_set.cache_clear()


@pytest.mark.skipif(shutil.which("cc") is None, reason="no C compiler here, so nothing was to be built")
def test_they_are_built_where_there_is_a_compiler() -> None:
    """Installation compiles them."""
    assert native.instruction_set() in SETS


@needs_passes
def test_no_memory_is_an_error() -> None:
    """A pass that finds no memory says so."""
    with pytest.raises(MemoryError, match="no memory for a pass of the LSTM layer"):
        native.spread(lambda *_: 0, [(0, 1)])


def of(inputs: int, hidden: int) -> passes.Weights:
    """Make the weights of a layer."""
    layer = PeepholeLSTM(inputs, hidden)
    return layer.weight, layer.recurrent, layer.peephole, layer.bias


@needs_passes
def test_wide_layers_are_left_to_torch() -> None:
    """Above 64 units or inputs torch's products win; other types and devices C does not know."""
    x = torch.zeros(2, 3, 1)
    assert passes.supports(x, of(1, 64))
    assert not passes.supports(x, of(1, 65))
    assert not passes.supports(torch.zeros(2, 3, 65), of(65, 1))
    assert not passes.supports(x.bfloat16(), of(1, 1))
    assert not passes.supports(torch.empty(2, 3, 1, device="meta"), of(1, 1))


@pytest.mark.parametrize(
    ("inputs", "double"), [(torch.zeros(8, 5, 7), False), (torch.zeros(8, 5), False), (torch.zeros(8, 5, 1), True)]
)
def test_what_does_not_fit_is_torchs_error(inputs: Tensor, double: bool) -> None:
    """Inputs of another width, shape or type than the layer's never reach C, which checks nothing."""
    layer = PeepholeLSTM(1, 10).double() if double else PeepholeLSTM(1, 10)
    with native.single_backward(), pytest.raises((RuntimeError, IndexError, ValueError)):
        layer(inputs)
    with pytest.raises((RuntimeError, IndexError, ValueError)):
        layer(inputs)
