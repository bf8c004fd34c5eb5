"""The optimizers: the built-in ones, and those of installed packages.

To add an optimizer: write a subclass of `OptimizerSettings`, add it to `_BUILT_IN` here, and add its factory to
`worker.training.optimizer_factory`. A package does the same by two entry points whose name is the optimizer's kind:
`blockhf.optimizers` for the class and `blockhf.optimizer_factories` for the factory.
"""

import logging
from collections.abc import Iterable, Mapping
from importlib.metadata import EntryPoint, entry_points
from typing import TYPE_CHECKING, Annotated, Any, Literal, Union, get_origin

from pydantic import BeforeValidator, ConfigDict, Field, TypeAdapter, field_validator

from backend.schemas.base import Slug, setting
from backend.schemas.optimizers import Adam, AdamW, BlockHessianFree, Colour, HessianFree, OptimizerSettings, Sgd

log = logging.getLogger(__name__)

GROUP = "blockhf.optimizers"
_BUILT_IN: tuple[type[OptimizerSettings], ...] = (Adam, HessianFree, BlockHessianFree, Sgd, AdamW)
_TEXTS = ("title", "long_title", "summary")


def kind_of(optimizer: type[OptimizerSettings]) -> str:
    """Return the name by which specifications choose an optimizer."""
    kind: str = optimizer.model_fields["kind"].default
    return kind


def discover(points: Iterable[EntryPoint]) -> tuple[dict[str, type[OptimizerSettings]], dict[str, str]]:
    """Return every optimizer by its kind, built-in ones first, and why those of other entry points were skipped.

    An entry point that fails is logged, and hurts no other: neither its errors nor its settings reach them. A built-in
    optimizer is never replaced. Of two packages with the same kind, neither can be meant, so both are skipped.

    Args:
        points: entry points of the group `blockhf.optimizers`.
    """
    found, failures = {kind_of(optimizer): optimizer for optimizer in _BUILT_IN}, {}
    by_name: dict[str, list[EntryPoint]] = {}
    for point in points:
        by_name.setdefault(point.name, []).append(point)
    for name, of_name in sorted(by_name.items()):
        values = sorted({point.value for point in of_name})
        try:
            if name in found:
                raise ValueError("the name is that of an optimizer of BlockHF; choose another one")
            if len(values) > 1:
                raise ValueError("several packages use this name; uninstall all but one")
            found[name] = _checked(name, of_name[0].load())
        except Exception as error:
            reason = f"{type(error).__name__}: {error}"
            log.warning("skipped the optimizer %s (%s): %s", name, ", ".join(values), reason)
            failures[name] = f"the entry point {', '.join(values)} failed: {reason}"
    return found, failures


def _checked(name: str, optimizer: Any) -> type[OptimizerSettings]:
    """Return an optimizer's class if forms, charts and specifications can use it.

    Raises:
        TypeError: it is not a subclass of OptimizerSettings, or one of its attributes is missing or has another type.
        ValueError: its kind is not the entry point's name.
    """
    if not (isinstance(optimizer, type) and issubclass(optimizer, OptimizerSettings)):
        raise TypeError("it is not a subclass of OptimizerSettings")
    TypeAdapter(Slug).validate_python(name)
    kind = optimizer.model_fields["kind"]
    if kind.default != name or get_origin(kind.annotation) is not Literal:
        raise ValueError(f'its field kind must be declared as: kind: Literal["{name}"] = "{name}"')
    if missing := [text for text in _TEXTS if not isinstance(getattr(optimizer, text, None), str)]:
        raise TypeError(f"{missing[0]} must be a text")
    if not isinstance(getattr(optimizer, "colour", None), Colour):
        raise TypeError("colour must be a Colour(light, dark)")
    if not isinstance(getattr(optimizer, "vectors", None), int):
        raise TypeError("vectors must be an integer")
    if required := [setting for setting, field in optimizer.model_fields.items() if field.is_required()]:
        raise TypeError(f"the setting {required[0]} needs a default")
    optimizer.model_json_schema()  # forms and the API read it
    return optimizer


OPTIMIZERS, FAILURES = discover(entry_points(group=GROUP))
"""The optimizers by kind; and for other names why their entry point was skipped."""


def _refuse_failed(value: Any) -> Any:
    """Refuse an optimizer whose entry point failed, with the reason; pydantic refuses other unknown kinds."""
    kind = value.get("kind") if isinstance(value, Mapping) else None
    if isinstance(kind, str) and kind in FAILURES and kind not in OPTIMIZERS:
        raise ValueError(FAILURES[kind])
    return value


class UnavailableOptimizer(OptimizerSettings):
    """The optimizer of a stored run whose package was removed, fails, or no longer accepts the settings.

    It can be shown and exported with its settings, but not trained.
    """

    title = "Unavailable optimizer"
    long_title = "Optimizer that is not installed"
    summary = "Its package is not installed here, or failed to load."
    colour = Colour("#666666", "#aaaaaa")
    vectors = 2

    model_config = ConfigDict(extra="allow")

    kind: Slug
    # its package may have other bounds
    learning_rate: float = setting(0.01, "step size")
    gradient_batch: int = setting(1000, "images per gradient (S_g)", unit="images")

    @field_validator("kind")
    @classmethod
    def _is_of_a_package(cls, value: str) -> str:
        if value in {kind_of(optimizer) for optimizer in _BUILT_IN}:
            raise ValueError("the optimizers of BlockHF are always available")
        return value


def optimizer_class(kind: str) -> type[OptimizerSettings]:
    """Return the optimizer of a kind that a stored run has."""
    return OPTIMIZERS.get(kind, UnavailableOptimizer)


if TYPE_CHECKING:
    Optimizer = OptimizerSettings
    StoredOptimizer = OptimizerSettings
else:
    Optimizer = Annotated[
        Union[tuple(OPTIMIZERS.values())],  # noqa: UP007 - of a tuple
        Field(discriminator="kind"),
        BeforeValidator(_refuse_failed),
    ]
    StoredOptimizer = Annotated[Optimizer | UnavailableOptimizer, Field(union_mode="left_to_right")]
