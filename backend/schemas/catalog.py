"""The catalog: problems and data sets that a worker can train, sent when it registers."""

from typing import Annotated, Any

from pydantic import Field

from backend.schemas.base import Contract, LayerName, Slug
from backend.schemas.experiments import Device, ExperimentSpec

Dimension = int | str


class Layer(Contract):
    """A layer with parameters. A dimension is a number, the name of an option, or the name of a data set's size."""

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
    embedded: bool = Field(description="ships with BlockHF; otherwise downloaded at first use")

    @property
    def inputs(self) -> int:
        """Number of values in one image."""
        size = 1
        for n in self.shape:
            size *= n
        return size


class ProblemInfo(Contract):
    """A problem that the worker can train. The block editor and the form of options follow from it."""

    name: Slug
    title: str
    summary: str
    options: dict[str, Any] = Field(description="JSON schema (of an object) of the problem's options")
    layers: list[Layer] = Field(description="in the order of the forward pass")
    partition: list[list[LayerName]] = Field(description="the problem's own blocks")
    data: list[Slug] = Field(description="data sets it can use")
    accuracy: bool = Field(description="whether test accuracy is measured")
    loss_unit: str
    preset: ExperimentSpec = Field(description="the paper's settings")


class Catalog(Contract):
    """Problems and data sets of a worker."""

    problems: list[ProblemInfo]
    data: list[DataSet]


class WorkerInfo(Contract):
    """Description of a worker."""

    name: str = Field(max_length=200)
    device: str = Field(max_length=200)
    threads: int = Field(ge=1)
    devices: list[Device] = Field([], description="all its devices; empty: the one in `device`, and cpu")
    memory: int | None = Field(None, ge=0, le=2**53, description="memory of the device; null: not reported [bytes]")
    optimizers: list[Slug] | None = Field(None, description="kinds that it can train with; null: not reported")
    speeds: dict[Slug, Annotated[float, Field(gt=0)]] = Field(
        {}, max_length=100, description="by problem: speed of one update, timed at the start [flop/s, all layers dense]"
    )
    slots: int = Field(1, ge=1, description="maximum number of runs at once")
    versions: dict[str, str] = Field({}, description="versions of python, torch and blockhf")

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
