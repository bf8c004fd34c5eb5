"""Layers, blocks and partitions: which parameters are solved together."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor, nn

from worker.optim.errors import ModelError, PartitionError


@dataclass(frozen=True)
class Block:
    """Parameters whose Gauss-Newton system is solved together; a vector of the block is flat, in this order."""

    layers: tuple[str, ...]
    names: tuple[str, ...]
    parameters: tuple[nn.Parameter, ...]

    @property
    def size(self) -> int:
        """Length of a vector of the block."""
        return sum(p.numel() for p in self.parameters)

    def vector(self) -> Tensor:
        """Return a flat zero vector."""
        return torch.zeros(self.size, dtype=self.parameters[0].dtype, device=self.parameters[0].device)

    def views(self, vector: Tensor) -> dict[str, Tensor]:
        """Return the flat vector's parts, shaped as the parameters, by parameter name; they share its memory."""
        parts = torch.split_with_sizes(vector, [p.numel() for p in self.parameters])
        return {name: part.view(p.shape) for name, p, part in zip(self.names, self.parameters, parts, strict=True)}


def layer_names(model: nn.Module) -> list[str]:
    """Return the layers in the model's order: dotted names of submodules that own trainable parameters themselves."""
    return [
        name
        for name, module in model.named_modules(remove_duplicate=True)
        if any(p.requires_grad for p in module.parameters(recurse=False))
    ]


def layer_partition(model: nn.Module) -> list[list[str]]:
    """Return one block per layer."""
    return [[name] for name in layer_names(model)]


def equal_partition(model: nn.Module, count: int) -> list[list[str]]:
    """Split the layers into `count` runs of consecutive layers so that the largest block is as small as it can be."""
    names = layer_names(model)
    if not 1 <= count <= len(names):
        raise PartitionError(f"count is {count!r}: must be from 1 to {len(names)}, the number of layers")
    sizes = [sum(p.numel() for p in model.get_submodule(n).parameters(recurse=False)) for n in names]
    cuts = [0, *_cuts(sizes, count), len(names)]
    return [names[a:b] for a, b in pairwise(cuts)]


def _cuts(sizes: Sequence[int], count: int) -> list[int]:
    """Return where to cut: best[k][i] is the smallest possible largest block of the first i layers in k blocks."""
    total = [0]
    for size in sizes:
        total.append(total[-1] + size)
    best: list[list[tuple[int, int]]] = [[(t, 0) for t in total]]
    for k in range(1, count):
        row = [(total[-1] + 1, 0)] * (k + 1)
        for i in range(k + 1, len(total)):
            row.append(min((max(best[-1][j][0], total[i] - total[j]), j) for j in range(k, i)))
        best.append(row)
    cuts, end = [], len(sizes)
    for k in range(count - 1, 0, -1):
        end = best[k][end][1]
        cuts.append(end)
    return cuts[::-1]


def make_blocks(model: nn.Module, partition: Sequence[Sequence[str]]) -> list[Block]:
    """Turn lists of layer names into blocks.

    Raises PartitionError, naming the layer or parameter, unless every trainable parameter is in exactly one block,
    and ModelError where the parameters differ in type or device.
    """
    known = layer_names(model)
    first_names = {id(p): name for name, p in model.named_parameters()}  # of a tied parameter, the one that torch uses
    owner: dict[int, tuple[int, str]] = {}
    blocks = []
    for index, layers in enumerate(partition):
        named = {name: p for layer in layers for name, p in _trainable(model, known, layer)}
        for name, p in named.items():
            other, first = owner.setdefault(id(p), (index, name))
            if other != index and first == name:
                raise PartitionError(f"parameter {name!r} is in blocks {other} and {index}: put it in one")
            if other != index:
                raise PartitionError(
                    f"parameters {first!r} and {name!r} are tied but in blocks {other} and {index}: "
                    "put their layers in one block"
                )
        unique = {id(p): (first_names[id(p)], p) for p in reversed(named.values())}
        names, parameters = zip(*reversed(unique.values()), strict=True) if unique else ((), ())
        if not names:
            raise PartitionError(f"block {index} is empty: give it at least one layer")
        if len(set(layers)) < len(layers):
            raise PartitionError(f"block {index} names a layer twice: {list(layers)}")
        blocks.append(Block(tuple(layers), names, parameters))
    for name, p in model.named_parameters():
        if p.requires_grad and id(p) not in owner:
            raise PartitionError(f"parameter {name!r} is in no block: add its layer to one")
    _check_types(model)
    return blocks


def _trainable(model: nn.Module, known: Sequence[str], layer: str) -> list[tuple[str, nn.Parameter]]:
    if layer not in known:
        raise PartitionError(f"layer {layer!r} is not in the model; its layers are {', '.join(map(repr, known))}")
    module = model.get_submodule(layer)
    prefix = f"{layer}." if layer else ""
    return [(prefix + name, p) for name, p in module.named_parameters(recurse=False) if p.requires_grad]


def _check_types(model: nn.Module) -> None:
    kinds = {(p.dtype, p.device) for p in model.parameters() if p.requires_grad}
    if len(kinds) > 1:
        raise ModelError(f"parameters have several types or devices: {sorted(map(str, kinds))}; use one")
    if kinds and next(iter(kinds))[0] not in {torch.float32, torch.float64}:
        raise ModelError(f"parameters are {next(iter(kinds))[0]}: must be torch.float32 or torch.float64")


def check_modes(model: nn.Module) -> None:
    """Raise ModelError for batch normalization in training mode or active dropout.

    The first couples the examples of a batch, the second changes the function between products: with either there
    is no Gauss-Newton matrix to solve with.
    """
    for name, module in model.named_modules():
        if isinstance(module, nn.modules.batchnorm._BatchNorm) and (module.training or module.running_mean is None):
            raise ModelError(
                f"layer {name!r} is {type(module).__name__} in training mode, which couples the examples of a batch: "
                "call its eval() first, or use GroupNorm or LayerNorm"
            )
        if isinstance(module, nn.modules.dropout._DropoutNd) and module.training and module.p > 0:
            raise ModelError(
                f"layer {name!r} is active dropout, which is another function at each pass: call its eval() first"
            )
        if isinstance(module, nn.RNNBase) and module.training and module.dropout > 0:
            raise ModelError(f"layer {name!r} has active dropout, which is another function at each pass: set it to 0")
