"""A module as a list of operations that have rules, and the paths a block's tangents take through it."""

import inspect
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, fx, nn

from worker.optim.curvature.dependencies import has_hooks

# Imported for their rules.
from worker.optim.curvature.rules import (  # noqa: F401
    addition,
    convolution,
    linear,
    pointwise,
    pooling,
    recurrent_native,
    selection,
    shapes,
)
from worker.optim.curvature.rules.base import Factory, NotCovered, Rule, factory_of
from worker.optim.outputs import Selector, select


@dataclass(frozen=True)
class Operation:
    """One step of the forward pass; `parents`: the steps of its input values, -1 being the model's input."""

    name: str
    factory: Factory
    arguments: tuple[Any, ...]
    options: dict[str, Any]
    parents: tuple[int, ...]
    weights: dict[str, str]
    """local name of a trainable parameter -> its name in the model"""


@dataclass(frozen=True)
class _Value:
    """A place for the value of a step among an operation's arguments."""

    step: int


@dataclass(frozen=True)
class Path:
    """The steps that a tangent reaches from some parameters (or from step `source`) to step `end`.

    Each entry: the step, which of its inputs carry a tangent, local -> full names of its parameters that do.
    Everything else is zero by structure and is never computed.
    """

    end: int
    source: int | None
    steps: tuple[tuple[int, tuple[bool, ...], dict[str, str]], ...]


@dataclass(frozen=True)
class Graph:
    """Operations in the order of the forward pass; the last one gives the outputs."""

    operations: tuple[Operation, ...]

    def forward(self, inputs: Tensor) -> tuple[Tensor, list[Rule], list[torch.Size]]:
        """Return the outputs, and each step's rule and shape of one example; a value is freed after its last use."""
        values = {-1: inputs}
        last = {parent: step for step, op in enumerate(self.operations) for parent in op.parents}
        rules, sizes = [], []

        def fill(argument: Any) -> Any:
            return values[argument.step] if isinstance(argument, _Value) else argument

        with torch.no_grad():
            for step, op in enumerate(self.operations):
                options = {k: fill(v) for k, v in op.options.items()}
                value, rule = op.factory(*map(fill, op.arguments), **options)
                if len(value) != len(inputs):
                    raise NotCovered(f"operation {op.name!r} does not keep the examples in dimension 0")
                values[step] = value
                rules.append(rule)
                sizes.append(value.shape[1:])
                for parent in {parent for parent in op.parents if last[parent] == step}:
                    del values[parent]
        return value, rules, sizes

    def path(self, names: Iterable[str], *, end: int | None = None) -> Path:
        """Return the path from parameters to step `end` (default: the outputs)."""
        return self._path(set(names), None, len(self.operations) - 1 if end is None else end)

    def path_above(self, source: int) -> Path:
        """Return the path from the value of step `source` to the outputs."""
        return self._path(set(), source, len(self.operations) - 1)

    def interfaces(self, names: Iterable[str]) -> list[int]:
        """Return the steps below the outputs through whose single value everything passes on from the parameters."""
        path = self.path(names)
        last = max(index for index, _, weights in path.steps if weights)
        below = {index for index, _, _ in path.steps}
        found = []
        for index in sorted(below):
            later = [i for i in below if i > index]
            alone = all(p >= index or p not in below for i in later for p in self.operations[i].parents)
            if last <= index < path.end and alone:
                found.append(index)
        return found

    def _path(self, names: set[str], source: int | None, end: int) -> Path:
        reached = set() if source is None else {source}
        entries = []
        for index, op in enumerate(self.operations):
            inputs = tuple(p in reached for p in op.parents)
            weights = {local: full for local, full in op.weights.items() if full in names}
            if index != source and (any(inputs) or weights):
                reached.add(index)
                entries.append((index, inputs, weights))
        useful = {end}
        for index, _, _ in reversed(entries):
            if index in useful:
                useful.update(p for p in self.operations[index].parents if p in reached)
        return Path(end, source, tuple(e for e in entries if e[0] in useful))


class _Tracer(fx.Tracer):
    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        return factory_of(type(m)) is not None or super().is_leaf_module(m, module_qualified_name)


