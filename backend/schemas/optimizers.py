"""The optimizers to choose from, with every knob of theirs, and how the parameters are split into blocks."""

from enum import StrEnum
from typing import Annotated, Literal

from pydantic import Field, ValidationInfo, field_validator

from backend.schemas.base import MAX_BLOCKS, MAX_IMAGES, Contract, LayerName, knob

MAX_DAMPING = 1e6
_NUMBER = r"[0-9]{1,9}(\.[0-9]{1,12})?(e-?[0-9]{1,2})?"


class Adam(Contract):
    """Adam (Kingma and Ba, 2015), the first-order baseline."""

    kind: Literal["adam"] = "adam"
    learning_rate: float = knob(0.001, "step size", gt=0, le=100, paper=0.001)
    gradient_batch: int = knob(1000, "images per gradient (S_g)", unit="images", ge=1, le=MAX_IMAGES)
    beta1: float = knob(0.9, "decay of the gradient's running mean", ge=0, lt=1, paper=0.9)
    beta2: float = knob(0.999, "decay of the squared gradient's running mean", ge=0, lt=1, paper=0.999)
    eps: float = knob(1e-8, "added to the root in the denominator", gt=0, le=1, paper=1e-8)


class CgStop(StrEnum):
    """When conjugate gradient stops before its iterations are used up."""

    ITERATIONS = "iterations"
    RESIDUAL = "residual"
    MARTENS = "martens"


class CurvatureWay(StrEnum):
    """How the curvature matrix of a block is multiplied; all ways give the same solutions but for rounding."""

    AUTO = "auto"
    PRODUCTS = "products"
    INTERFACE = "interface"
    SAMPLES = "samples"
    EXPLICIT = "explicit"
    GENERIC = "generic"


class ProductPrecision(StrEnum):
    """The precision of curvature products."""

    FULL = "full"
    TF32 = "tf32"
    BFLOAT16 = "bfloat16"


class _SecondOrder(Contract):
    learning_rate: float = knob(0.1, "share of the solution that is added to the weights", gt=0, le=100, paper=0.1)
    gradient_batch: int = knob(1000, "images per gradient (S_g)", unit="images", ge=2, le=MAX_IMAGES)
    curvature_batch: int = knob(
        250, "images per curvature product (S_c), a strict subset of S_g", unit="images", ge=1, le=MAX_IMAGES,
        validate_default=True,
    )  # fmt: skip
    damping: float = knob(
        0.0, "added to the curvature matrix's diagonal", unit="loss per weight squared", ge=0, le=MAX_DAMPING
    )
    max_cg_iterations: int = knob(
        30, "conjugate gradient iterations per update and block, at most", unit="iterations", ge=1, le=10_000, paper=30
    )
    cg_stop: CgStop = knob(
        CgStop.ITERATIONS,
        "stop early: iterations (only when converged to rounding), residual (small against the gradient), "
        "martens (relative progress, Martens 2010)",
    )
    cg_tolerance: float = knob(
        5e-4, "tolerance of the early stop: relative residual, or progress per iteration", gt=0, lt=1
    )
    momentum: float = knob(0.95, "conjugate gradient starts at this share of the last solution", ge=0, le=1, paper=0.95)
    curvature_way: CurvatureWay = knob(
        CurvatureWay.AUTO,
        "how curvature is multiplied: auto (the cheapest for each block), products (through the whole network), "
        "interface (layers above a block passed once), samples (dense layers in the space of the images), "
        "explicit (the matrix itself, for small blocks), generic (double backward, for any network)",
    )
    memory_limit: int = knob(
        512, "what a way may take beside activations and weights; ways that need more are not chosen", unit="MiB", ge=1,
        le=1_048_576,
    )  # fmt: skip
    adaptive_damping: bool = knob(
        False,
        "damping grows by half where the loss falls by less than 1/4 of what is predicted, and shrinks by a third "
        "where by more than 3/4 (Levenberg-Marquardt, Martens 2010); one more loss per update",
    )
    backtracking: bool = knob(
        False,
        "go back over conjugate gradient's iterates as long as the loss is lower there (Martens 2010); a few more "
        "losses per update",
    )
    line_search: bool = knob(
        False,
        "shrink the step by 0.8 until the loss falls enough (Armijo's rule, Martens 2010); one more loss per trial",
    )
    preconditioner: bool = knob(
        False,
        "divide conjugate gradient's residuals by damped squared gradients to the power 0.75 (Martens 2010); one more "
        "backward pass per update, and no sample space",
    )
    product_precision: ProductPrecision = knob(
        ProductPrecision.FULL,
        "of curvature products: full (the run's), tf32 (float32 rounded to 11 bits, on CUDA only), bfloat16 (8 bits; "
        "not in sample space, the matrix itself and the generic way)",
    )

    @field_validator("adaptive_damping")
    @classmethod
    def _has_something_to_adapt(cls, value: bool, info: ValidationInfo) -> bool:
        if value and info.data.get("damping") == 0:
            raise ValueError("multiplies the damping, which is 0: set a damping above 0 to start from")
        return value

    @field_validator("curvature_batch")
    @classmethod
    def _is_strict_subset(cls, value: int, info: ValidationInfo) -> int:
        gradient_batch = info.data.get("gradient_batch")
        if gradient_batch is not None and value >= gradient_batch:
            raise ValueError(f"must be smaller than gradient_batch, which is {gradient_batch}")
        return value


