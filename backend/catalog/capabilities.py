"""Whether the workers that are alive can train a comparison: devices, optimizers and memory."""

from collections.abc import Sequence

from backend.errors import FieldError, InvalidInput
from backend.schemas.catalog import WorkerInfo
from backend.schemas.experiments import ExperimentSpec


def check_device(device: str, workers: Sequence[WorkerInfo]) -> None:
    """Raise InvalidInput if there are workers, and none has the device that is asked for."""
    had = sorted({name for one in workers for name in one.accepted})
    if workers and device not in had:
        limit = f"no worker has this device: choose one of {', '.join(had)}, or start a worker that has it"
        raise InvalidInput([FieldError("device", device, limit)])


def check_optimizers(spec: ExperimentSpec, workers: Sequence[WorkerInfo]) -> None:
    """Raise InvalidInput if a worker, which could claim the runs, cannot train with one of the optimizers."""
    errors = []
    for i, optimizer in enumerate(spec.optimizers):
        lacking = [one.name for one in workers if one.optimizers is not None and optimizer.kind not in one.optimizers]
        if lacking:
            limit = f"the worker {lacking[0]} does not have this optimizer: install its package there, and restart it"
            errors.append(FieldError(f"optimizers.{i}.kind", optimizer.kind, limit))
    if errors:
        raise InvalidInput(errors)


def largest_memory(workers: Sequence[WorkerInfo], device: str) -> int | None:
    """Return the largest memory of the workers; None if a worker reports none or has another kind of device."""
    kind = device.partition(":")[0]
    of_each = [one.memory if kind == "auto" or one.device.startswith(kind) else None for one in workers]
    known = [memory for memory in of_each if memory is not None]
    return max(known) if known and len(known) == len(of_each) else None
