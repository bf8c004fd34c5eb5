"""Validation of a comparison against the catalog of the workers."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from math import prod
from typing import Annotated, Any

from jsonschema import Draft202012Validator
from jsonschema.exceptions import SchemaError, ValidationError
from jsonschema.validators import extend
from pydantic import StringConstraints, TypeAdapter
from pydantic import ValidationError as PatternMismatch
from pydantic_core import SchemaError as PatternError
from referencing import Registry
from referencing.exceptions import Unresolvable

from backend.catalog.partitions import check_blocks, expand, layer_shapes, layer_sizes, option_values
from backend.errors import FieldError, InvalidInput
from backend.schemas.api import BlockPlan, Plan, RunPlan
from backend.schemas.catalog import Catalog, DataSet, ProblemInfo
from backend.schemas.experiments import ExperimentSpec, Problem
from backend.schemas.optimizer_registry import Optimizer
from backend.schemas.optimizers import BlockHessianFree

MAX_PARAMETERS = 200_000_000
_MAX_EXACT = 2**53
MAX_SCHEMA_PARTS = 2000
"""Maximum number of keywords and list items in the JSON schema of a problem's options."""
_REFUSED = {"patternProperties", "propertyNames", "$dynamicRef", "$recursiveRef", "unevaluatedProperties"}
_REFUSED_IN_DEFINITIONS = {"$ref", "allOf", "anyOf", "oneOf", "not", "if", "dependentSchemas"}
"""Definitions that refer to others can need a time that grows exponentially with their number."""


def plan(spec: ExperimentSpec, catalog: Catalog, memory: int | None = None) -> Plan:
    """Return the runs that a comparison would queue.

    Args:
        spec: the comparison.
        catalog: what the workers can train.
        memory: memory of the largest worker [bytes]; None: unknown.

    Raises:
        InvalidInput: with every reason why the comparison cannot be queued.
    """
    info, data = _problem(spec, catalog)
    errors = [*_option_errors(spec, info), *_size_errors(spec, data)]
    if errors:
        raise InvalidInput(errors)
    sizes = layer_sizes(info, data, spec.problem.options)
    total = sum(sizes.values())
    if total > MAX_PARAMETERS:
        raise InvalidInput([_too_large(spec, info, total)])
    needs = _memory_needs(spec, layer_shapes(info, data, spec.problem.options))
    if memory is not None and (errors := list(_memory_errors(spec, needs, memory))):
        raise InvalidInput(errors)
    blocks = _blocks(spec.optimizers, info, sizes)
    plans = [[BlockPlan(layers=b, parameters=sum(sizes[n] for n in b)) for b in of_one] for of_one in blocks]
    labels = [_label(optimizer, of_one) for optimizer, of_one in zip(spec.optimizers, blocks, strict=True)]
    return Plan(
        runs=[
            RunPlan(label=f"{label}, seed {seed}", blocks=of_one, memory=needed)
            for seed in spec.seeds
            for label, of_one, (_, needed) in zip(labels, plans, needs, strict=True)
        ],
        total=total,
    )


def check_catalog(catalog: Catalog) -> None:
    """Check that everything in a catalog can be queued.

    Raises:
        InvalidInput: with every entry that cannot.
    """
    data = {d.name: d for d in catalog.data}
    errors: list[FieldError] = []
    for i, info in enumerate(catalog.problems):
        at = f"catalog.problems.{i}"
        refused = next(_refused_parts(info.options), None)
        if refused is not None:
            errors.append(FieldError(f"{at}.options", info.name, refused))
            continue
        try:
            Draft202012Validator.check_schema(info.options)
            for name, setting in info.options.get("properties", {}).items():
                list(_validator(info, name).iter_errors(setting.get("default") if isinstance(setting, dict) else None))
        except (SchemaError, PatternError, Unresolvable, RecursionError) as error:
            errors.append(FieldError(f"{at}.options", info.name, f"not a JSON schema: {str(error)[:300]}"))
            continue
        for name in info.data:
            if name not in data:
                errors.append(FieldError(f"{at}.data", name, "the catalog does not describe this data set"))
                continue
            try:
                sizes = layer_sizes(info, data[name], {})
                check_blocks(info.partition, list(sizes), field=f"{at}.partition")
            except InvalidInput as error:
                errors += error.errors
    if errors:
        raise InvalidInput(errors)


