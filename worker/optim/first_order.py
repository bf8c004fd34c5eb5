"""First-order optimizers of torch with the same step as the second-order ones."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from worker.optim import inputs as batches
from worker.optim import native
from worker.optim.assumptions import check_outputs
from worker.optim.errors import BatchError
from worker.optim.inputs import Inputs, call
from worker.optim.outputs import Selector, check_selector, select
from worker.optim.phases import Phases
from worker.optim.results import StepResult
from worker.optim.torch_losses import as_loss


class FirstOrder:
    """An optimizer of torch, with a `step` that takes the batch and returns a StepResult.

    Args:
        model: any module; its trainable parameters are optimized.
        loss: as for `BlockHessianFree`; only value and gradient are used, and it need not be convex.
        make: makes the optimizer of a list of (name, parameter). It must need no closure.
        outputs: as for `BlockHessianFree`.

    Attributes:
        optimizer: what `make` returned; its `param_groups` may be changed between steps.
    """

    def __init__(
        self,
        model: nn.Module,
        loss: Any,
        make: Callable[[list[tuple[str, nn.Parameter]]], torch.optim.Optimizer],
        *,
        outputs: Selector = None,
    ) -> None:
        check_selector(outputs)
        self._selector = outputs
        self._model, self._loss = model, as_loss(loss)
        self.optimizer = make([(name, p) for name, p in model.named_parameters() if p.requires_grad])
        self._before: dict[Tensor, Tensor] = {}

    def step(self, inputs: Inputs, targets: Tensor) -> StepResult:
        """Do one update.

        Args:
            inputs: the gradient batch S_g, N examples: a tensor, or a tuple or dictionary of tensors.
            targets: what the loss compares the outputs with, N x ...

        Returns:
            The update's figures; its cost is one gradient.

        Raises:
            BatchError: the numbers of inputs and targets differ, or the outputs are not one row per example.
        """
        count = batches.count(inputs)
        if count != len(targets):
            raise BatchError(f"there are {count} inputs and {len(targets)} targets: the numbers must be equal")
        parameters = [p for group in self.optimizer.param_groups for p in group["params"]]
        self.optimizer.zero_grad(set_to_none=True)
        phases = Phases(parameters[0].device)
        with torch.enable_grad(), native.single_backward():
            outputs = check_outputs(select(call(self._model, inputs), self._selector), count)
        value = self._loss.value(outputs.detach(), targets)
        torch.autograd.backward(outputs, self._loss.gradient(outputs.detach(), targets))
        phases.mark()
        norm = torch.nn.utils.get_total_norm([p.grad for p in parameters if p.grad is not None])
        before = self._remember(parameters)
        self.optimizer.step()
        with torch.no_grad():
            torch._foreach_sub_(before, parameters)
        return StepResult(
            loss=value.item(),
            gradient_norm=norm.item(),
            step_norm=torch.nn.utils.get_total_norm(before).item(),
            cost=1.0,
            gradient_seconds=phases.seconds()[0],
        )

    def state_dict(self) -> dict[str, Any]:
        """Return the optimizer's state."""
        return self.optimizer.state_dict()

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue from a state."""
        self.optimizer.load_state_dict(state)

    @torch.no_grad()
    def _remember(self, parameters: list[Tensor]) -> list[Tensor]:
        """Copy the weights into buffers that are reused in every step."""
        for p in parameters:
            self._before.setdefault(p, torch.empty_like(p)).copy_(p)
        return [self._before[p] for p in parameters]