def trace(model: nn.Module, selector: Selector = None) -> Graph:
    """Return the module's operations.

    Args:
        model: the module.
        selector: which of its outputs is the last operation's.

    Raises:
        NotCovered: an operation has no rule, or the forward pass cannot be traced; the text says which and why.
    """
    _refuse_changes(model)
    if factory_of(type(model)) is not None:
        model = nn.Sequential(model)
        return _renamed(trace(model, selector))
    try:
        nodes = list(_Tracer().trace(model).nodes)
    except Exception as error:  # fx raises whatever a forward method that it cannot follow happens to raise
        raise NotCovered(f"the forward pass of {type(model).__name__} cannot be traced: {error}") from error
    return _graph(model, nodes, selector)


def _graph(model: nn.Module, nodes: Sequence[fx.Node], selector: Selector) -> Graph:
    steps: dict[fx.Node, int] = {}
    operations: list[Operation] = []
    owned: list[str] = []
    for node in nodes:
        if node.op == "placeholder":
            if steps:
                raise NotCovered("the forward pass takes more than one argument")
            steps[node] = -1
        elif node.op == "output":
            result = _selected(node.args[0], selector)
            if not isinstance(result, fx.Node) or steps[result] != len(operations) - 1:
                raise NotCovered("the forward pass does not end with the one tensor it returns")
        else:
            operations.append(_operation(model, node, steps))
            steps[node] = len(operations) - 1
            owned += operations[-1].weights.values()
    if len(set(owned)) < len(owned) or len(dict(model.named_parameters(remove_duplicate=False))) > len(
        dict(model.named_parameters())
    ):
        raise NotCovered("a parameter is used more than once")
    return Graph(tuple(operations))


def _selected(result: Any, selector: Selector) -> Any:
    if isinstance(selector, str | int) and isinstance(result, dict | tuple | list):
        return select(result, selector)
    return result if selector is None else None


def _operation(model: nn.Module, node: fx.Node, steps: dict[fx.Node, int]) -> Operation:
    place: Any = lambda n: _Value(steps[n])  # noqa: E731 - fx's annotation leaves out that anything may take the place
    arguments: Any = fx.map_arg(node.args, place)
    options: Any = fx.map_arg(dict(node.kwargs), place)
    weights: dict[str, str] = {}
    target: Any = node.target
    if node.op == "call_module":
        module = model.get_submodule(target)
        target = type(module)
        arguments = (module, *arguments)
        weights = {
            name: f"{node.target}.{name}" for name, p in module.named_parameters(recurse=False) if p.requires_grad
        }
    factory = factory_of(target)
    if factory is None or node.op == "get_attr":
        raise NotCovered(f"no rule for {node.name!r} ({getattr(target, '__name__', target)})")
    try:
        inspect.signature(factory).bind(*arguments, **options)
    except TypeError as error:
        raise NotCovered(f"the rule for {node.name!r} does not know how it is called: {error}") from error
    values = [a for a in (*arguments, *options.values()) if isinstance(a, _Value)]
    if len(values) != len(node.all_input_nodes):
        raise NotCovered(f"{node.name!r} has inputs in a form that no rule supports")
    return Operation(node.name, factory, arguments, options, tuple(v.step for v in values), weights)


def _renamed(graph: Graph) -> Graph:
    """Drop the prefix that a single layer got from the Sequential around it."""
    ops = [
        Operation(
            op.name,
            op.factory,
            op.arguments,
            op.options,
            op.parents,
            {k: v.removeprefix("0.") for k, v in op.weights.items()},
        )
        for op in graph.operations
    ]
    return Graph(tuple(ops))


def _refuse_changes(model: nn.Module) -> None:
    """Raise NotCovered where tracing would not see that a module does something else than its class."""
    for name, module in model.named_modules():
        if has_hooks(module):
            raise NotCovered(f"layer {name!r} has hooks")
        if "forward" in vars(module):
            raise NotCovered(f"the forward method of layer {name!r} was replaced")
    for name, parameter in model.named_parameters():
        if parameter._backward_hooks:
            raise NotCovered(f"parameter {name!r} has a gradient hook")
