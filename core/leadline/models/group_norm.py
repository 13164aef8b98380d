"""Group normalisation of large channels-last images on CPUs, to the last digits.

PyTorch's kernel for channels-last images adds one pixel after the other into a float32 sum. Over the 65 536 pixels of a
256² image that costs 50 times the rounding of the other layout's kernel, more than anything else in the decoder does.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from leadline.models.tuned import GROUP_NORM


class SteadyGroupNorm(nn.Module):
    """The same function as a ``GroupNorm``."""

    weight: Tensor
    bias: Tensor

    def __init__(self, norm: nn.GroupNorm) -> None:
        super().__init__()
        self.num_groups, self.eps = norm.num_groups, norm.eps
        self.weight, self.bias = norm.weight, norm.bias

    @staticmethod
    def can_replace(norm: nn.Module) -> bool:
        """Whether ``norm`` is a ``GroupNorm`` with weights."""
        return isinstance(norm, nn.GroupNorm) and norm.affine

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, h, w) → (N, C, h, w)."""
        large = x.ndim == 4 and x.shape[-2] * x.shape[-1] >= GROUP_NORM.least_pixels
        if not large or not x.is_contiguous(memory_format=torch.channels_last):
            return functional.group_norm(x, self.num_groups, self.weight, self.bias, self.eps)
        pixels = x.permute(0, 2, 3, 1).flatten(1, 2)  # (N, h w, C), a view
        mean, inverse_std = self._moments(pixels)
        scale = inverse_std * self.weight
        shift = self.bias - mean * scale
        normal = torch.addcmul(shift[:, None].to(x.dtype), pixels, scale[:, None].to(x.dtype))
        return normal.unflatten(1, x.shape[-2:]).permute(0, 3, 1, 2)

    def _moments(self, pixels: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and 1 / standard deviation of each channel's group, float64 (N, C)."""
        channels = pixels.shape[-1]
        chunks = pixels.split(max(1, GROUP_NORM.chunk // channels), dim=1)
        first = torch.stack([chunk.sum(1) for chunk in chunks]).double().sum(0)
        second = torch.stack([(chunk * chunk).sum(1) for chunk in chunks]).double().sum(0)
        size = pixels.shape[1] * channels // self.num_groups
        mean = first.unflatten(1, (self.num_groups, -1)).sum(2) / size
        variance = second.unflatten(1, (self.num_groups, -1)).sum(2) / size - mean.square()
        inverse_std = (variance.clamp_min(0.0) + self.eps).rsqrt()
        per_group = channels // self.num_groups
        return mean.repeat_interleave(per_group, dim=1), inverse_std.repeat_interleave(per_group, dim=1)
