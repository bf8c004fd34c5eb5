"""The state of a run in training: everything on which its next update depends, and how to save and restore it."""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from worker.checkpoints.files import Snapshot
from worker.optim import EvaluationAverage
from worker.training import device as devices
from worker.training.optimizer_factory import Optimizer
from worker.training.optimizer_state import from_parts, to_parts
from worker.training.sampling import Sampler
from worker.training.stopping import StoppingRule

NOTE_CHARACTERS = 500


@dataclass
class TrainingState:
    """Network, optimizer, data order and counters of a run.

    Attributes:
        model: the network.
        device: where it is.
        optimizer: with its settings and its solutions.
        sampler: the order of the training images.
        average: mean of the weights for evaluation, if the run asks for one.
        stopping: counts the evaluations without progress.
        updates: number of updates so far.
        seconds: training time so far [s].
        cpu_seconds: processor time of training so far [s]; None after a checkpoint that has none.
        cost: work so far, in gradients.
        data: fingerprints of the training and test images, see `Split.fingerprint`.
    """

    model: nn.Module
    device: torch.device
    optimizer: Optimizer
    sampler: Sampler
    average: EvaluationAverage | None
    stopping: StoppingRule
    updates: int = 0
    seconds: float = 0.0
    cpu_seconds: float | None = 0.0
    cost: float = 0.0
    data: str = ""

    def snapshot(self) -> Snapshot:
        """Return everything on which the next update depends, except the configuration.

        Names of tensors and keys are a file format: checkpoints of version 0.1 have the same. Change them only together
        with `restore`.
        """
        solved, optimizer = to_parts(self.optimizer.state_dict())
        tensors = {
            **_with_prefix("weights", dict(self._named())),
            **_with_prefix("optimizer", solved),
            **_with_prefix("sampler", self.sampler.state_dict()),
            **_with_prefix("average", self._means()),
            **_with_prefix("random", _generators(self.device)),
        }
        document = {
            "updates": self.updates,
            "seconds": self.seconds,
            "cpu_seconds": self.cpu_seconds,
            "cost": self.cost,
            "limits": self.stopping.state_dict(),
            **optimizer,
            "environment": devices.environment(self.device),
            "data": self.data,
        }
        return Snapshot(tensors, document)

    @torch.no_grad()
    def restore(self, snapshot: Snapshot) -> str:
        """Continue from a snapshot.

        Returns:
            A note if later results may differ from those of an uninterrupted run; empty if they are equal bit for bit.

        Raises:
            KeyError, ValueError, RuntimeError: the snapshot has other data, another network or another optimizer. This
                state is unusable then.
        """
        weights, document = _without_prefix("weights", snapshot.tensors), snapshot.document
        if document.get("data", self.data) != self.data:  # the oldest checkpoints have no fingerprint
            raise ValueError("the data set has changed since")
        for name, tensor in self._named():
            tensor.copy_(weights[name])
        self.optimizer.load_state_dict(from_parts(_without_prefix("optimizer", snapshot.tensors), document))
        self.sampler.load_state_dict(_without_prefix("sampler", snapshot.tensors))
        if self.average is not None:
            means = _without_prefix("average", snapshot.tensors)
            self.average.load_state_dict({"decay": self.average.decay, "average": means})
        self.stopping.load_state_dict(document["limits"])
        self.updates, self.seconds, self.cost = document["updates"], document["seconds"], document["cost"]
        self.cpu_seconds = document.get("cpu_seconds")
        _set_generators(_without_prefix("random", snapshot.tensors), self.device)
        return _differences(document, devices.environment(self.device)) or _inexact(document, self.device)

    def weights(self) -> Snapshot:
        """Return the weights by name, and their mean, if there is one, as average.NAME."""
        return Snapshot(dict(self._named()) | _with_prefix("average", self._means()), {"updates": self.updates})

    def _named(self) -> list[tuple[str, Tensor]]:
        return [*self.model.named_parameters(), *self.model.named_buffers()]

    def _means(self) -> dict[str, Tensor]:
        means: dict[str, Tensor] = {} if self.average is None else self.average.state_dict()["average"]
        return means


def _differences(document: dict[str, Any], now: dict[str, str]) -> str:
    """Return a note on what differs between this environment and the checkpoint's; empty if nothing does."""
    then: dict[str, str] = document["environment"]
    changed = [f"{name}: {then.get(name)} before, {now[name]} now" for name in now if then.get(name) != now[name]]
    if not changed:
        return ""
    text = (
        f"continued after update {document['updates']} in another environment: later results may differ in their last "
        f"digits from those of an uninterrupted run ({'; '.join(changed)})"
    )
    return text[:NOTE_CHARACTERS]


def _inexact(document: dict[str, Any], device: torch.device) -> str:
    """Return a note if the device does not round in the same order each time; empty if it does."""
    if device.type != "cuda":
        return ""
    return (
        f"continued after update {document['updates']} on a GPU, which does not add in the same order each time: later "
        "results may differ in their last digits from those of an uninterrupted run"
    )


def _generators(device: torch.device) -> dict[str, Tensor]:
    """Return the states of torch's default generators: a plug-in's network may draw from them."""
    states = {"cpu": torch.get_rng_state()}
    return states | ({"cuda": torch.cuda.get_rng_state(device)} if device.type == "cuda" else {})


def _set_generators(states: dict[str, Tensor], device: torch.device) -> None:
    torch.set_rng_state(states["cpu"])
    if device.type == "cuda" and "cuda" in states:
        torch.cuda.set_rng_state(states["cuda"], device)


def _with_prefix(prefix: str, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    return {f"{prefix}.{name}": tensor for name, tensor in tensors.items()}


def _without_prefix(prefix: str, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    start = f"{prefix}."
    return {name.removeprefix(start): tensor for name, tensor in tensors.items() if name.startswith(start)}
