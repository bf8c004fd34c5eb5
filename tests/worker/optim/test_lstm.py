"""Tests of the peephole LSTM layer."""

import torch
from torch import Tensor, nn

from worker.optim import PeepholeLSTM


def one_sequence(layer: PeepholeLSTM, x: Tensor) -> Tensor:
    """Apply the cell's equations, as printed, to one sequence (T x I)."""
    (w_i, w_f, w_g, w_o), (r_i, r_f, r_g, r_o) = layer.weight, layer.recurrent
    (p_i, p_f, p_o), (b_i, b_f, b_g, b_o) = layer.peephole, layer.bias
    h = c = torch.zeros(layer.bias.shape[1], dtype=x.dtype)
    states = []
    for step in x:
        i = torch.sigmoid(w_i @ step + r_i @ h + p_i * c + b_i)
        f = torch.sigmoid(w_f @ step + r_f @ h + p_f * c + b_f)
        g = torch.tanh(w_g @ step + r_g @ h + b_g)
        c = f * c + i * g
        o = torch.sigmoid(w_o @ step + r_o @ h + p_o * c + b_o)
        h = o * torch.tanh(c)
        states.append(h)
    return torch.stack(states)


def test_states_follow_the_equations() -> None:
    """Every hidden state is that of the equations, sequence by sequence."""
    torch.manual_seed(0)
    layer = PeepholeLSTM(3, 4).double()
    for parameter in layer.parameters():
        nn.init.normal_(parameter)
    x = torch.rand(5, 6, 3, dtype=torch.float64)
    expected = torch.stack([one_sequence(layer, sequence) for sequence in x])
    torch.testing.assert_close(layer(x), expected, rtol=1e-12, atol=1e-12)


def test_without_peepholes_it_is_torchs_lstm() -> None:
    """With peepholes of zero, states and gradients are those of nn.LSTM, whose gates stand in the same order."""
    torch.manual_seed(0)
    layer = PeepholeLSTM(2, 3).double()
    public = nn.LSTM(2, 3, batch_first=True).double()
    named = dict(public.named_parameters())
    nn.init.zeros_(layer.peephole)
    nn.init.zeros_(named["bias_hh_l0"])
    pairs = list(zip(
        (layer.weight, layer.recurrent, layer.bias),
        (named["weight_ih_l0"], named["weight_hh_l0"], named["bias_ih_l0"]),
        strict=True,
    ))  # fmt: skip
    for ours, theirs in pairs:
        ours.data.copy_(theirs.data.view(ours.shape))
    x = torch.rand(4, 5, 2, dtype=torch.float64)
    found, (expected, _) = layer(x), public(x)
    torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-12)
    found.square().sum().backward()
    expected.square().sum().backward()
    for ours, theirs in pairs:
        assert ours.grad is not None
        assert theirs.grad is not None
        torch.testing.assert_close(ours.grad, theirs.grad.view(ours.shape), rtol=1e-12, atol=1e-12)