class HessianFree(_SecondOrder):
    """Hessian-free (Martens 2010, with the paper's fixed settings): one block holds every parameter."""

    kind: Literal["hf"] = "hf"


class ProblemPartition(Contract):
    """The problem's own blocks: the paper's, for its three problems."""

    kind: Literal["problem"] = "problem"


class LayerPartition(Contract):
    """One block per layer."""

    kind: Literal["layers"] = "layers"


class EqualPartition(Contract):
    """Consecutive layers in blocks of roughly equal size."""

    kind: Literal["equal"] = "equal"
    count: int = knob(2, "how many blocks", unit="blocks", ge=1, le=MAX_BLOCKS)


class ExplicitPartition(Contract):
    """Blocks as lists of layer names; every layer with parameters stands in exactly one."""

    kind: Literal["explicit"] = "explicit"
    blocks: list[Annotated[list[LayerName], Field(min_length=1, max_length=1000)]] = knob(
        ..., "each block's layers", min_length=1, max_length=MAX_BLOCKS
    )


Partition = Annotated[
    ProblemPartition | LayerPartition | EqualPartition | ExplicitPartition, Field(discriminator="kind")
]


class BlockHessianFree(_SecondOrder):
    """Block-diagonal Hessian-free (the paper): each block's Gauss-Newton system is solved on its own."""

    kind: Literal["bhf"] = "bhf"
    partition: Partition = knob(ProblemPartition(), "how the layers are split into blocks")
    block_damping: str = knob(
        "", "each block's own damping, in the blocks' order, such as 0.1 0.5; empty: damping for all blocks",
        unit="loss per weight squared", max_length=1000, pattern=rf"^({_NUMBER}( {_NUMBER})*)?$",
    )  # fmt: skip

    @property
    def dampings(self) -> list[float]:
        """Each block's own damping; empty where one serves all."""
        return [float(number) for number in self.block_damping.split()]

    @field_validator("block_damping")
    @classmethod
    def _is_in_bounds(cls, value: str, info: ValidationInfo) -> str:
        numbers = [float(number) for number in value.split()]
        if any(number > MAX_DAMPING for number in numbers):
            raise ValueError(f"each must be at most {MAX_DAMPING:g}")
        if info.data.get("adaptive_damping") and 0 in numbers:
            raise ValueError("adaptive_damping multiplies each: must be above 0")
        return value


Optimizer = Annotated[Adam | HessianFree | BlockHessianFree, Field(discriminator="kind")]
