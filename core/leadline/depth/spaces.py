"""The value spaces in which models speak, each with its way to and from metres.

A model's raw numbers are affine in one of these spaces: ``values = a * space.from_depth(depth_m) + b``
with unknown ``a > 0`` and ``b``. Alignment, ensembling, completion and evaluation happen in that space, so that
nobody has to guess whether a high value is near or far.
"""

from __future__ import annotations

from enum import Enum
from typing import Any, TypeVar

import numpy as np

from leadline.depth.arrays import Array, namespace

A = TypeVar("A", bound=Array)

#: Depths are clamped to this range (metres) before a logarithm or a reciprocal is taken.
MIN_DEPTH_M = 1e-3
MAX_DEPTH_M = 1e4


class Space(str, Enum):
    """What a map's numbers mean.

    ========================  ===============  ==========  =======================================
    space                     of depth z       high value  spoken by
    ========================  ===============  ==========  =======================================
    ``LOG_DEPTH``             ln z             far         DepthFM
    ``SQRT_DISPARITY``        1 / sqrt(z)      near        DepthMaster
    ``DISPARITY``             1 / z            near        stereo rigs, some FiffDepth checkpoints
    ``DEPTH``                 z                far         sensors, FiffDepth, every metric result
    ========================  ===============  ==========  =======================================
    """

    LOG_DEPTH = "log_depth"
    SQRT_DISPARITY = "sqrt_disparity"
    DISPARITY = "disparity"
    DEPTH = "depth"

    @property
    def near_is_high(self) -> bool:
        """Whether larger values are nearer to the camera."""
        return self in (Space.SQRT_DISPARITY, Space.DISPARITY)

    def from_depth(self, depth_m: A) -> A:
        """Metres to this space, elementwise; NumPy or torch, any shape.

        >>> Space.SQRT_DISPARITY.from_depth(np.array([1.0, 4.0]))
        array([1. , 0.5])
        """
        xp: Any = namespace(depth_m)
        depth_m = xp.clip(depth_m, MIN_DEPTH_M, MAX_DEPTH_M)
        if self is Space.LOG_DEPTH:
            return xp.log(depth_m)
        if self is Space.SQRT_DISPARITY:
            return xp.reciprocal(xp.sqrt(depth_m))
        if self is Space.DISPARITY:
            return xp.reciprocal(depth_m)
        return depth_m

    def to_depth(self, values: A, min_depth_m: float = MIN_DEPTH_M) -> A:
        """This space to metres, elementwise; the inverse of :meth:`from_depth` on its range.

        Values outside the range of the space (a disparity at or below 0, say) become the nearest depth that
        the space can express, never NaN, infinite or negative; nothing is nearer than ``min_depth_m``.
        """
        xp = namespace(values)
        if self is Space.LOG_DEPTH:
            return xp.exp(xp.clip(values, float(np.log(min_depth_m)), float(np.log(MAX_DEPTH_M))))
        if self is Space.SQRT_DISPARITY:
            return xp.reciprocal(xp.square(xp.clip(values, MAX_DEPTH_M**-0.5, min_depth_m**-0.5)))
        if self is Space.DISPARITY:
            return xp.reciprocal(xp.clip(values, 1.0 / MAX_DEPTH_M, 1.0 / min_depth_m))
        return xp.clip(values, min_depth_m, MAX_DEPTH_M)

    def depth_slope(self, values: A) -> A:
        """|d depth / d value| at ``values``: turns a small spread in this space into one in metres."""
        depth_m = self.to_depth(values)
        if self is Space.LOG_DEPTH:
            return depth_m
        if self is Space.SQRT_DISPARITY:
            return 2.0 * depth_m * namespace(depth_m).sqrt(depth_m)
        if self is Space.DISPARITY:
            return depth_m**2
        return depth_m * 0 + 1.0
