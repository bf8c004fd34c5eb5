"""The optimizers: the built-in ones, and those of installed packages.

To add an optimizer: write a subclass of `OptimizerSettings`, add it to `_BUILT_IN` here, and add its factory to
`worker.training.optimizer_factory`. A package does the same by two entry points of the same name:
`blockhf.optimizers` for the class and `blockhf.optimizer_factories` for the factory.
"""

from importlib.metadata import entry_points
from typing import TYPE_CHECKING, Annotated, Union

from pydantic import Field

from backend.schemas.optimizers import Adam, AdamW, BlockHessianFree, HessianFree, OptimizerSettings, Sgd

GROUP = "blockhf.optimizers"
_BUILT_IN: tuple[type[OptimizerSettings], ...] = (Adam, HessianFree, BlockHessianFree, Sgd, AdamW)


def kind_of(optimizer: type[OptimizerSettings]) -> str:
    """Return the name by which specifications choose an optimizer."""
    kind: str = optimizer.model_fields["kind"].default
    return kind


def _discover() -> dict[str, type[OptimizerSettings]]:
    """Return every optimizer by its kind, built-in ones first.

    Raises:
        ValueError: an optimizer of a package has the kind of another optimizer.
    """
    found = {kind_of(optimizer): optimizer for optimizer in _BUILT_IN}
    for entry in sorted(entry_points(group=GROUP), key=lambda entry: entry.name):
        optimizer: type[OptimizerSettings] = entry.load()
        if (kind := kind_of(optimizer)) in found:
            raise ValueError(f"entry point {entry.value}: kind {kind!r} already exists; choose another one")
        found[kind] = optimizer
    return found


OPTIMIZERS = _discover()

if TYPE_CHECKING:
    Optimizer = OptimizerSettings
else:
    Optimizer = Annotated[Union[tuple(OPTIMIZERS.values())], Field(discriminator="kind")]  # noqa: UP007 - of a tuple