def _problem(spec: ExperimentSpec, catalog: Catalog) -> tuple[ProblemInfo, DataSet]:
    problems = {p.name: p for p in catalog.problems}
    data = {d.name: d for d in catalog.data}
    choice = spec.problem
    if choice.name not in problems:
        raise InvalidInput([_unknown("problem.name", choice.name, "problem", problems)])
    info = problems[choice.name]
    usable = [name for name in info.data if name in data]
    if choice.data not in usable:
        raise InvalidInput([_unknown("problem.data", choice.data, f"data set of {info.name}", usable)])
    return info, data[choice.data]


def _unknown(field: str, value: str, kind: str, allowed: Iterable[str]) -> FieldError:
    return FieldError(field, value, f"no such {kind}; there are {', '.join(allowed) or 'none'}")


def _option_errors(spec: ExperimentSpec, info: ProblemInfo) -> Iterable[FieldError]:
    known = info.options.get("properties", {})
    given = spec.problem.options
    for name, value in given.items():
        if name not in known:
            yield _unknown(f"problem.options.{name}", str(value), f"option of {info.name}", known)
        elif isinstance(value, int | float) and abs(value) > _MAX_EXACT:
            yield FieldError(f"problem.options.{name}", str(value), f"must be between -{_MAX_EXACT} and {_MAX_EXACT}")
        else:
            for error in _validator(info, name).iter_errors(value):
                yield FieldError(f"problem.options.{name}", value, error.message[:300])
    for name in info.options.get("required", []):
        if name not in given:
            yield FieldError(f"problem.options.{name}", None, "this option has no default: set a value")


def _pattern(_validator: Any, pattern: str, value: object, _schema: Any) -> Iterator[ValidationError]:
    """Match a pattern with pydantic's engine, whose time is linear: Python's can need years for 60 characters."""
    if isinstance(value, str):
        try:
            TypeAdapter(Annotated[str, StringConstraints(pattern=pattern)]).validate_python(value)
        except PatternMismatch:
            yield ValidationError(f"{value!r} does not match {pattern!r}")


_OptionValidator = extend(Draft202012Validator, {"pattern": _pattern})  # type: ignore[no-untyped-call]


def _validator(info: ProblemInfo, name: str) -> Any:
    """Return a validator of one option, so that errors name it. The empty registry prevents downloads of references."""
    schema = {"$defs": info.options.get("$defs", {}), "allOf": [info.options["properties"][name]]}
    return _OptionValidator(schema, registry=Registry())


def _refused_parts(options: dict[str, Any]) -> Iterator[str]:
    """Return what makes the options' schema too costly to validate against."""
    parts = 0
    pending: list[tuple[Any, bool]] = [(options, False)]
    while pending:
        value, in_definitions = pending.pop()
        parts += len(value)
        if parts > MAX_SCHEMA_PARTS:
            yield f"the schema may have at most {MAX_SCHEMA_PARTS} keywords and list items"
            return
        if isinstance(value, dict):
            refused = _REFUSED | (_REFUSED_IN_DEFINITIONS if in_definitions else set())
            if found := sorted(refused & value.keys()):
                yield f"the keyword {found[0]} is not allowed {'in definitions' if in_definitions else 'in options'}"
            items = [(one, in_definitions or name in {"$defs", "definitions"}) for name, one in value.items()]
        else:
            items = [(one, in_definitions) for one in value]
        pending += [(one, inside) for one, inside in items if isinstance(one, dict | list)]


def _size_errors(spec: ExperimentSpec, data: DataSet) -> Iterable[FieldError]:
    choice = spec.problem
    for name, value, size in [
        ("train_size", choice.train_size, data.train_size),
        ("test_size", choice.test_size, data.test_size),
    ]:
        if value is not None and value > size:
            yield FieldError(f"problem.{name}", value, f"at most {size}, the size of {data.name}")
    train = min(choice.train_size or data.train_size, data.train_size)
    if spec.evaluation.train_subset > train:
        limit = f"at most {train}, the number of training images"
        yield FieldError("evaluation.train_subset", spec.evaluation.train_subset, limit)
    for i, optimizer in enumerate(spec.optimizers):
        if optimizer.gradient_batch > train:
            limit = f"at most {train}, the number of training images"
            yield FieldError(f"optimizers.{i}.gradient_batch", optimizer.gradient_batch, limit)


