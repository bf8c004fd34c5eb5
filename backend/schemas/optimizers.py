"""One class per optimizer, with its settings and its properties for other modules."""

from collections.abc import Mapping
from enum import StrEnum
from typing import Annotated, Any, ClassVar, Literal, NamedTuple

from pydantic import Field, ValidationInfo, field_validator, model_validator

from backend.schemas.base import MAX_BLOCKS, MAX_IMAGES, Contract, LayerName, setting

MAX_DAMPING = 1e6


class Colour(NamedTuple):
    """A curve's colour on a light and on a dark page."""

    light: str
    dark: str


class OptimizerSettings(Contract):
    """Settings that every optimizer has. A subclass is one optimizer; `optimizer_registry` says how to add one.

    Attributes:
        title: short name, as in legends.
        long_title: full name, as in headings.
        summary: what it does and when to use it, for the guide.
        colour: colour of its curves; choose one that colour-blind readers can tell from the others, also in grey.
        featured: whether forms offer it first.
        has_curvature: whether it computes products with a curvature matrix on a curvature batch.
        has_blocks: whether the user chooses how layers are split into blocks.
        vectors: how many vectors of the weights' size it holds at least, weights and gradient included.
        renamed: other names of settings, which stored specifications and people use, and their names here.
    """

    title: ClassVar[str]
    long_title: ClassVar[str]
    summary: ClassVar[str]
    colour: ClassVar[Colour]
    featured: ClassVar[bool] = False
    has_curvature: ClassVar[bool] = False
    has_blocks: ClassVar[bool] = False
    vectors: ClassVar[int]
    renamed: ClassVar[Mapping[str, str]] = {}

    kind: str
    learning_rate: float = setting(0.01, "step size", gt=0, le=100)
    gradient_batch: int = setting(1000, "images per gradient (S_g)", unit="images", ge=1, le=MAX_IMAGES)

    @model_validator(mode="before")
    @classmethod
    def _accept_old_names(cls, value: Any) -> Any:
        if not isinstance(value, dict):
            return value
        current = {old: new for old, new in cls.renamed.items() if new not in value}
        return {current.get(name, name): inner for name, inner in value.items()}

    @property
    def blocks(self) -> "Partition | None":
        """How the layers are split into blocks; None if the optimizer has no blocks."""
        return None

    def memory(self, weights: int, activations: int) -> tuple[str, int]:  # noqa: ARG002 - for subclasses
        """Return the setting that decides how much memory training needs at least, and how much.

        Args:
            weights: size of all weights [bytes].
            activations: size of one example's layer outputs [bytes].
        """
        return "kind", self.vectors * weights


class Adam(OptimizerSettings):
    """Adam (Kingma and Ba, 2015), the first-order baseline of the paper."""

    title = "Adam"
    long_title = "Adam"
    summary = (
        "Scales each component of the gradient by a running average of its size. Updates are cheap, but many are "
        "needed. Small batches are enough. Use it as the baseline."
    )
    colour = Colour("#dd6a0e", "#d9772c")
    featured = True
    vectors = 4

    kind: Literal["adam"] = "adam"
    learning_rate: float = setting(0.001, "step size", gt=0, le=100, paper=0.001)
    beta1: float = setting(0.9, "decay of the gradient's running mean", ge=0, lt=1, paper=0.9)
    beta2: float = setting(0.999, "decay of the squared gradient's running mean", ge=0, lt=1, paper=0.999)
    eps: float = setting(1e-8, "added to the square root in the denominator", gt=0, le=1, paper=1e-8)


class CgStop(StrEnum):
    """When conjugate gradient stops before its maximum number of iterations."""

    ITERATIONS = "iterations"
    RESIDUAL = "residual"
    MARTENS = "martens"


class ProductMethod(StrEnum):
    """How products with a block's curvature matrix are computed. All give the same solutions except for rounding."""

    AUTO = "auto"
    PRODUCTS = "products"
    INTERFACE = "interface"
    SAMPLES = "samples"
    EXPLICIT = "explicit"
    AUTOGRAD = "autograd"


class ProductPrecision(StrEnum):
    """The precision of curvature products."""

    FULL = "full"
    TF32 = "tf32"
    BFLOAT16 = "bfloat16"


