"""The errors of the optimizers.

OptimError (a ValueError)
├── PartitionError     blocks do not hold every trainable parameter exactly once
├── ModelError         the model cannot be optimized like this: batch normalization in training mode, active dropout
├── LossError          the loss is not convex in the outputs, or its methods do not fit each other
└── BatchError         inputs, targets and outputs do not fit each other
"""


class OptimError(ValueError):
    """Any error the optimizers raise on purpose."""


class PartitionError(OptimError):
    """The blocks do not hold every trainable parameter exactly once."""


class ModelError(OptimError):
    """The model breaks what the method assumes."""


class LossError(OptimError):
    """The loss breaks what the method assumes."""


class BatchError(OptimError):
    """Inputs, targets and outputs do not fit each other."""
