"""Adam with the same step as the second-order optimizers."""

from typing import Any

import torch
from torch import Tensor, nn

from worker.optim import native
from worker.optim.errors import BatchError
from worker.optim.losses import Loss
from worker.optim.phases import Phases
from worker.optim.results import StepResult


class Adam(torch.optim.Adam):
    """torch's Adam with a `step` that takes the batch and returns a StepResult.

    Args:
        model: any module; its trainable parameters are optimized.
        loss: see `worker.optim.losses`; only value and gradient are used.
        learning_rate: step size; `lr` in `param_groups`.
        betas: decay of the running means of the gradient and of its square.
        eps: added to the root in the denominator.

    Source: Kingma and Ba (2015), "Adam: a method for stochastic optimization".
    """

    def __init__(
        self,
        model: nn.Module,
        loss: Loss,
        *,
        learning_rate: float = 0.001,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
    ) -> None:
        self._model, self._loss = model, loss
        named: Any = [(name, p) for name, p in model.named_parameters() if p.requires_grad]
        super().__init__(named, lr=learning_rate, betas=betas, eps=eps)
        self._before: dict[Tensor, Tensor] = {}

    def step(self, inputs: Tensor, targets: Tensor) -> StepResult:  # type: ignore[override]  # a step needs the batch
        """Do one update from a batch: inputs N x ..., targets as the loss takes them."""
        if len(inputs) != len(targets):
            raise BatchError(f"there are {len(inputs)} inputs and {len(targets)} targets: the numbers must be equal")
        parameters = [p for group in self.param_groups for p in group["params"]]
        self.zero_grad(set_to_none=True)
        phases = Phases(inputs.device)
        with torch.enable_grad(), native.once():
            outputs = self._model(inputs)
        value = self._loss.value(outputs.detach(), targets)
        outputs.backward(self._loss.gradient(outputs.detach(), targets))
        phases.border()
        norm = torch.nn.utils.get_total_norm([p.grad for p in parameters if p.grad is not None])
        before = self._remember(parameters)
        super().step()
        with torch.no_grad():
            torch._foreach_sub_(before, parameters)
        return StepResult(
            loss=value.item(),
            gradient_norm=norm.item(),
            step_norm=torch.nn.utils.get_total_norm(before).item(),
            cost=1.0,
            gradient_seconds=phases.seconds()[0],
        )

    @torch.no_grad()
    def _remember(self, parameters: list[Tensor]) -> list[Tensor]:
        """Copy the weights into buffers that are reused in every step."""
        for p in parameters:
            self._before.setdefault(p, torch.empty_like(p)).copy_(p)
        return [self._before[p] for p in parameters]
