"""Depth in metres to the [-1, 1] maps that the autoencoder takes, and which latent cells to trust."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from torch import Tensor
from torch.nn import functional

from leadline.depth.spaces import Space
from leadline.errors import InputError
from leadline.sensors.filling import fill_nearest
from leadline.training.tuned import TARGETS
from leadline.types import BoolMap, FloatMap


@dataclass(frozen=True)
class Normalisation:
    """How a depth map becomes a picture for the autoencoder.

    Attributes:
        space: The space in which the map is linear.
        low, high: Quantiles of the valid values that go to -1 and 1 (both papers with formulas use 2 and 98 %).
        clip: Values beyond ±clip are cut off: 1 for DepthMaster; infinity for DepthFM, whose paper cuts nothing.
        depth_range_m: The depths of the quantiles, when they are those of a whole data set (DepthFM); None takes
            each image's own (DepthMaster, Marigold).
    """

    space: Space
    low: float = 0.02
    high: float = 0.98
    clip: float = 1.0
    depth_range_m: tuple[float, float] | None = None

    def bounds(self, depth_m: FloatMap, valid: BoolMap) -> tuple[float, float]:
        """The two values of ``space`` that become -1 and 1, low first."""
        if self.depth_range_m is not None:
            ends = self.space.from_depth(np.asarray(self.depth_range_m, dtype=np.float64))
            return float(ends.min()), float(ends.max())
        if not valid.any():
            raise InputError("a depth map without a single valid pixel cannot be normalised; leave it out")
        values = self.space.from_depth(depth_m[valid].astype(np.float64))
        low, high = np.quantile(values, [self.low, self.high])
        return float(low), float(high)

    def __call__(self, depth_m: FloatMap, valid: BoolMap, sky: BoolMap | None = None) -> FloatMap:
        """Normalise.

        Args:
            depth_m: (H, W) metres.
            valid: (H, W) where it was measured.
            sky: (H, W) pixels known to be endlessly far; they get the far end of the range. None: no such pixels.

        Returns:
            (H, W), about [-1, 1]; pixels that are neither valid nor sky take the nearest valid value.
        """
        low, high = self.bounds(depth_m, valid)
        safe = np.where(valid, depth_m, 1.0)
        exact = 2.0 * (self.space.from_depth(safe.astype(np.float64)) - low) / max(high - low, 1e-9) - 1.0
        values: FloatMap = np.clip(exact, -self.clip, self.clip).astype(np.float32)
        known = valid
        if sky is not None:
            farthest = min(self.clip, TARGETS.sky_beyond)
            values[sky] = -farthest if self.space.near_is_high else farthest
            known = valid | sky
        return fill_nearest(values, known)


def latent_mask(known: Tensor, factor: int) -> Tensor:
    """Cells whose pixels are all known: (N, 1, H, W) bool → (N, 1, H / factor, W / factor) bool."""
    return functional.max_pool2d((~known).float(), factor) < 0.5