class CurvatureSettings(OptimizerSettings):
    """Settings that HF and BHF share."""

    has_curvature = True
    vectors = 3
    renamed: ClassVar[Mapping[str, str]] = {"momentum": "warm_start", "curvature_way": "product_method"}

    learning_rate: float = setting(
        0.1, "step size: fraction of the CG solution added to the weights", gt=0, le=100, paper=0.1
    )
    gradient_batch: int = setting(1000, "images per gradient (S_g)", unit="images", ge=2, le=MAX_IMAGES)
    curvature_batch: int = setting(
        250, "images per curvature product (S_c), a strict subset of S_g", unit="images", ge=1, le=MAX_IMAGES,
        validate_default=True,
    )  # fmt: skip
    damping: float = setting(
        0.0, "added to the curvature matrix's diagonal", unit="loss per weight squared", ge=0, le=MAX_DAMPING
    )
    max_cg_iterations: int = setting(
        30, "maximum number of conjugate gradient (CG) iterations per update and block", unit="iterations", ge=1,
        le=10_000, paper=30,
    )  # fmt: skip
    cg_stop: CgStop = setting(
        CgStop.ITERATIONS,
        "early stop: iterations (only when converged to rounding), residual (small relative to the gradient), "
        "martens (relative progress, Martens 2010)",
    )
    cg_tolerance: float = setting(
        5e-4, "tolerance of the early stop: relative residual, or progress per iteration", gt=0, lt=1
    )
    warm_start: float = setting(
        0.95, "CG starts from this fraction of the previous update's solution", ge=0, le=1, paper=0.95
    )
    product_method: ProductMethod = setting(
        ProductMethod.AUTO,
        "how curvature products are computed: auto (the cheapest method for each block), products (through the whole "
        "network), interface (layers above a block are passed once per update), samples (dense layers in the space of "
        "the images), explicit (the matrix itself, for small blocks), autograd (double backward, for any network)",
    )
    memory_limit: int = setting(
        512, "extra memory that one product method may use, besides activations and weights", unit="MiB", ge=1,
        le=1_048_576,
    )  # fmt: skip
    adaptive_damping: bool = setting(
        False,
        "multiply the damping by 3/2 if the loss fell by less than 1/4 of the prediction, and by 2/3 if it fell by "
        "more than 3/4 (Levenberg-Marquardt, Martens 2010); costs one more loss per update",
    )
    backtracking: bool = setting(
        False,
        "step back through the CG iterates while the loss is lower there (Martens 2010); costs a few more losses per "
        "update",
    )
    line_search: bool = setting(
        False,
        "multiply the step by 0.8 until the loss falls enough (Armijo's rule, Martens 2010); costs one more loss per "
        "trial",
    )
    preconditioner: bool = setting(
        False,
        "divide CG's residuals by damped squared gradients to the power 0.75 (Martens 2010); costs one more backward "
        "pass per update and excludes the method samples",
    )
    product_precision: ProductPrecision = setting(
        ProductPrecision.FULL,
        "precision of curvature products: full (the run's), tf32 (float32 rounded to 11 bits, CUDA only), bfloat16 "
        "(8 bits; not with the methods samples, explicit and autograd)",
    )

    @field_validator("product_method", mode="before")
    @classmethod
    def _accept_old_method(cls, value: Any) -> Any:
        return ProductMethod.AUTOGRAD if value == "generic" else value

    @field_validator("adaptive_damping")
    @classmethod
    def _has_something_to_adapt(cls, value: bool, info: ValidationInfo) -> bool:
        if value and info.data.get("damping") == 0:
            raise ValueError("adaptive damping multiplies the damping, which is 0: set a damping above 0")
        return value

    @field_validator("curvature_batch")
    @classmethod
    def _is_strict_subset(cls, value: int, info: ValidationInfo) -> int:
        gradient_batch = info.data.get("gradient_batch")
        if gradient_batch is not None and value >= gradient_batch:
            raise ValueError(f"must be smaller than gradient_batch, which is {gradient_batch}")
        return value

    def memory(self, weights: int, activations: int) -> tuple[str, int]:
        """Return the memory of the curvature batch: vectors, and the layer outputs of each example."""
        size = activations // 2 if self.product_precision is ProductPrecision.BFLOAT16 else activations
        return "curvature_batch", self.vectors * weights + self.curvature_batch * size


class HessianFree(CurvatureSettings):
    """Hessian-free (Martens 2010, with the paper's fixed settings): one block holds every parameter."""

    title = "HF"
    long_title = "Hessian-free (HF)"
    summary = (
        "Solves a linear system with the Gauss-Newton matrix in each update. Conjugate gradient needs only products "
        "with this matrix. Updates are few and expensive, and need large gradient batches. Use it if the number of "
        "updates matters, as in distributed training."
    )
    colour = Colour("#0072b2", "#62b5f5")
    featured = True

    kind: Literal["hf"] = "hf"

    @property
    def blocks(self) -> "Partition":
        """One block of all layers."""
        return EqualPartition(count=1)


class ProblemPartition(Contract):
    """The problem's default blocks; for the paper's three problems, the paper's blocks."""

    kind: Literal["problem"] = "problem"


class LayerPartition(Contract):
    """One block per layer."""

    kind: Literal["layers"] = "layers"


class EqualPartition(Contract):
    """Consecutive layers in blocks of roughly equal size."""

    kind: Literal["equal"] = "equal"
    count: int = setting(2, "number of blocks", unit="blocks", ge=1, le=MAX_BLOCKS)


