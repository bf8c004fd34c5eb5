"""An optimizer's state as named tensors and a JSON document, which a checkpoint holds.

A tensor of a parameter's state has the name NUMBER.NAME, as torch numbers the parameters. Other values, such as numbers
and lists of LBFGS, are in the document, with {"tensor": name} in the place of each tensor.
"""

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from backend.errors import RunFailed

_TENSOR = "tensor"


def to_parts(state: Mapping[str, Any]) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Split what `state_dict` returned.

    Returns:
        The tensors by name, and the document with the keys "groups" and, if there are other values, "state".

    Raises:
        RunFailed: a value is neither a tensor, number or text nor made of them.
    """
    tensors: dict[str, Tensor] = {}
    others: dict[str, Any] = {}
    for number, values in state["state"].items():
        for name, value in values.items():
            encoded = _encode(value, f"{number}.{name}", tensors)
            if not isinstance(value, Tensor):
                others[f"{number}.{name}"] = encoded
    groups = _encode(state["param_groups"], "groups", tensors)
    return tensors, {"groups": groups} | ({"state": others} if others else {})


def from_parts(tensors: Mapping[str, Tensor], document: Mapping[str, Any]) -> dict[str, Any]:
    """Return what `load_state_dict` takes.

    Raises:
        KeyError, ValueError: parts are missing, or have other names.
    """
    remaining = dict(tensors)
    groups = _decode(document["groups"], remaining)
    others = {name: _decode(value, remaining) for name, value in document.get("state", {}).items()}
    state: dict[int, dict[str, Any]] = {}
    for path, value in (remaining | others).items():
        number, _, name = path.partition(".")
        state.setdefault(int(number), {})[name] = value
    return {"state": state, "param_groups": groups}


def _encode(value: Any, path: str, tensors: dict[str, Tensor]) -> Any:
    match value:
        case Tensor():
            tensors[path] = value
            return {_TENSOR: path}
        case dict():
            return {name: _encode(inner, f"{path}.{name}", tensors) for name, inner in value.items()}
        case list() | tuple():
            return [_encode(inner, f"{path}.{place}", tensors) for place, inner in enumerate(value)]
        case None | bool() | int() | float() | str():
            return value
    raise RunFailed(
        f"the optimizer's state cannot be saved: {path} is a {type(value).__name__}; it may have tensors, numbers, "
        "texts, and lists and dictionaries of them"
    )


def _decode(value: Any, tensors: dict[str, Tensor]) -> Any:
    """Put each tensor in its place, and remove it from `tensors`."""
    match value:
        case {"tensor": str(path), **rest} if not rest:
            return tensors.pop(path)
        case dict():
            return {name: _decode(inner, tensors) for name, inner in value.items()}
        case list():
            return [_decode(inner, tensors) for inner in value]
    return value
