"""Counts the floating-point operations of matrix products as they are dispatched, and refuses random numbers."""

from collections.abc import Callable
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import flop_registry

from worker.optim.errors import ModelError


class Counter(TorchDispatchMode):  # type: ignore[no-untyped-call]  # torch's is not annotated
    """Adds up the counts that torch's own registry has for each operation.

    Args:
        refuse_random: raise ModelError for an operation that draws random numbers, because the function would differ
            between two products.
    """

    def __init__(self, *, refuse_random: bool = False) -> None:
        super().__init__()  # type: ignore[no-untyped-call]  # torch's is not annotated
        self.flops = 0
        self._refuse_random = refuse_random

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        name = func._schema.name.removeprefix("aten::")
        if self._refuse_random and torch.Tag.nondeterministic_seeded in func.tags:
            raise ModelError(
                f"the forward pass draws random numbers ({name}), so it is another function at each pass: "
                "call the model's eval() or remove the dropout"
            )
        result = func(*args, **kwargs)
        count: Callable[..., int] | None = flop_registry.get(func._overloadpacket)
        if count is not None:
            self.flops += count(*args, **kwargs, out_val=result)
        return result


class CountOnce:
    """Context that counts operations the first time, by key.

    Args:
        flops: the counts so far; receives this one.
        key: what is counted, with the shapes that decide its count.
        refuse_random: see `Counter`.
    """

    def __init__(self, flops: dict[Any, int], key: Any, *, refuse_random: bool = False) -> None:
        self._flops, self._key = flops, key
        self._counter = None if key in flops else Counter(refuse_random=refuse_random)

    def __enter__(self) -> None:
        if self._counter is not None:
            self._counter.__enter__()  # type: ignore[no-untyped-call]  # torch's is not annotated

    def __exit__(self, *error: Any) -> None:
        if self._counter is not None:
            self._counter.__exit__(*error)  # type: ignore[no-untyped-call]  # torch's is not annotated
            if error[0] is None:
                self._flops[self._key] = self._counter.flops