class ExplicitPartition(Contract):
    """Blocks as lists of layer names. Every layer with parameters is in exactly one block."""

    kind: Literal["explicit"] = "explicit"
    blocks: list[Annotated[list[LayerName], Field(min_length=1, max_length=1000)]] = setting(
        ..., "each block's layers", min_length=1, max_length=MAX_BLOCKS
    )


Partition = Annotated[
    ProblemPartition | LayerPartition | EqualPartition | ExplicitPartition, Field(discriminator="kind")
]

_PARTITION_WORDS = {"default": "problem", "problem": "problem", "one per layer": "layers", "layers": "layers"}


def read_partition(value: Any) -> Any:
    """Turn a partition as people write it into its fields; other values stay as they are.

    Args:
        value: a number of blocks, "one per layer" (or "layers"), or "default" (or "problem").

    Raises:
        ValueError: a text that is none of these.
    """
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return value
    word = str(value).strip().lower()
    if word in _PARTITION_WORDS:
        return {"kind": _PARTITION_WORDS[word]}
    try:
        return {"kind": "equal", "count": float(word)}
    except ValueError:
        raise ValueError("must be a number of blocks, one per layer, or default") from None


def partition_text(partition: Mapping[str, Any]) -> str:
    """Write a partition's fields as people do; blocks that are lists of layers are "custom"."""
    kind = partition.get("kind")
    words = {"problem": "default", "layers": "one per layer", "equal": str(partition.get("count"))}
    return words.get(str(kind), "custom")


class BlockHessianFree(CurvatureSettings):
    """Block-diagonal Hessian-free (the paper): each block's Gauss-Newton system is solved separately."""

    title = "BHF"
    long_title = "Block-diagonal Hessian-free (BHF)"
    summary = (
        "Like HF, but ignores curvature between blocks of layers. Each block has its own, smaller system, which "
        "conjugate gradient solves in fewer iterations. Start with the problem's default blocks, which are about equal "
        "in size. The study below compares numbers of blocks."
    )
    colour = Colour("#005a42", "#8df0cf")
    featured = True
    has_blocks = True

    renamed: ClassVar[Mapping[str, str]] = {**CurvatureSettings.renamed, "blocks": "partition"}

    kind: Literal["bhf"] = "bhf"
    partition: Partition = setting(
        ProblemPartition(),
        "how the layers are split into blocks; also as text: a number of blocks, one per layer, or default",
    )
    block_damping: list[Annotated[float, Field(ge=0, le=MAX_DAMPING)]] = setting(
        [], "a damping for each block, in the blocks' order, such as 0.1 0.5; empty: damping applies to all blocks",
        unit="loss per weight squared", max_length=MAX_BLOCKS,
    )  # fmt: skip

    @property
    def blocks(self) -> Partition:
        """The chosen partition."""
        return self.partition

    @field_validator("partition", mode="before")
    @classmethod
    def _accept_partition_text(cls, value: Any) -> Any:
        return read_partition(value)

    @field_validator("block_damping", mode="before")
    @classmethod
    def _accept_text(cls, value: Any) -> Any:
        """Accept numbers separated by spaces or commas: forms and version 0.1 have one text."""
        return value.replace(",", " ").split() if isinstance(value, str) else value

    @field_validator("block_damping")
    @classmethod
    def _can_be_adapted(cls, value: list[float], info: ValidationInfo) -> list[float]:
        if info.data.get("adaptive_damping") and 0 in value:
            raise ValueError("adaptive damping multiplies every damping, so each must be above 0")
        return value


class Sgd(OptimizerSettings):
    """Stochastic gradient descent with momentum, a first-order baseline."""

    title = "SGD"
    long_title = "SGD with momentum"
    summary = (
        "Follows a running sum of gradients. The cheapest update of all; its learning rate must be tuned for each "
        "network."
    )
    colour = Colour("#a8457a", "#e79cc4")
    vectors = 3

    kind: Literal["sgd"] = "sgd"
    momentum: float = setting(0.9, "fraction of the previous step that is added to the gradient", ge=0, lt=1)


class AdamW(OptimizerSettings):
    """Adam with decoupled weight decay (Loshchilov and Hutter, 2019), a first-order baseline."""

    title = "AdamW"
    long_title = "AdamW"
    summary = "Adam that also shrinks the weights in each update. The usual choice for large networks."
    colour = Colour("#8a6a00", "#e0c04a")
    vectors = 4

    kind: Literal["adamw"] = "adamw"
    learning_rate: float = setting(0.001, "step size", gt=0, le=100)
    beta1: float = setting(0.9, "decay of the gradient's running mean", ge=0, lt=1)
    beta2: float = setting(0.999, "decay of the squared gradient's running mean", ge=0, lt=1)
    eps: float = setting(1e-8, "added to the square root in the denominator", gt=0, le=1)
    weight_decay: float = setting(0.01, "fraction of learning_rate x weights subtracted in each update", ge=0, le=100)
