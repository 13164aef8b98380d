"""DepthMaster: one deterministic step at t = 1 with Fourier Enhancement (Song et al., 2025)."""

from __future__ import annotations

from typing import ClassVar

from torch import nn

from leadline.models.base import OneStepModel
from leadline.models.fourier import FourierEnhancement
from leadline.models.spec import ModelSpec


class DepthMaster(OneStepModel):
    """z_depth = UNet(z_image, t = 1). The map is the square root of disparity in [0, 1], high is near."""

    family: ClassVar[str] = "depthmaster"
    timestep: ClassVar[float] = 1.0

    def _middle_block(self, spec: ModelSpec) -> nn.Module | None:
        return FourierEnhancement(spec.unet["block_out_channels"][-1]) if spec.fourier else None