def _memory_needs(spec: ExperimentSpec, shapes: Mapping[str, Sequence[Sequence[int]]]) -> list[tuple[str, int]]:
    """Return, for each optimizer, the setting that decides how much memory it needs at least, and how much [bytes].

    The bound counts the vectors and layer outputs of `OptimizerSettings.memory`. A layer has at least one output per
    row of its matrices and example, even if it has only one time step or pixel.
    """
    each = 8 if spec.precision == "float64" else 4
    weights = each * sum(prod(shape) for of_layer in shapes.values() for shape in of_layer)
    outputs = sum(max((shape[0] for shape in of_layer if len(shape) > 1), default=0) for of_layer in shapes.values())
    return [optimizer.memory(weights, each * outputs) for optimizer in spec.optimizers]


def _memory_errors(spec: ExperimentSpec, needs: Sequence[tuple[str, int]], memory: int) -> Iterable[FieldError]:
    """Refuse what cannot fit even if nothing but what `OptimizerSettings.memory` names is held."""
    for i, (optimizer, (field, needed)) in enumerate(zip(spec.optimizers, needs, strict=True)):
        if needed > memory:
            limit = f"needs at least {needed / 1e9:.1f} GB, and no worker has more than {memory / 1e9:.1f} GB"
            yield FieldError(f"optimizers.{i}.{field}", getattr(optimizer, field), limit)


def _too_large(spec: ExperimentSpec, info: ProblemInfo, total: int) -> FieldError:
    """Return an error for the option with the largest layer dimension."""
    values = option_values(info, spec.problem.options)
    names = {d for layer in info.layers for shape in layer.parameters.values() for d in shape if isinstance(d, str)}
    sizes = {name: value for name, value in values.items() if name in names and isinstance(value, int | float)}
    limit = f"makes {total:,} parameters; at most {MAX_PARAMETERS:,} are allowed"
    if not sizes:
        return FieldError("problem.name", info.name, limit)
    largest = max(sizes, key=lambda name: sizes[name])
    return FieldError(f"problem.options.{largest}", sizes[largest], limit)


def resolve_blocks(optimizer: Optimizer, problem: Problem, catalog: Catalog) -> list[list[str]]:
    """Return the layers of each block of an optimizer; none if it has no blocks."""
    info = next(info for info in catalog.problems if info.name == problem.name)
    data = next(data for data in catalog.data if data.name == problem.data)
    [blocks] = _blocks([optimizer], info, layer_sizes(info, data, problem.options))
    return blocks


def _blocks(optimizers: Sequence[Optimizer], info: ProblemInfo, sizes: dict[str, int]) -> list[list[list[str]]]:
    """Return each optimizer's blocks; raise InvalidInput if some are invalid."""
    found: list[list[list[str]]] = []
    errors: list[FieldError] = []
    for i, optimizer in enumerate(optimizers):
        try:
            partition = optimizer.blocks
            found.append([] if partition is None else expand(partition, info, sizes, field=f"optimizers.{i}.partition"))
        except InvalidInput as error:
            errors += error.errors
        else:
            errors += _damping_errors(optimizer, i, len(found[-1]))
    if errors:
        raise InvalidInput(errors)
    return found


def _damping_errors(optimizer: Optimizer, i: int, count: int) -> Iterable[FieldError]:
    given = optimizer.block_damping if isinstance(optimizer, BlockHessianFree) else []
    if len(given) not in {0, count}:
        limit = f"must have one number per block: {count}, not {len(given)}"
        yield FieldError(f"optimizers.{i}.block_damping", given, limit)


def _label(optimizer: Optimizer, blocks: list[list[str]]) -> str:
    return f"{optimizer.title}, {len(blocks)} blocks" if optimizer.has_blocks else optimizer.title
