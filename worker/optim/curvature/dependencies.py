"""What a traced model depends on beside inputs and weights, so that a model that was changed is traced again."""

from collections.abc import Mapping
from typing import Any

from torch import Tensor, nn

from worker.optim.curvature.rules.base import factory_of

_OF_TORCH = frozenset(vars(nn.Module()))
"""attributes that every module has"""
_PLAIN = (bool, int, float, str, type(None))
_SMALL = 16
"""entries of a collection up to which each of them is compared"""
_HOOKS = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks")


def has_hooks(module: nn.Module) -> bool:
    """Whether a forward or backward hook is registered at the module itself."""
    return any(getattr(module, name) for name in _HOOKS)


def structure(model: nn.Module) -> tuple[Any, ...]:
    """Return what decides how a model is linearized: its modules with mode, hooks and parameters.

    Args:
        model: the module.

    Returns:
        Values to compare by ==. They hold the modules, so that no other one can have the same identity.
    """
    return tuple(
        (
            module, module.training, has_hooks(module), "forward" in vars(module), tuple(module._modules.items()),
            tuple((name, *_parameter(p)) for name, p in module._parameters.items()),
        )
        for module in model.modules()
    )  # fmt: skip


def attributes(model: nn.Module) -> tuple[Any, ...]:
    """Return the modules' own attributes, which a forward pass may read: plain values, and others by identity.

    Args:
        model: the module.

    Returns:
        Values to compare by ==.
    """
    return tuple(
        (key, _seen(value)) for module in model.modules() for key, value in vars(module).items() if key not in _OF_TORCH
    )


def is_custom(model: nn.Module) -> bool:
    """Whether a forward method that is neither torch's nor covered by a rule may read what no attribute shows."""
    return any(not type(m).__module__.startswith("torch.nn.") and factory_of(type(m)) is None for m in model.modules())


def _parameter(p: Tensor | None) -> tuple[Any, ...]:
    return (None,) if p is None else (id(p), p.requires_grad, bool(p._backward_hooks))


def _seen(value: Any, depth: int = 2) -> Any:
    """Return a plain value, a small collection of seen values, or an identity."""
    if isinstance(value, _PLAIN):
        return value
    if isinstance(value, tuple | list) and depth and len(value) <= _SMALL:
        return tuple(_seen(v, depth - 1) for v in value)
    if isinstance(value, Mapping) and depth and len(value) <= _SMALL:
        return tuple((key, _seen(v, depth - 1)) for key, v in value.items() if isinstance(key, str))
    return id(value)
