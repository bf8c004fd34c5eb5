"""Layer sizes from the symbolic dimensions of a catalog, and partitions as lists of layer names; without torch."""

from bisect import bisect_left
from collections import Counter
from collections.abc import Mapping, Sequence
from itertools import accumulate
from math import prod

from backend.errors import FieldError, InvalidInput
from backend.schemas.base import MAX_BLOCKS
from backend.schemas.catalog import DataSet, Dimension, ProblemInfo
from backend.schemas.experiments import OptionValue
from backend.schemas.optimizers import EqualPartition, ExplicitPartition, LayerPartition, Partition


def option_values(info: ProblemInfo, options: Mapping[str, OptionValue]) -> dict[str, OptionValue]:
    """Return every option of a problem: the given values, and defaults for the others."""
    defaults = {
        name: setting["default"] for name, setting in info.options.get("properties", {}).items() if "default" in setting
    }
    return defaults | dict(options)


def layer_sizes(info: ProblemInfo, data: DataSet, options: Mapping[str, OptionValue]) -> dict[str, int]:
    """Count each layer's parameters, in the order of the forward pass.

    A dimension given by name is that option's value, or one of the data set's inputs, classes, channels, height and
    width.

    Raises:
        InvalidInput: a name is neither, or its value is not a size.
    """
    return {name: sum(map(prod, shapes)) for name, shapes in layer_shapes(info, data, options).items()}


def layer_shapes(info: ProblemInfo, data: DataSet, options: Mapping[str, OptionValue]) -> dict[str, list[list[int]]]:
    """Return the shapes of each layer's parameters; dimensions are resolved as in `layer_sizes`."""
    channels, height, width = [*data.shape, 1, 1, 1][:3]
    known: dict[str, OptionValue] = {"channels": channels, "height": height, "width": width}
    known |= {"inputs": data.inputs, "classes": data.classes}
    known |= option_values(info, options)
    return {
        layer.name: [[_size(d, known) for d in shape] for shape in layer.parameters.values()] for layer in info.layers
    }


def _size(dimension: Dimension, known: Mapping[str, OptionValue]) -> int:
    value = known.get(dimension) if isinstance(dimension, str) else dimension
    if isinstance(value, bool | str) or value is None or value != int(value) or value < 0:
        limit = "is the size of a layer, so it must be a whole number"
        raise InvalidInput([FieldError(f"problem.options.{dimension}", value, limit)])
    return int(value)


def expand(partition: Partition, info: ProblemInfo, sizes: Mapping[str, int], *, field: str) -> list[list[str]]:
    """Turn any kind of partition into blocks of layer names.

    Args:
        partition: the partition to resolve.
        info: the problem.
        sizes: parameters of each layer, in the order of the forward pass.
        field: path of the partition in the input, for errors.

    Raises:
        InvalidInput: an explicit partition is invalid, or there would be too many blocks.
    """
    match partition:
        case ExplicitPartition(blocks=blocks):
            check_blocks(blocks, list(sizes), f"{field}.blocks")
            return blocks
        case EqualPartition(count=count):
            if count > len(sizes):
                limit = f"there are only {len(sizes)} layers, so at most {len(sizes)} blocks"
                raise InvalidInput([FieldError(f"{field}.count", count, limit)])
            return equal_blocks(sizes, count)
        case LayerPartition():
            if len(sizes) > MAX_BLOCKS:
                raise InvalidInput([FieldError(field, f"{len(sizes)} blocks", f"at most {MAX_BLOCKS} are allowed")])
            return [[name] for name in sizes]
        case _:
            return info.partition


def equal_blocks(sizes: Mapping[str, int], count: int) -> list[list[str]]:
    """Cut consecutive layers into `count` blocks so that the largest block is as small as possible.

    Of several such cuts, the one whose last block starts earliest is chosen; the layers before it are cut by the same
    rule.
    """
    names = list(sizes)
    total = [0, *accumulate(sizes.values())]
    # largest[i] is the smallest possible largest block of the first i layers, start[k][i] where the last block starts
    largest, start = total, [[0] * len(total)]
    for k in range(1, count):
        best, cut = [total[-1]] * (k + 1), [k] * (k + 1)
        for i in range(k + 1, len(total)):
            size, j = _last_cut(largest, total, k, i)
            best.append(size)
            cut.append(j)
        largest = best
        start.append(cut)
    blocks: list[list[str]] = []
    end = len(names)
    for k in range(count - 1, -1, -1):
        blocks.insert(0, names[start[k][end] : end])
        end = start[k][end]
    return blocks


def _last_cut(largest: Sequence[int], total: Sequence[int], first: int, end: int) -> tuple[int, int]:
    """Find the cut j >= first before `end` with the smallest max(largest[j], size of j to end), and the earliest such.

    largest grows with j and the last block shrinks, so the best cut lies where they meet.
    """
    meet = bisect_left(range(end), True, lo=first, key=lambda j: largest[j] >= total[end] - total[j])
    candidates = [j for j in (meet - 1, meet) if first <= j < end]
    size = min(max(largest[j], total[end] - total[j]) for j in candidates)
    return size, max(first, bisect_left(total, total[end] - size))


def check_blocks(blocks: Sequence[Sequence[str]], layers: Sequence[str], field: str) -> None:
    """Check that each layer is in exactly one block.

    Raises:
        InvalidInput: with every layer that is unknown, repeated or missing.
    """
    allowed = "the layers are " + ", ".join(layers)
    count = Counter(name for block in blocks for name in block)
    errors: list[FieldError] = []
    seen: set[str] = set()
    for b, block in enumerate(blocks):
        for i, name in enumerate(block):
            if name not in layers:
                errors.append(FieldError(f"{field}.{b}.{i}", name, f"no such layer; {allowed}"))
            elif name in seen:
                limit = f"layer {name} is listed {count[name]} times; each layer belongs to exactly one block"
                errors.append(FieldError(f"{field}.{b}.{i}", name, limit))
            seen.add(name)
    missing = [name for name in layers if name not in seen]
    if missing:
        names = ", ".join(missing)
        errors.append(FieldError(field, f"without {names}", f"each layer belongs to exactly one block; {allowed}"))
    if errors:
        raise InvalidInput(errors)
