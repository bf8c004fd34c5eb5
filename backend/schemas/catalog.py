"""What a worker can do: it announces its problems and data sets when it registers."""

from typing import Any

from pydantic import Field

from backend.schemas.base import Contract, LayerName, Slug
from backend.schemas.experiments import Device, ExperimentSpec

Dimension = int | str


class Layer(Contract):
    """A layer with parameters. A dimension given as a name is that option's value, or a size of the data set."""

    name: LayerName
    parameters: dict[str, list[Dimension]] = Field(description="shape of each parameter tensor")


class DataSet(Contract):
    """A data set the worker can load."""

    name: Slug
    title: str
    train_size: int = Field(ge=1, description="images")
    test_size: int = Field(ge=1, description="images")
    shape: list[int] = Field(description="channels, height, width of one image")
    classes: int = Field(ge=0)
    embedded: bool = Field(description="ships with BlockHF; otherwise fetched at first use")

    @property
    def inputs(self) -> int:
        """Numbers in one image."""
        size = 1
        for n in self.shape:
            size *= n
        return size


class ProblemInfo(Contract):
    """A problem the worker can train; the block editor and the options' form are drawn from it."""

    name: Slug
    title: str
    summary: str
    options: dict[str, Any] = Field(description="JSON schema of the problem's options (an object's)")
    layers: list[Layer] = Field(description="in the order of the forward pass")
    partition: list[list[LayerName]] = Field(description="the problem's own blocks")
    data: list[Slug] = Field(description="data sets it can use")
    accuracy: bool = Field(description="whether a test accuracy exists")
    loss_unit: str
    preset: ExperimentSpec = Field(description="the paper's settings")


class Catalog(Contract):
    """What a worker announces when it registers."""

    problems: list[ProblemInfo]
    data: list[DataSet]


class WorkerInfo(Contract):
    """Who a worker is."""

    name: str = Field(max_length=200)
    device: str = Field(max_length=200)
    threads: int = Field(ge=1)
    devices: list[Device] = Field([], description="every device it has; empty: that of `device` and cpu")
    memory: int | None = Field(None, ge=0, le=2**53, description="of the device; null: not reported [bytes]")
    slots: int = Field(1, ge=1, description="runs that it holds at most at once")
    versions: dict[str, str] = Field({}, description="of python, torch, blockhf")

    @property
    def gpus(self) -> list[str]:
        """Its GPUs: cuda:0 and so on. An earlier version reports one in the text `device`."""
        name = self.device.partition(" ")[0]
        return [d for d in self.devices if d != "cpu"] or ([name] if name.startswith("cuda:") else [])

    @property
    def kind(self) -> str:
        """Kind of the device that runs with `auto` get."""
        return "cuda" if self.gpus else "cpu"

    @property
    def accepted(self) -> set[str]:
        """The values of a run's `device` that it can train."""
        return {"auto", "cpu", *self.gpus} | ({"cuda"} if self.gpus else set())
