"""All that changes while a run trains, and how it is kept and restored: what the next update depends on."""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from worker.checkpoints.files import State
from worker.optim import EvaluationAverage
from worker.training import device as devices
from worker.training.optimizer_factory import Optimizer
from worker.training.sampling import Sampler
from worker.training.stopping import Limits

NOTE_CHARACTERS = 500


@dataclass
class Course:
    """A run's network and optimizer on their way: how far they are, and at which cost.

    Attributes:
        seconds: training time so far.
        cpu_seconds: processor time of training so far; None: it went on from a checkpoint that does not tell.
        cost: work so far, in gradients.
        data: names what it trains on and is measured on, see `Split.fingerprint`.
    """

    model: nn.Module
    device: torch.device
    optimizer: Optimizer
    sampler: Sampler
    average: EvaluationAverage | None
    limits: Limits
    updates: int = 0
    seconds: float = 0.0
    cpu_seconds: float | None = 0.0
    cost: float = 0.0
    data: str = ""

    def state(self) -> State:
        """Return all that the next update depends on, beside the configuration."""
        optimizer = self.optimizer.state_dict()
        solved = {f"{i}.{name}": t for i, kept in optimizer["state"].items() for name, t in kept.items()}
        tensors = {
            **_above("weights", dict(self._named())),
            **_above("optimizer", solved),
            **_above("sampler", self.sampler.state_dict()),
            **_above("average", self._means()),
            **_above("random", _generators(self.device)),
        }
        document = {
            "updates": self.updates,
            "seconds": self.seconds,
            "cpu_seconds": self.cpu_seconds,
            "cost": self.cost,
            "limits": self.limits.state_dict(),
            "groups": optimizer["param_groups"],
            "environment": devices.environment(self.device),
            "data": self.data,
        }
        return State(tensors, document)

    @torch.no_grad()
    def restore(self, state: State) -> str:
        """Go on from a state; return what is to be known of that: an empty text where it is bit-exact.

        Raises:
            KeyError, ValueError, RuntimeError: it is of other data, another network or optimizer; this course is spoilt
                then.
        """
        weights, document = _below("weights", state.tensors), state.document
        if document.get("data", self.data) != self.data:
            raise ValueError("the data set has changed since")
        for name, tensor in self._named():
            tensor.copy_(weights[name])
        solved: dict[int, dict[str, Tensor]] = {}
        for name, tensor in _below("optimizer", state.tensors).items():
            number, _, part = name.partition(".")
            solved.setdefault(int(number), {})[part] = tensor
        self.optimizer.load_state_dict({"state": solved, "param_groups": document["groups"]})
        self.sampler.load_state_dict(_below("sampler", state.tensors))
        if self.average is not None:
            means = _below("average", state.tensors)
            self.average.load_state_dict({"decay": self.average.decay, "average": means})
        self.limits.load_state_dict(document["limits"])
        self.updates, self.seconds, self.cost = document["updates"], document["seconds"], document["cost"]
        self.cpu_seconds = document.get("cpu_seconds")
        _set_generators(_below("random", state.tensors), self.device)
        return _differences(document, devices.environment(self.device)) or _inexact(document, self.device)

    def weights(self) -> State:
        """Return the weights by name, and their mean, if one was taken, as average.NAME."""
        return State(dict(self._named()) | _above("average", self._means()), {"updates": self.updates})

    def _named(self) -> list[tuple[str, Tensor]]:
        return [*self.model.named_parameters(), *self.model.named_buffers()]

    def _means(self) -> dict[str, Tensor]:
        means: dict[str, Tensor] = {} if self.average is None else self.average.state_dict()["average"]
        return means


def _differences(document: dict[str, Any], now: dict[str, str]) -> str:
    """Say where the run goes on in another environment than it was left in."""
    then: dict[str, str] = document["environment"]
    changed = [f"{name} {then.get(name)} before, {now[name]} now" for name in now if then.get(name) != now[name]]
    if not changed:
        return ""
    text = (
        f"went on after update {document['updates']} elsewhere, so that later figures may differ in their last digits "
        f"from an uninterrupted run's: {'; '.join(changed)}"
    )
    return text[:NOTE_CHARACTERS]


def _inexact(document: dict[str, Any], device: torch.device) -> str:
    """Say where even the same device may round otherwise the second time."""
    if device.type != "cuda":
        return ""
    return (
        f"went on after update {document['updates']} on a GPU, whose kernels may add in another order each time: later "
        "figures may differ in their last digits from an uninterrupted run's"
    )


def _generators(device: torch.device) -> dict[str, Tensor]:
    """Return the states of torch's default generators, from which a plug-in's network may draw."""
    states = {"cpu": torch.get_rng_state()}
    return states | ({"cuda": torch.cuda.get_rng_state(device)} if device.type == "cuda" else {})


def _set_generators(states: dict[str, Tensor], device: torch.device) -> None:
    torch.set_rng_state(states["cpu"])
    if device.type == "cuda" and "cuda" in states:
        torch.cuda.set_rng_state(states["cuda"], device)


def _above(prefix: str, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    return {f"{prefix}.{name}": tensor for name, tensor in tensors.items()}


def _below(prefix: str, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    start = f"{prefix}."
    return {name.removeprefix(start): tensor for name, tensor in tensors.items() if name.startswith(start)}
