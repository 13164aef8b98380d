"""What somebody painted over a photograph, as changes of its depth: white is nearer, black is farther, blue is nothing at all."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from leadline.geometry.ranges import RANGE_PERCENT
from leadline.types import BoolMap, FloatMap

FloatArray = npt.NDArray[np.floating[Any]]


def read_paint(paint: npt.NDArray[np.uint8]) -> tuple[FloatMap, BoolMap]:
    """Shift float32 (H, W) in [-1, 1], 1 is nearer; and bool (H, W), what is to be removed.

    Args:
        paint: (H, W, 4) colours and opacity. Grey between black and white shifts in proportion, and so does opacity;
            what is more than half blue and opaque is removed. Where nothing was painted, opacity is 0.
    """
    colours = paint.astype(np.float32) / np.float32(255)
    opacity = colours[..., 3]
    grey = np.minimum(colours[..., 0], colours[..., 1])
    blue = np.clip(colours[..., 2] - np.maximum(colours[..., 0], colours[..., 1]), 0, 1)
    shift = opacity * (1 - blue) * (2 * grey - 1)
    return shift.astype(np.float32), np.asarray(opacity * blue > 0.5)


def moved_depth(depth: FloatArray, shift: FloatMap, share: float) -> FloatMap:
    """Depth float32 (H, W) > 0 after the shifts: 1 brings a pixel nearer by ``share`` of the range, as a ratio of distances.

    So near things move by little and far ones by much, as their depth is seen, and nothing comes behind the camera. The
    range goes from the first to the last percentile of ``depth``.
    """
    near, far = np.percentile(depth, RANGE_PERCENT)
    return (depth * (far / near) ** (-share * shift)).astype(np.float32)


def moved_nearness(rise: FloatArray, shift: FloatMap, share: float) -> FloatMap:
    """Nearness float32 (H, W) in [0, 1] after the shifts: 1 adds ``share``."""
    return np.clip(rise + share * shift, 0, 1).astype(np.float32)
