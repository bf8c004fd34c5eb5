"""Hooks that see, and may change, the gradient before the solve: clipping, masks, reduction over processes."""

from collections import OrderedDict
from collections.abc import Callable, Mapping
from typing import Any

from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

GradientHook = Callable[[Any], object]
"""called with the optimizer; while it runs, p.grad of every parameter of the optimizer is its gradient over S_g"""


class GradientHooks:
    """Hooks in the order of their registration."""

    def __init__(self) -> None:
        self._hooks: OrderedDict[int, GradientHook] = OrderedDict()

    def register(self, hook: GradientHook) -> RemovableHandle:
        """Add a hook; the handle's remove() removes it."""
        handle = RemovableHandle(self._hooks)
        self._hooks[handle.id] = hook
        return handle

    def run(self, optimizer: Any, gradients: Callable[[], Mapping[nn.Parameter, Tensor]]) -> None:
        """Call the hooks, where there are any.

        Args:
            optimizer: what the hooks get.
            gradients: () -> for each parameter the tensor with its gradient, which receives the changed one.
        """
        if not self._hooks:
            return
        own = gradients()
        before = [p.grad for p in own]
        try:
            for p, gradient in own.items():
                p.grad = gradient
            for hook in list(self._hooks.values()):
                hook(optimizer)
            for p, gradient in own.items():
                if p.grad is None:
                    gradient.zero_()
                elif p.grad is not gradient:
                    gradient.copy_(p.grad)
        finally:
            for p, grad in zip(own, before, strict=True):
                p.grad = grad
