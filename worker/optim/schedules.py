"""Learning rate schedulers of torch for any number in `param_groups`."""

from collections.abc import Iterator, MutableMapping
from numbers import Number
from typing import Any

from torch import Tensor
from torch.optim import Optimizer

from worker.optim.settings import INTEGERS


class ScheduledValue(Optimizer):
    """An optimizer's groups, with another value than the learning rate under "lr".

    `torch.optim.lr_scheduler.ExponentialLR(ScheduledValue(optimizer, "damping"), 0.9)` changes the damping as that
    scheduler would change the learning rate. `max_cg_iterations` is rounded. What the scheduler stores in the
    groups, as "initial_lr", gets a name of its own, such as "initial_damping". The values are part of the optimizer's
    `state_dict`; save the scheduler's own too.

    Args:
        optimizer: any optimizer of torch; its own `step` is called as before.
        name: key in `param_groups` of a number.

    Raises:
        ValueError: a group has no number of this name.
    """

    def __init__(self, optimizer: Optimizer, name: str) -> None:  # no super(): this holds neither parameters nor state
        for group in optimizer.param_groups:
            if not _is_number(group.get(name)):
                numbers = ", ".join(sorted(key for key, value in group.items() if _is_number(value)))
                raise ValueError(f"{name!r} is no number of the optimizer's groups: must be one of {numbers}")
        self._optimizer, self._name = optimizer, name
        self.defaults = dict(optimizer.defaults)
        self._opt_called = True  # the order of the two steps is checked by the learning rate's own scheduler

    @property
    def param_groups(self) -> list[Any]:  # type: ignore[override]  # the present groups, which a loaded state replaces
        """The groups with the value as "lr"."""
        return [_Group(group, self._name) for group in self._optimizer.param_groups]

    def step(self, closure: Any = None) -> None:  # type: ignore[override]  # noqa: ARG002 - never called
        """Not available.

        Raises:
            RuntimeError: always.
        """
        raise RuntimeError("a ScheduledValue is only for schedulers: call the optimizer's own step")


class _Group(MutableMapping[str, Any]):
    """A group of which "lr" is another value."""

    def __init__(self, group: dict[str, Any], name: str) -> None:
        self._group, self._name = group, name

    def _key(self, key: str) -> str:
        return key.removesuffix("lr") + self._name if key in {"lr", "initial_lr", "max_lr", "min_lr"} else key

    def __getitem__(self, key: str) -> Any:
        return self._group[self._key(key)]

    def __setitem__(self, key: str, value: Any) -> None:
        own = self._key(key)
        self._group[own] = round(value) if own in INTEGERS else value

    def __delitem__(self, key: str) -> None:
        del self._group[self._key(key)]

    def __iter__(self) -> Iterator[str]:
        return iter(self._group)

    def __len__(self) -> int:
        return len(self._group)


def _is_number(value: Any) -> bool:
    return not isinstance(value, bool) and (
        isinstance(value, Number) or (isinstance(value, Tensor) and value.dim() == 0)
    )
