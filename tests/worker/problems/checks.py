"""What every problem is held to: its catalog entry, its curvature, and a short training with each optimizer."""

import copy
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from backend.schemas.catalog import DataSet, Dimension
from backend.schemas.experiments import Budget, Evaluation, RunConfig
from backend.schemas.experiments import Problem as ProblemChoice
from backend.schemas.optimizer_registry import Optimizer
from backend.schemas.optimizers import Adam, BlockHessianFree, HessianFree
from backend.schemas.runs import RunStatus
from tests.worker.cases import NOWHERE, Rows, planned_blocks
from tests.worker.optim.reference import Dense
from worker.optim import BlockHessianFree as Engine
from worker.optim import layer_names
from worker.optim.blocks import make_blocks
from worker.optim.curvature.autograd_model import AutogradModel
from worker.optim.curvature.traced_model import TracedModel
from worker.problems.data import Dataset, DataSource
from worker.problems.problem import Problem, layers_of
from worker.problems.registry import Registry
from worker.training.trainer import train

CURVATURE = 4
SECOND_ORDER: dict[str, Any] = {
    "gradient_batch": 100, "curvature_batch": 50, "learning_rate": 0.5, "damping": 0.1, "max_cg_iterations": 5,
}  # fmt: skip
OPTIMIZERS: dict[str, Optimizer] = {
    "adam": Adam(gradient_batch=100, learning_rate=0.01),
    "hf": HessianFree(**SECOND_ORDER),
    "bhf": BlockHessianFree(**SECOND_ORDER),
}


def data_set(shape: list[int], classes: int = 10) -> DataSet:
    """Describe a data set of this shape."""
    return DataSet(name="x", title="", train_size=1, test_size=1, shape=shape, classes=classes, embedded=False)


def check_layers(problem: Problem, options: dict[str, Any], data: DataSet) -> None:
    """Compare the layers announced by names, with these options, with the network's, in shapes and order."""
    chosen = problem.options(**options)
    sizes = dict(zip(("channels", "height", "width"), data.shape, strict=True)) | {"classes": data.classes}
    values = sizes | {"inputs": data.inputs} | chosen.model_dump()

    def number(dimension: Dimension) -> int:
        return int(values[dimension]) if isinstance(dimension, str) else dimension

    announced = {
        layer.name: {key: [number(d) for d in dims] for key, dims in layer.parameters.items()}
        for layer in problem.layers(data)
    }
    built = {layer.name: layer.parameters for layer in layers_of(problem.build(chosen, data))}
    assert announced == built
    assert list(announced) == list(built)
    assert [name for block in problem.partition for name in block] == list(built)


def check_curvature(problem: Problem, model: nn.Module, images: Tensor, labels: Tensor) -> None:
    """Compare gradient and block products by rules with the dense matrix and with double backward, in float64.

    Every operation has a rule: otherwise the rules' model cannot be made.
    """
    model = model.double()
    inputs, targets = problem.inputs(images.double()), problem.targets(images, labels)
    dense = Dense.of(model, problem.loss, inputs, targets, curvature_batch=CURVATURE)
    traced, autograd = TracedModel(model, problem.loss), AutogradModel(model, problem.loss, "")
    with torch.no_grad():
        traced.check(inputs)
        for partition in (problem.partition, [layer_names(model)]):
            blocks = make_blocks(model, partition)
            batches = [source.linearize(inputs, targets).narrow(CURVATURE, blocks) for source in (traced, autograd)]
            for block in blocks:
                at = dense.indices(model, block.layers)
                vector = torch.rand(block.size, dtype=torch.float64)
                for batch in batches:
                    out = torch.full_like(vector, torch.nan)
                    batch.product(block, vector, out)
                    torch.testing.assert_close(out, dense.matrix[at][:, at] @ vector, rtol=1e-10, atol=1e-10)
        (every,) = make_blocks(model, [layer_names(model)])
        gradient = torch.full_like(every.vector(), torch.nan)
        traced.linearize(inputs, targets).gradient(every.views(gradient))
        expected = dense.gradient[dense.indices(model, every.layers)]
        torch.testing.assert_close(gradient, expected, rtol=1e-10, atol=1e-10)


def check_methods(problem: Problem, model: nn.Module, images: Tensor, labels: Tensor, methods: Sequence[str]) -> None:
    """Compare the weights after two updates (the second one warm) by each method with those by double backward."""
    inputs, targets = problem.inputs(images.double()), problem.targets(images, labels)
    found = {}
    for method in ("autograd", *methods):
        trained = copy.deepcopy(model).double()
        optimizer = Engine(
            trained,
            problem.loss,
            problem.partition,
            curvature_batch=CURVATURE,
            damping=0.1,
            max_cg_iterations=4,
            product_method=method,
        )
        for _ in range(2):
            result = optimizer.step(inputs, targets)
        assert method in {block.product_method for block in result.blocks}
        found[method] = torch.cat([p.detach().flatten() for p in trained.parameters()])
    for method in methods:
        torch.testing.assert_close(found[method], found["autograd"], rtol=1e-9, atol=1e-9)


def training_losses(problem: Problem, data: Dataset, optimizer: Optimizer, options: dict[str, Any]) -> list[float]:
    """Train for six updates on the first images and return the losses over them."""
    config = RunConfig(
        problem=ProblemChoice(name=problem.name, data=data.info.name, train_size=200, test_size=50, options=options),
        optimizer=optimizer,
        budget=Budget(updates=6),
        evaluation=Evaluation(train_subset=200),
        threads=1,
    )
    rows = Rows()
    registry = Registry({problem.name: problem}, {data.info.name: DataSource(data.info, lambda _: data)})
    outcome = train(
        config, rows, lambda: False, blocks=planned_blocks(config, registry), registry=registry, folder=NOWHERE
    )
    assert outcome.status is RunStatus.FINISHED
    assert all(row.test_accuracy is not None for row in rows.rows)
    assert rows.started["blocks"] == {
        "adam": [], "hf": [[name for block in problem.partition for name in block]], "bhf": problem.partition,
    }[optimizer.kind]  # fmt: skip
    return [row.train_loss or 0.0 for row in rows.rows]
