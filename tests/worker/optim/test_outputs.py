"""Models with several outputs, and models of sequences."""

from dataclasses import dataclass
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.attention import SDPBackend, sdpa_kernel

from tests.worker.optim.cases import weights
from tests.worker.optim.reference import Dense
from worker.optim import BatchError, FirstOrder, HessianFree, as_loss
from worker.optim.outputs import Selector
from worker.optim.torch_losses import FunctionLoss

X, T = torch.rand(12, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(0)), torch.arange(12) % 3
OPTIONS: dict[str, Any] = {"curvature_batch": 6, "learning_rate": 1.0, "damping": 0.1, "max_cg_iterations": 300}


@dataclass
class Record:
    """Outputs as an object."""

    hidden: Tensor
    logits: Tensor


class Several(nn.Module):
    """Returns its outputs in some form."""

    def __init__(self, form: str) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.first, self.last, self.form = nn.Linear(3, 4), nn.Linear(4, 3), form
        self.double()

    def forward(self, x: Tensor) -> Any:
        """Run it."""
        hidden = torch.tanh(self.first(x))
        logits = self.last(hidden)
        if self.form == "dict":
            return {"hidden": hidden, "logits": logits}
        if self.form == "record":
            return Record(hidden, logits)
        return logits if self.form == "tensor" else (hidden, logits)


SELECTED: list[tuple[str, Selector]] = [
    ("dict", "logits"), ("tuple", 1), ("tuple", -1), ("record", "logits"), ("tuple", lambda outputs: outputs[1]),
    ("dict", lambda outputs: outputs["logits"]),
]  # fmt: skip


@pytest.mark.parametrize("trials", [False, True])
@pytest.mark.parametrize(("form", "selector"), SELECTED)
def test_the_selected_output_is_trained(form: str, selector: Selector, trials: bool) -> None:
    """The update is that of a model with this output alone, in whole and in micro-batches; fast methods remain."""
    options = OPTIONS | {"line_search": trials, "preconditioner": trials}
    found = []
    for name, chosen in (("tensor", None), (form, selector)):
        model = Several(name)
        made = HessianFree(model, nn.CrossEntropyLoss(), **options, outputs=chosen)
        result = made.step(X, T)
        made.step([(X[:7], T[:7]), (X[7:], T[7:])])
        found.append(weights(model))
    torch.testing.assert_close(found[1], found[0], rtol=1e-9, atol=1e-10)
    assert (result.blocks[0].product_method != "autograd") == (form != "record" and not callable(selector))


@pytest.mark.parametrize(
    ("form", "selector", "says"),
    [("dict", None, "choose one output by outputs="), ("dict", "scores", "'hidden', 'logits'"),
     ("tuple", 2, "2 outputs"), ("record", "scores", "Record"),
     ("tensor", 0, "one tensor: leave outputs out"), ("tuple", "logits", "2 outputs")],
)  # fmt: skip
def test_what_selects_nothing_is_refused(form: str, selector: Selector, says: str) -> None:
    """By every optimizer, with what there is."""
    model = Several(form)
    for made in (
        HessianFree(model, nn.CrossEntropyLoss(), **OPTIONS, outputs=selector),
        FirstOrder(model, nn.CrossEntropyLoss(), torch.optim.SGD, outputs=selector),
    ):
        with pytest.raises(BatchError, match=says):
            made.step(X, T)
    with pytest.raises(ValueError, match=r"outputs is 1\.5"):
        HessianFree(model, nn.CrossEntropyLoss(), **OPTIONS, outputs=1.5)  # type: ignore[arg-type]  # the point


def test_first_order_optimizers_select_too() -> None:
    """As the others."""
    one, other = Several("tensor"), Several("dict")
    FirstOrder(one, nn.CrossEntropyLoss(), torch.optim.SGD).step(X, T)
    FirstOrder(other, nn.CrossEntropyLoss(), torch.optim.SGD, outputs="logits").step(X, T)
    assert torch.equal(weights(one), weights(other))


