"""The name of a comparison, made from how it differs from its network's presets."""

from collections.abc import Mapping
from typing import Any

from backend.schemas.catalog import ProblemInfo
from backend.schemas.experiments import ExperimentSpec
from backend.schemas.optimizer_registry import OPTIMIZERS
from backend.schemas.optimizers import partition_text
from backend.schemas.run_names import SEPARATOR
from dashboard.ui.setting_text import flatten, short_name, value_text
from dashboard.ui.text import MAX_NAME

UNNAMED = {"name", "seeds", "optimizers", "reproduces"}


def automatic_name(spec: ExperimentSpec, info: ProblemInfo, presets: Mapping[str, ExperimentSpec]) -> str:
    """Return the name of the preset that a comparison equals except for its seeds, or else what differs from its own.

    Args:
        spec: the comparison.
        info: its network.
        presets: all presets by name.
    """
    now, own = _comparable(spec, info), _comparable(info.preset, info)
    for name, preset in presets.items():
        if preset.problem.name == info.name and _comparable(preset, info) == now:
            return name
    parts = [info.title, *_optimizers(now, own), *_shared(now, own)]
    while len(name := SEPARATOR.join(parts)) > MAX_NAME and len(parts) > 1:
        parts.pop()
    return name[:MAX_NAME]


def _comparable(spec: ExperimentSpec, info: ProblemInfo) -> ExperimentSpec:
    """Leave out name, seeds and the options of the network that have their default."""
    defaults = {name: one.get("default") for name, one in info.options.get("properties", {}).items()}
    options = {name: value for name, value in spec.problem.options.items() if value != defaults.get(name)}
    problem = spec.problem.model_copy(update={"options": options})
    return spec.model_copy(update={"name": "", "seeds": [], "problem": problem})


def _optimizers(spec: ExperimentSpec, own: ExperimentSpec) -> list[str]:
    """Write the settings of optimizers that differ from the preset, once if all optimizers have the same values."""
    kinds = list(dict.fromkeys(optimizer.kind for optimizer in spec.optimizers))
    titles = ", ".join(OPTIMIZERS[kind].title for kind in kinds)
    parts = [] if kinds == list(dict.fromkeys(one.kind for one in own.optimizers)) else [titles]
    values = {kind: _values(spec, kind) for kind in kinds}
    defaults = {kind: _values(own, kind) for kind in kinds}
    for name in dict.fromkeys(name for kind in kinds for name in values[kind]):
        texts = {kind: values[kind][name] for kind in kinds if name in values[kind]}
        changed = {kind: text for kind, text in texts.items() if text != defaults[kind].get(name)}
        if changed == texts and len(set(texts.values())) == 1:
            parts.append(f"{_title(name)} {next(iter(texts.values()))}")
        else:
            parts += [f"{OPTIMIZERS[kind].title} {_title(name)} {text}" for kind, text in changed.items()]
    return parts


def _values(spec: ExperimentSpec, kind: str) -> dict[str, str]:
    """Return each setting's values in the optimizers of a kind, as text; the defaults if there is no such optimizer."""
    found = [one for one in spec.optimizers if one.kind == kind] or [OPTIMIZERS[kind](kind=kind)]
    settings = [one.model_dump(mode="json", exclude={"kind"}) for one in found]
    return {name: ", ".join(dict.fromkeys(_text(one[name]) for one in settings)) for name in settings[0]}


def _title(name: str) -> str:
    return "blocks" if name == "partition" else short_name(name)


def _text(value: Any) -> str:
    return partition_text(value) if isinstance(value, dict) else value_text(value)


def _shared(spec: ExperimentSpec, own: ExperimentSpec) -> list[str]:
    now, before = (flatten(one.model_dump(mode="json", exclude=UNNAMED)) for one in (spec, own))
    return [f"{short_name(path)} {value_text(value)}" for path, value in now.items() if value != before.get(path)]
