"""A second derivation of everything: dense Jacobians by automatic differentiation, dense G, textbook solvers."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.func import functional_call, jacrev

from worker.optim.losses import Loss


@dataclass(frozen=True)
class Dense:
    """Gradient over a batch and Gauss-Newton matrix over its first examples, of the named parameters in this order."""

    names: list[str]
    gradient: Tensor
    matrix: Tensor

    @classmethod
    def of(cls, model: nn.Module, loss: Loss, inputs: Tensor, targets: Tensor, *, curvature_batch: int) -> "Dense":
        """Differentiate the loss's value alone: no closed form of it is used."""
        weights = {name: p.detach().clone() for name, p in model.named_parameters()}

        def outputs(w: dict[str, Tensor], x: Tensor) -> Tensor:
            result = functional_call(model, w, (x,))
            assert isinstance(result, Tensor)
            return result

        gradient = jacrev(lambda w: loss.value(outputs(w, inputs), targets))(weights)
        x, t = inputs[:curvature_batch], targets[:curvature_batch]
        jacobian = jacrev(lambda w: outputs(w, x))(weights)
        f = outputs(weights, x)
        h = jacrev(jacrev(lambda f: loss.value(f, t)))(f).reshape(f.numel(), f.numel())
        j = torch.cat([jacobian[name].reshape(f.numel(), -1) for name in weights], 1)
        return cls(list(weights), torch.cat([gradient[name].flatten() for name in weights]), j.t() @ h @ j)

    def indices(self, model: nn.Module, layers: Sequence[str]) -> Tensor:
        """Return the positions of a block's parameters, in the block's order."""
        sizes = {name: p.numel() for name, p in model.named_parameters()}
        starts, position = {}, 0
        for name in self.names:
            starts[name] = position
            position += sizes[name]
        wanted = [
            f"{layer}.{name}".lstrip(".")
            for layer in layers
            for name, _ in model.get_submodule(layer).named_parameters(recurse=False)
        ]
        return torch.cat([torch.arange(starts[n], starts[n] + sizes[n]) for n in wanted])


def conjugate_gradient(matrix: Tensor, b: Tensor, x: Tensor, iterations: int) -> Tensor:
    """Return the iterate after so many steps, or the solution; as in Nocedal and Wright (2006), algorithm 5.2."""
    r = matrix @ x - b
    p = -r
    for _ in range(iterations):
        if not r.any():
            break
        step = (r @ r) / (p @ matrix @ p)
        x = x + step * p
        new = r + step * (matrix @ p)
        p = -new + (new @ new) / (r @ r) * p
        r = new
    return x
