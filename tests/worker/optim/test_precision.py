"""The precision of curvature products."""

import copy
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from backend.schemas.catalog import DataSet
from tests.worker.optim.cases import make
from worker.optim import BlockHessianFree, StepResult
from worker.optim.precision import float32_products
from worker.problems import autoencoder, cnn, lstm
from worker.problems.data import cifar10, idx_data
from worker.problems.problem import Problem

CURVATURE = 8


def places() -> list[str]:
    """The precision of everything on CUDA that could round."""
    backends: Any = torch.backends  # whose annotations leave cudnn.conv out
    return [p.fp32_precision for p in (backends.cuda.matmul, backends.cudnn.conv, backends.cudnn.rnn)]


def stepped(name: str, precision: str, **settings: object) -> tuple[StepResult, list[Tensor]]:
    """One update of a case: what it reports and the change of every weight."""
    case = make(name)
    before = [p.detach().clone() for p in case.model.parameters()]
    chosen: dict[str, Any] = {
        "curvature_batch": CURVATURE,
        "damping": 0.1,
        "max_cg_iterations": 10,
        "product_precision": precision,
    } | settings
    result = BlockHessianFree(case.model, case.loss, case.blocks, **chosen).step(case.inputs, case.targets)
    return result, [p.detach() - b for p, b in zip(case.model.parameters(), before, strict=True)]


@pytest.mark.parametrize("tf32", [True, False])
def test_float32_is_full_unless_asked(tf32: bool) -> None:
    """Within the block everything is as asked, products and convolutions alike; after it, also an error, as before."""
    before, within = places(), set()

    def fail() -> None:
        within.update(places())
        raise RuntimeError("inside")

    with pytest.raises(RuntimeError, match="inside"), float32_products(tf32=tf32):
        fail()
    assert within == {"tf32" if tf32 else "ieee"}
    assert places() == before


@pytest.mark.parametrize("precision", ["full", "tf32"])
def test_products_run_in_the_precision_asked_for(precision: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """While blocks are solved, and only then, CUDA may round to TF32 where that is asked."""
    seen: set[str] = set()
    solve = BlockHessianFree._solve

    def watched(*arguments: object) -> object:
        seen.update(places())
        return solve(*arguments)  # type: ignore[arg-type]  # passed on as they come

    monkeypatch.setattr(BlockHessianFree, "_solve", watched)
    before = places()
    stepped("autoencoder", precision)
    assert seen == {"tf32" if precision == "tf32" else "ieee"}
    assert places() == before


@pytest.mark.parametrize("name", ["autoencoder", "classifier", "functional"])
def test_bfloat16_is_close_and_not_the_same(name: str) -> None:
    """Rounded products give nearly the full decrease of the quadratic model, by methods that can be rounded."""
    full, exact = stepped(name, "full")
    low, rounded = stepped(name, "bfloat16")
    for one, other in zip(low.blocks, full.blocks, strict=True):
        assert one.model_decrease == pytest.approx(other.model_decrease, rel=0.05)
        assert one.product_method in {"products", "interface"}
    assert not all(torch.equal(a, b) for a, b in zip(exact, rounded, strict=True))


@pytest.mark.parametrize(
    ("problem", "info"),
    [(autoencoder.PROBLEM, idx_data.MNIST.info), (lstm.PROBLEM, idx_data.MNIST.info), (cnn.PROBLEM, cifar10.INFO)],
)
def test_every_layer_of_the_papers_networks_can_be_rounded(problem: Problem, info: DataSet) -> None:
    """No rule is left out: the decrease is near that of full products, block by block."""
    torch.manual_seed(0)
    model = problem.build(problem.options(), info)
    images, labels = torch.rand(6, *info.shape), torch.arange(6)
    batch = problem.inputs(images), problem.targets(images, labels)
    found = {}
    for precision in ("full", "bfloat16"):
        optimizer = BlockHessianFree(
            copy.deepcopy(model), problem.loss, problem.partition, curvature_batch=4, damping=1.0, max_cg_iterations=3,
            product_method="products", product_precision=precision,
        )  # fmt: skip
        found[precision] = [block.model_decrease for block in optimizer.step(*batch).blocks]
    assert found["bfloat16"] == pytest.approx(found["full"], rel=0.1)
    assert found["bfloat16"] != found["full"]


@pytest.mark.parametrize("method", ["samples", "explicit"])
def test_methods_that_are_not_rounded_say_so(method: str) -> None:
    """Sample space and the matrix itself give method to another, with a note."""
    result, _ = stepped("autoencoder", "bfloat16", product_method=method)
    replaced = [block for block in result.blocks if block.note]
    assert replaced
    assert {block.product_method for block in result.blocks} <= {"products", "interface"}
    assert all("not available in bfloat16" in b.note or "does not apply" in b.note for b in replaced)


def test_double_backward_says_that_it_is_not_rounded() -> None:
    """Double backward stays in the weights' precision."""
    result, _ = stepped("autoencoder", "bfloat16", product_method="autograd")
    assert all(block.note.endswith("bfloat16 is not available") for block in result.blocks)


def test_unknown_precisions_are_refused() -> None:
    """The error lists what there is."""
    with pytest.raises(ValueError, match="product_precision is 'half': must be one of full, tf32, bfloat16"):
        BlockHessianFree(nn.Linear(1, 1), make("autoencoder").loss, [[""]], curvature_batch=1, product_precision="half")
