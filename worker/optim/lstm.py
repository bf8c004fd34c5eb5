"""The LSTM layer with peepholes, a whole sequence at a time."""

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from worker.optim import native
from worker.optim.native import peephole as passes


class PeepholeLSTM(nn.Module):
    """A layer of LSTM cells whose gates read the cell.

    x: N x T x I -> h: N x T x H, from h_0 = c_0 = 0, with the four gates' rows in the order i, f, g, o:

        i, f = sigmoid(W x_t + R h_(t-1) + p c_(t-1) + b)    g = tanh(W x_t + R h_(t-1) + b)
        c_t = f c_(t-1) + i g
        o = sigmoid(W x_t + R h_(t-1) + p c_t + b)           h_t = o tanh(c_t)

    It runs in plain torch. Where the C passes were compiled, it runs in C within
    `worker.optim.native.single_backward()` on a CPU, and in the optimizers' own passes.

    Args:
        inputs: I, features of a step.
        hidden: H, units.

    Attributes:
        weight: W, 4 x H x I, drawn from Normal(0, 0.1).
        recurrent: R, 4 x H x H, drawn from Normal(0, 0.1).
        peephole: p of the gates i, f, o, 3 x H, drawn from Normal(0, 0.1).
        bias: b, 4 x H, zero, the forget gate's too.

    Source: Gers and Schmidhuber (2000), "Recurrent nets that time and count"; initial values: Zhang et al. (2017).
    """

    def __init__(self, inputs: int, hidden: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(4, hidden, inputs).normal_(std=0.1))
        self.recurrent = nn.Parameter(torch.empty(4, hidden, hidden).normal_(std=0.1))
        self.peephole = nn.Parameter(torch.empty(3, hidden).normal_(std=0.1))
        self.bias = nn.Parameter(torch.zeros(4, hidden))

    def forward(self, x: Tensor) -> Tensor:
        """Return the hidden states of all steps, N x T x H, of x, N x T x I."""
        if native.in_single_backward() and passes.supports(x, (self.weight, self.recurrent, self.peephole, self.bias)):
            states: Tensor = passes.SingleBackward.apply(x, self.weight, self.recurrent, self.peephole, self.bias)  # type: ignore[no-untyped-call]  # torch's
            return states
        return torch.stack([step.h for step in steps(self, x)]).permute(2, 0, 1)

    def extra_repr(self) -> str:
        """Name the sizes."""
        return f"{self.weight.shape[2]}, {self.weight.shape[1]}"


@dataclass(frozen=True)
class Step:
    """The values of one step.

    Attributes:
        i_f: input and forget gate, 2 x H x N.
        g: new content, H x N.
        c: cell, H x N.
        o: output gate, H x N.
        squashed: tanh(c), H x N.
        h: hidden state, H x N.
    """

    i_f: Tensor
    g: Tensor
    c: Tensor
    o: Tensor
    squashed: Tensor
    h: Tensor


def steps(layer: PeepholeLSTM, x: Tensor) -> Iterator[Step]:
    """Run the layer. The examples are the last dimension, so that each gate is contiguous in memory.

    Args:
        layer: the layer.
        x: N x T x I.

    Returns:
        The values of each step, in order of time.
    """
    hidden = layer.weight.shape[1]
    r, b = layer.recurrent.flatten(0, 1), layer.bias.flatten()[:, None]
    p_if, p_o = layer.peephole[:2, :, None], layer.peephole[2, :, None]
    z = inputs_product(layer.weight.flatten(0, 1), x.permute(1, 2, 0)).add(b)
    h = c = z.new_zeros(hidden, len(x))
    for t, enters in enumerate(z.unbind()):
        a = torch.addmm(enters, r, h) if t else enters
        a_if, a_g, a_o = torch.split(a, [2 * hidden, hidden, hidden])
        i_f = torch.addcmul(a_if.view(2, hidden, -1), p_if, c).sigmoid()
        i, f = i_f.unbind()
        g = a_g.tanh()
        c = torch.addcmul(f * c, i, g)
        o = torch.addcmul(a_o, p_o, c).sigmoid()
        squashed = c.tanh()
        h = o * squashed
        yield Step(i_f, g, c, o, squashed, h)


def inputs_product(weight: Tensor, x: Tensor) -> Tensor:
    """Return W x_t of all steps, T x M x N, in one batched product.

    Args:
        weight: W, M x I.
        x: x_t of all steps, T x I x N.
    """
    return weight.expand(len(x), *weight.shape).bmm(x)
