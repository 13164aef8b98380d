"""DepthMaster's Fourier Enhancement block (Song et al., 2025, section III-D)."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.functional import silu


class FourierEnhancement(nn.Module):
    """Two branches over the middle features, fused: one in space, one on amplitude and phase of their spectrum.

    Submodules carry the names of the official checkpoints (``fftblock.*``). There is no identity path around the
    block. The transform runs in float32 whatever the network's precision: half-precision FFTs do not exist on
    every device, and phase needs the digits.

    Args:
        channels: Width of the middle block; a multiple of 8.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.norm = nn.GroupNorm(8, channels, eps=1e-5)
        self.conv_f1 = nn.Conv2d(channels, channels, 3, padding=1)
        self.conv_f2 = nn.Conv2d(channels, channels, 3, padding=1)  # amplitude
        self.conv_f4 = nn.Conv2d(channels, channels, 3, padding=1)  # phase
        self.conv_f3 = nn.Conv2d(channels, channels, 1)
        self.conv_s1 = nn.Conv2d(channels, channels, 3, padding=1)
        self.conv_s2 = nn.Conv2d(channels, channels, 3, padding=1)
        self.fuse = nn.Conv2d(2 * channels, channels, 1)

    def forward(self, features: Tensor) -> Tensor:
        """(N, C, h, w) → (N, C, h, w), any h and w."""
        x = self.norm(features)
        spatial = self.conv_s2(silu(self.conv_s1(x))) + x
        return self.fuse(torch.cat([spatial, self._frequency(x)], dim=1))

    def _frequency(self, x: Tensor) -> Tensor:
        first = silu(self.conv_f1(x))
        spectrum = torch.fft.rfft2(first.float(), norm="ortho")
        amplitude = silu(self.conv_f2(spectrum.abs().to(x.dtype))).float()
        phase = silu(self.conv_f4(spectrum.angle().to(x.dtype))).float()
        edited = torch.complex(amplitude * torch.cos(phase), amplitude * torch.sin(phase))
        back = torch.fft.irfft2(edited, s=x.shape[-2:], norm="ortho").to(x.dtype)
        return self.conv_f3(back + first)
