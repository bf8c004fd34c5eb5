"""What every rule is held to: the derivatives that automatic differentiation gives, plain and stacked."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.func import functional_call, jacrev

from worker.optim import SoftmaxCrossEntropy, layer_names, native
from worker.optim.blocks import make_blocks
from worker.optim.curvature.counting import Counter
from worker.optim.curvature.graph import trace
from worker.optim.curvature.linearization import Linearization
from worker.optim.curvature.traced_model import TracedModel

EXAMPLES = 5
NARROW = 3
STACK = 4


def close(found: object, expected: object) -> None:
    """Compare tensors, or dictionaries of them."""
    torch.testing.assert_close(found, expected, rtol=1e-10, atol=1e-10)


def check_rules(model: nn.Module, inputs: Tensor) -> None:
    """Compare tangents and transposes by rules, at the first examples, with dense Jacobians, in float64."""
    model, inputs = model.double(), inputs.double()
    graph = trace(model)
    whole = Linearization.at(graph, inputs)
    with torch.no_grad(), native.single_backward():
        assert torch.equal(whole.outputs, model(inputs))
    at, x = whole.narrow(NARROW), inputs[:NARROW]
    weights = {name: p.detach() for name, p in model.named_parameters()}

    def outputs(w: dict[str, Tensor], x: Tensor) -> Tensor:
        result = functional_call(model, w, (x,))
        assert isinstance(result, Tensor)
        return result

    by_weights, by_inputs = jacrev(outputs, argnums=(0, 1))(weights, x)
    names = [name for name, p in model.named_parameters() if p.requires_grad]
    for chosen in (names, *([name] for name in names)) if names else ():
        _check_weights(at, chosen, by_weights)
    _check_inputs(at, x, by_inputs)


def _check_weights(at: Linearization, names: Sequence[str], jacobians: dict[str, Tensor]) -> None:
    size, path = at.outputs.dim(), at.graph.path(names)
    directions = {n: torch.rand(jacobians[n].shape[size:], dtype=torch.float64) for n in names}
    seed = torch.rand_like(at.outputs)
    expected = torch.stack([torch.tensordot(jacobians[n], directions[n], directions[n].dim()) for n in names]).sum(0)
    close(at.tangent(path, directions), expected)
    found = {n: torch.full_like(d, torch.nan) for n, d in directions.items()}
    at.backward(path, seed.clone(), found)
    close(found, {n: torch.tensordot(seed, jacobians[n], size) for n in names})


def _check_inputs(at: Linearization, x: Tensor, jacobian: Tensor) -> None:
    """Check the part by the model's inputs, for one vector and for a stack."""
    path = at.graph.path_above(-1)
    directions = torch.rand(STACK, *x.shape, dtype=torch.float64)
    seeds = torch.rand(STACK, *at.outputs.shape, dtype=torch.float64)
    tangents = torch.stack([torch.tensordot(jacobian, d, x.dim()) for d in directions])
    cotangents = torch.stack([torch.tensordot(s, jacobian, s.dim()) for s in seeds])
    close(at.tangent(path, {}, seed=directions), tangents)
    close(at.tangent(path, {}, seed=directions[0]), tangents[0])
    close(at.backward(path, seeds.clone(), {}), cotangents)
    close(at.backward(path, seeds[0].clone(), {}), cotangents[0])


def counted(model: nn.Module, inputs: Tensor, blocks: list[list[str]]) -> list[tuple[int, int]]:
    """Return predicted and counted operations: of the gradient, then of a product with each block."""
    targets = torch.zeros(len(inputs), dtype=torch.int64)
    source = TracedModel(model, SoftmaxCrossEntropy())
    (every,) = make_blocks(model, [layer_names(model)])
    with Counter() as counter:
        batch = source.linearize(inputs, targets)
        batch.gradient(every.views(every.vector()))
    pairs = [(batch.gradient_flops, counter.flops)]
    made = [*make_blocks(model, blocks), every]
    narrow = batch.narrow(NARROW, made)
    for block in made:
        with Counter() as counter:
            narrow.product(block, block.vector(), block.vector())
        pairs.append((narrow.product_flops(block), counter.flops))
    return pairs
