"""Muon: momentum whose matrices are orthogonalised, so that a step turns every direction of a layer alike.

Jordan et al., "Muon: An optimizer for hidden layers in neural networks", 2024; step size as in Liu et al., "Muon is
Scalable for LLM Training", arXiv:2502.16982, section 2.2: the update of every matrix has the root mean square that AdamW's
usually has, so that one learning rate serves both. A convolution's kernel is one matrix (out, in · height · width).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor, nn

#: Layers between the network and what it gets and gives, by parts of diffusers' names. Their gradients have few directions
#: (a fixed timestep and a fixed prompt: one), and turning all the others as far would only scramble them.
OUTER_LAYERS = ("conv_in", "conv_out", "time_emb", "attn2")
#: Root mean square of an update of AdamW, about.
_UPDATE_SIZE = 0.2
#: Quintic Newton-Schulz iteration: brings all singular values between about 0.7 and 1.2 in five steps.
_QUINTIC, _ITERATIONS = (3.4445, -4.7750, 2.0315), 5


class Muon(torch.optim.Optimizer):
    """Muon for the matrices of the inner layers, AdamW for all other parameters, with one learning rate.

    Args:
        named: Parameters with their names; a name with one of :data:`OUTER_LAYERS` in it goes to AdamW.
        lr: Learning rate; what suits AdamW.
        weight_decay: Decoupled, for all parameters.
        momentum: Of the matrices; the gradient is looked at one step ahead (Nesterov).
        betas, eps: Of AdamW.
    """

    def __init__(
        self,
        named: Iterable[tuple[str, nn.Parameter]],
        lr: float,
        weight_decay: float = 0.0,
        momentum: float = 0.95,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
    ) -> None:
        parts: tuple[list[nn.Parameter], list[nn.Parameter]] = [], []
        for name, parameter in named:
            inner = parameter.ndim >= 2 and not any(layer in name for layer in OUTER_LAYERS)
            parts[0 if inner else 1].append(parameter)
        groups = [{"params": part, "matrices": part is parts[0]} for part in parts if part]
        defaults = {"lr": lr, "weight_decay": weight_decay, "momentum": momentum, "betas": betas, "eps": eps}
        super().__init__(groups, defaults)

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> float | None:  # type: ignore[override]
        """One step along the gradients that are there."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for group in self.param_groups:
            update = _muon if group["matrices"] else _adam
            for parameter in group["params"]:
                if parameter.grad is not None:
                    parameter.mul_(1.0 - group["lr"] * group["weight_decay"])
                    change = update(parameter.grad, self.state[parameter], group)
                    parameter.add_(change, alpha=-group["lr"])
        return loss


def orthogonalised(matrix: Tensor) -> Tensor:
    """The matrix (m, n) with all its singular values brought near 1 (0.7 to 1.2), computed in bfloat16.

    Five steps of X ← aX + bXXᵀX + c(XXᵀ)²X from X / ‖X‖; a zero matrix stays zero.
    """
    a, b, c = _QUINTIC
    wide = matrix if matrix.shape[0] <= matrix.shape[1] else matrix.T
    x = (wide / (wide.norm() + 1e-7)).bfloat16()
    for _ in range(_ITERATIONS):
        gram = x @ x.T
        x = a * x + (b * gram + c * gram @ gram) @ x
    return (x if wide is matrix else x.T).to(matrix.dtype)


def _muon(gradient: Tensor, state: dict[str, Any], group: dict[str, Any]) -> Tensor:
    if not state:
        state["momentum"] = torch.zeros_like(gradient)
    momentum: Tensor = state["momentum"]
    momentum.lerp_(gradient, 1.0 - group["momentum"])
    ahead = gradient.lerp(momentum, group["momentum"]).flatten(1)
    return orthogonalised(ahead).mul_(_UPDATE_SIZE * max(ahead.shape) ** 0.5).view_as(gradient)


def _adam(gradient: Tensor, state: dict[str, Any], group: dict[str, Any]) -> Tensor:
    if not state:
        state.update(step=0, mean=torch.zeros_like(gradient), square=torch.zeros_like(gradient))
    state["step"] += 1
    first, second = group["betas"]
    mean: Tensor = state["mean"].lerp_(gradient, 1.0 - first)
    square: Tensor = state["square"].lerp_(gradient.square(), 1.0 - second)
    root = (square / (1.0 - second ** state["step"])).sqrt_().add_(group["eps"])
    return mean / (1.0 - first ** state["step"]) / root
