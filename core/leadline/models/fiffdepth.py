"""FiffDepth: the diffusion network as a feed-forward depth estimator at t = 0 (Bai et al., 2024)."""

from __future__ import annotations

from typing import ClassVar

from leadline.models.base import OneStepModel


class FiffDepth(OneStepModel):
    """z_depth = UNet(z_image, t = 0). Which way the map points is a property of the checkpoint: ``spec.space``."""

    family: ClassVar[str] = "fiffdepth"
    timestep: ClassVar[float] = 0.0
