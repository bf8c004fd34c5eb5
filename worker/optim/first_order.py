"""First-order optimizers of torch with the same step as the second-order ones."""

from collections.abc import Callable
from inspect import Parameter, signature
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

    One whose `step` needs a closure, such as LBFGS, gets one: it evaluates loss and gradient as often as it asks.

    Args:
        model: any module; its trainable parameters are optimized.
        loss: as for `BlockHessianFree`; only value and gradient are used, and it need not be convex.
        make: makes the optimizer of a list of (name, parameter).
        hessian_products: how many products with the Hessian the optimizer computes per step, by differentiating the
            gradients. Above 0 the gradients have a graph; each product counts as 2 gradients in the cost.
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
        hessian_products: int = 0,
        outputs: Selector = None,
    ) -> None:
        check_selector(outputs)
        self._selector = outputs
        self._model, self._loss = model, as_loss(loss)
        self.optimizer = make([(name, p) for name, p in model.named_parameters() if p.requires_grad])
        self._hessian_products = hessian_products
        closure = signature(self.optimizer.step).parameters.get("closure")
        self._needs_closure = closure is not None and closure.default is Parameter.empty
        self._before: dict[Tensor, Tensor] = {}

    def step(self, inputs: Inputs, targets: Tensor) -> StepResult:
        """Do one update.

        Args:
            inputs: the gradient batch S_g, N examples: a tensor, or a tuple or dictionary of tensors.
            targets: what the loss compares the outputs with, N x ...

        Returns:
            The update's figures; its cost is one gradient, or as many as the closure was called, and the products.

        Raises:
            BatchError: the numbers of inputs and targets differ, or the outputs are not one row per example.
        """
        count = batches.count(inputs)
        if count != len(targets):
            raise BatchError(f"there are {count} inputs and {len(targets)} targets: the numbers must be equal")
        parameters = [p for group in self.optimizer.param_groups for p in group["params"]]
        found: list[tuple[Tensor, Tensor]] = []

        def evaluate() -> Any:  # torch's types say float, its documentation a tensor
            self.optimizer.zero_grad(set_to_none=True)
            value = self._differentiate(parameters, inputs, targets, count)
            norm = torch.nn.utils.get_total_norm([p.grad.detach() for p in parameters if p.grad is not None])
            found.append((value, norm))
            return value

        before = self._remember(parameters)
        phases = Phases(parameters[0].device)
        if self._needs_closure:
            self.optimizer.step(evaluate)
        else:
            evaluate()
            phases.mark()
            self.optimizer.step()
        if self._hessian_products:
            self.optimizer.zero_grad(set_to_none=True)  # gradients with a graph hold their parameters, in a cycle
        with torch.no_grad():
            torch._foreach_sub_(before, parameters)
        value, norm = found[0]
        return StepResult(
            loss=value.item(),
            gradient_norm=norm.item(),
            step_norm=torch.nn.utils.get_total_norm(before).item(),
            cost=len(found) + 2.0 * self._hessian_products,
            gradient_seconds=None if self._needs_closure else phases.seconds()[0],
        )

    def _differentiate(self, parameters: list[Tensor], inputs: Inputs, targets: Tensor, count: int) -> Tensor:
        """Set the gradients; return the loss."""
        if self._hessian_products:
            with torch.enable_grad():
                value = self._loss.value(
                    check_outputs(select(call(self._model, inputs), self._selector), count), targets
                )
                gradients = torch.autograd.grad(value, parameters, create_graph=True, allow_unused=True)
            for p, gradient in zip(parameters, gradients, strict=True):
                p.grad = gradient
            return value.detach()
        with torch.enable_grad(), native.single_backward():
            outputs = check_outputs(select(call(self._model, inputs), self._selector), count)
        value = self._loss.value(outputs.detach(), targets)
        torch.autograd.backward(outputs, self._loss.gradient(outputs.detach(), targets))
        return value

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
