"""`python -m worker`: claims runs from the backend and trains them, until SIGTERM or SIGINT."""

import logging
import os
import platform
import signal
import threading
from contextlib import closing
from types import FrameType

import torch

from backend.client import WorkerClient
from backend.schemas.catalog import WorkerInfo
from backend.settings import from_environment
from worker.agent.local_process import LocalProcessExecutor
from worker.agent.loop import Worker
from worker.problems.registry import discover
from worker.training import device
from worker.training.optimizer_factory import trainable_kinds
from worker.training.probe import update_speeds


def main() -> None:
    """Read the settings and run the worker's loop."""
    logging.basicConfig(level=logging.INFO, format="worker %(levelname)s %(message)s")
    logging.getLogger("httpx").setLevel(logging.WARNING)
    settings = from_environment()
    folder = (settings.home / "data").absolute()
    stopped = threading.Event()
    _stop_on_signals(stopped)
    with WorkerClient.of(settings) as client, closing(LocalProcessExecutor(spare=True)) as executor:
        chosen, registry = device.choose_device("auto"), discover(folder=folder)
        Worker(
            client,
            executor,
            info=WorkerInfo(
                name=f"{platform.node()}:{os.getpid()}",
                device=device.describe(chosen),
                devices=device.available(),
                slots=settings.slots,
                optimizers=trainable_kinds(),
                memory=device.memory(chosen),
                speeds=update_speeds(registry.problems, chosen),
                threads=torch.get_num_threads(),
                versions=device.versions(),
            ),
            catalog=registry.catalog(),
            settings=settings,
            stopped=stopped,
        ).loop()


def _stop_on_signals(stopped: threading.Event) -> None:
    def stop(number: int, frame: FrameType | None) -> None:  # noqa: ARG001 - a signal handler's arguments
        stopped.set()

    signal.signal(signal.SIGTERM, stop)
    signal.signal(signal.SIGINT, stop)


if __name__ == "__main__":
    main()
