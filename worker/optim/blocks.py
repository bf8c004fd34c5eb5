"""Layers, blocks and partitions: which parameters are solved together."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from worker.optim.errors import ModelError, PartitionError


@dataclass(frozen=True)
class Block:
    """Parameters whose Gauss-Newton system is solved together. A vector of the block is flat, in their order.

    Args:
        layers: names of the layers, as given in the partition.
        names: names of the parameters in the model.
        parameters: the parameters, P numbers in all, of one type on one device.
    """

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
    """Return the layers: the submodules that own trainable parameters themselves.

    Args:
        model: the module.

    Returns:
        Their dotted names, in the model's order.

    Raises:
        ModelError: the model is no module.
    """
    if not isinstance(model, nn.Module):
        raise ModelError(f"the model is a {type(model).__name__}: give the module itself, not its parameters")
    return [
        name
        for name, module in model.named_modules(remove_duplicate=True)
        if any(p.requires_grad for p in module.parameters(recurse=False))
    ]


def layer_partition(model: nn.Module) -> list[list[str]]:
    """Return the partition with one block per layer.

    Args:
        model: the module.

    Returns:
        One list with one layer name per block.
    """
    return [[name] for name in layer_names(model)]


BlockMembers = Iterable[str | nn.Parameter | tuple[str, nn.Parameter]]
"""a block's layers, containers and parameters, by name, or parameters themselves, as parameters() and
named_parameters() give them"""


def make_blocks(
    model: nn.Module, partition: Sequence[BlockMembers], *, partial: bool = False, others: Sequence[Block] = ()
) -> list[Block]:
    """Return the blocks of a partition.

    Args:
        model: the module.
        partition: members of each block: names of layers, the name of a container without parameters of its own for
            all layers in it, names of parameters, or parameters. Frozen parameters are left out.
        partial: whether trainable parameters may be in no block.
        others: blocks that hold parameters already.

    Returns:
        One block per list, in its order; a tied parameter occurs once.

    Raises:
        PartitionError: a trainable parameter is not in exactly one block, or a layer does not exist; the text names it.
        ModelError: the parameters differ in type or device.
    """
    known = layer_names(model)
    first_names = {id(p): name for name, p in model.named_parameters()}  # of a tied parameter, the one that torch uses
    owner = {id(p): (i, name) for i, b in enumerate(others) for name, p in zip(b.names, b.parameters, strict=True)}
    blocks = []
    for index, given in enumerate(partition, len(others)):
        if isinstance(given, str | Tensor):
            what = f"the text {given!r}" if isinstance(given, str) else "one parameter"
            raise PartitionError(f"block {index} is {what}: must be a list of layer names")
        layers = [layer for member in given for layer in _within(known, member, first_names)]
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
        if p.requires_grad and id(p) not in owner and not partial:
            raise PartitionError(
                f"parameter {name!r} is in no block: add its layer to one, or set partial=True to leave it as it is"
            )
    check_types([*others, *blocks])
    return blocks


def _within(known: Sequence[str], member: Any, names: Mapping[int, str]) -> list[str]:
    """Return the layers of a container, or a parameter's name; another name stays."""
    if isinstance(member, tuple) and len(member) == 2 and isinstance(member[1], Tensor):
        member = member[1]
    if isinstance(member, Tensor):
        if id(member) not in names:
            raise PartitionError(f"a parameter of shape {list(member.shape)} is not in the model")
        return [names[id(member)]] if member.requires_grad else []
    if not isinstance(member, str):
        raise PartitionError(f"a block has a {type(member).__name__}: must have names of layers, or parameters")
    inside = [] if member in known else [layer for layer in known if member and layer.startswith(f"{member}.")]
    return inside or [member]


def _trainable(model: nn.Module, known: Sequence[str], layer: str) -> list[tuple[str, nn.Parameter]]:
    if layer in known:
        prefix = f"{layer}." if layer else ""
        own = model.get_submodule(layer).named_parameters(recurse=False)
        return [(prefix + name, p) for name, p in own if p.requires_grad]
    parameter = dict(model.named_parameters(remove_duplicate=False)).get(layer)
    if parameter is None or not parameter.requires_grad:
        raise PartitionError(f"layer {layer!r} is not in the model; its layers are {', '.join(map(repr, known))}")
    return [(layer, parameter)]


def check_types(blocks: Sequence[Block]) -> None:
    """Check type and device of the parameters.

    Args:
        blocks: the blocks.

    Raises:
        ModelError: they differ, or the type is neither float32 nor float64.
    """
    kinds = {(p.dtype, p.device) for block in blocks for p in block.parameters}
    if len(kinds) > 1:
        raise ModelError(f"parameters have several types or devices: {sorted(map(str, kinds))}; use one")
    if kinds and next(iter(kinds))[0] not in {torch.float32, torch.float64}:
        raise ModelError(f"parameters are {next(iter(kinds))[0]}: must be torch.float32 or torch.float64")
