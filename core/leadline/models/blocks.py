"""Layers rewritten for inference: the same functions with fewer passes over memory and fewer products."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

import torch
from torch import Tensor, nn
from torch.nn.functional import silu

from leadline.models.convolution import Enlargement, SizedConvolution, suits, worth_transforming
from leadline.models.group_norm import SteadyGroupNorm
from leadline.models.layers import Doubling, ResidualBlock
from leadline.models.mapped import Mapping


class Residual(nn.Module):
    """A :class:`~leadline.models.layers.ResidualBlock` that works in place.

    Args:
        block: The block after folding: its timestep projection is None or a step table.
    """

    def __init__(self, block: ResidualBlock) -> None:
        super().__init__()
        self.norm1, self.conv1 = block.norm1, block.conv1
        self.norm2, self.conv2 = block.norm2, block.conv2
        self.time_emb_proj = block.time_emb_proj
        self.shortcut = block.conv_shortcut

    def forward(self, x: Tensor, temb: Tensor | None = None) -> Tensor:
        """(N, C, h, w) → (N, out, h, w); ``temb`` is what the step table takes."""
        y = self.conv1(silu(self.norm1(x), inplace=True))
        if self.time_emb_proj is not None:
            y = y.add_(self.time_emb_proj(temb)[:, :, None, None])
        y = self.conv2(silu(self.norm2(y), inplace=True))
        return y.add_(x if self.shortcut is None else self.shortcut(x))


M = TypeVar("M", bound=nn.Module)


def placed(module: M, device: torch.device, dtype: torch.dtype) -> M:
    """``module`` on ``device`` in ``dtype``, its filters laid out as GPUs want them for channels-last images.

    On a CPU the layout of the filters makes no difference, and converting them would double their memory. Weights that are
    pages of their file leave this process as they are copied, so that both never lie in memory whole.
    """
    mapping = Mapping()
    for part in module.modules():
        before = [parameter.data for parameter in part.parameters(recurse=False)]
        if next(part.children(), None) is None:
            part.to(device, dtype)
            after = {parameter.data_ptr() for parameter in part.parameters(recurse=False)}
            mapping.give_back(weights for weights in before if weights.data_ptr() not in after)
    module = module.to(device, dtype)
    return module if device.type == "cpu" else module.to(memory_format=torch.channels_last)  # type: ignore[call-overload]


@torch.no_grad()
def streamline(module: nn.Module, exact_cpu: bool) -> None:
    """Rewrite a folded model or a codec in place; results differ by rounding only.

    Args:
        module: What to rewrite.
        exact_cpu: Whether it runs in float32 on a CPU: there 3×3 convolutions are a
            :class:`~leadline.models.convolution.SizedConvolution`, and normalisations keep the digits that PyTorch's kernel loses.
    """
    replace_modules(module, _in_place)
    if exact_cpu:
        replace_modules(module, lambda child: SteadyGroupNorm(child) if SteadyGroupNorm.can_replace(child) else None)  # type: ignore[arg-type]
        replace_modules(module, _enlargement)
        replace_modules(module, lambda child: SizedConvolution(child) if suits(child) else None)  # type: ignore[arg-type]


def _in_place(block: nn.Module) -> nn.Module | None:
    folded = isinstance(block, ResidualBlock) and (block.time_emb_proj is None or block.skip_time_act)
    return Residual(block) if folded else None  # type: ignore[arg-type]


def _enlargement(block: nn.Module) -> nn.Module | None:
    return Enlargement(block.conv) if isinstance(block, Doubling) and worth_transforming(block.conv, True) else None


def replace_modules(root: nn.Module, choose: Callable[[nn.Module], nn.Module | None]) -> None:
    """Put ``choose(child)`` in the place of every module for which it is not None; what it holds is left alone."""
    for name, child in root.named_children():
        new = choose(child)
        if new is not None:
            setattr(root, name, new)
        else:
            replace_modules(child, choose)
