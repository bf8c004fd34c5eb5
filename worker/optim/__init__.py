"""The optimizers: Adam, Hessian-free and block-diagonal Hessian-free for any torch module. Imports torch alone."""

from worker.optim.averaging import EvaluationAverage
from worker.optim.blocks import layer_names, layer_partition
from worker.optim.errors import BatchError, LossError, ModelError, OptimError, PartitionError
from worker.optim.first_order import FirstOrder
from worker.optim.hessian_free import BlockHessianFree, HessianFree
from worker.optim.losses import Loss, SoftmaxCrossEntropy, SquaredError
from worker.optim.lstm import PeepholeLSTM
from worker.optim.results import BlockResult, StepResult, StopReason
from worker.optim.schedules import ScheduledValue
from worker.optim.settings import ProductMethod, Settings
from worker.optim.torch_losses import FunctionLoss, as_loss

__all__ = [
    "BatchError",
    "BlockHessianFree",
    "BlockResult",
    "EvaluationAverage",
    "FirstOrder",
    "FunctionLoss",
    "HessianFree",
    "Loss",
    "LossError",
    "ModelError",
    "OptimError",
    "PartitionError",
    "PeepholeLSTM",
    "ProductMethod",
    "ScheduledValue",
    "Settings",
    "SoftmaxCrossEntropy",
    "SquaredError",
    "StepResult",
    "StopReason",
    "as_loss",
    "layer_names",
    "layer_partition",
]