class Tagger(nn.Module):
    """Attention over sequences of unequal lengths, or a recurrence with packed sequences."""

    def __init__(self, kind: str) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.kind = kind
        self.mix: Any = (
            nn.MultiheadAttention(4, 2, batch_first=True) if kind == "mask" else nn.GRU(4, 4, batch_first=True)
        )
        self.tags = nn.Linear(4, 3)
        self.double()

    def forward(self, x: Tensor, lengths: Tensor) -> Tensor:
        """Return N x T x C."""
        if self.kind == "mask":
            padding = torch.arange(x.shape[1]) >= lengths[:, None]
            h = self.mix(x, x, x, key_padding_mask=padding, need_weights=False)[0]
        else:
            packed = nn.utils.rnn.pack_padded_sequence(x, lengths, batch_first=True, enforce_sorted=False)
            h = nn.utils.rnn.pad_packed_sequence(self.mix(packed)[0], batch_first=True, total_length=x.shape[1])[0]
        result: Tensor = self.tags(h)
        return result


def tokens(outputs: Tensor, targets: Tensor) -> Tensor:
    """Average over the tokens that count; outputs are N x T x C."""
    return functional.cross_entropy(outputs.transpose(1, 2), targets)


@pytest.mark.parametrize("cut", [False, True])
@pytest.mark.parametrize("kind", ["mask", "packed"])
def test_sequences_with_masks_and_lengths(kind: str, cut: bool) -> None:
    """N x T x C outputs with ignored targets: the step is the dense solution, in micro-batches too."""
    model, count = Tagger(kind), 6
    x = torch.rand(count, 4, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    lengths = torch.tensor([4, 2, 3, 4, 1, 3])
    targets = torch.where(torch.arange(4) < lengths[:, None], torch.arange(24).view(6, 4) % 3, -100)

    class Fixed(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.model = model

        def forward(self, x: Tensor) -> Tensor:
            result: Tensor = self.model(x, lengths[: len(x)])
            return result

    if kind == "mask":
        with sdpa_kernel(SDPBackend.MATH):
            dense = Dense.of(Fixed(), FunctionLoss(tokens), x, targets, curvature_batch=4)
        matrix = dense.matrix + 0.1 * torch.eye(len(dense.gradient), dtype=torch.float64)
        expected = torch.linalg.solve(matrix, -dense.gradient)
    before = weights(model)
    made = HessianFree(model, tokens, **OPTIONS | {"curvature_batch": 4})
    if cut:
        made.step([((x[:3], lengths[:3]), targets[:3]), ((x[3:], lengths[3:]), targets[3:])])
    else:
        made.step({"x": x, "lengths": lengths}, targets)
    if kind == "mask":
        torch.testing.assert_close(weights(model) - before, expected, rtol=1e-5, atol=1e-7)
    else:
        alone = Tagger(kind)
        hf = HessianFree(alone, tokens, **OPTIONS | {"curvature_batch": 4})
        hf.step((x, lengths), targets)
        torch.testing.assert_close(weights(model), weights(alone), rtol=1e-9, atol=1e-10)
        assert not torch.equal(weights(model), before)


def test_positions_behind_the_classes() -> None:
    """torch's order N x C x T, by torch's own loss: the step is the dense solution."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv1d(2, 3, 2)).double()
    x, t = torch.rand(6, 2, 4, dtype=torch.float64), torch.arange(18).view(6, 3) % 3
    t[0, 1] = -100
    loss = nn.CrossEntropyLoss()
    dense = Dense.of(model, as_loss(loss), x, t, curvature_batch=6)
    matrix = dense.matrix + 0.1 * torch.eye(len(dense.gradient), dtype=torch.float64)
    before = weights(model)
    HessianFree(model, loss, **OPTIONS).step(x, t)
    expected = torch.linalg.solve(matrix, -dense.gradient)
    torch.testing.assert_close(weights(model) - before, expected, rtol=1e-6, atol=1e-8)
