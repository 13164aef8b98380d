"""A relative map, and its colours, fast enough for a live stream."""

from __future__ import annotations

from functools import cache

import cv2
import numpy as np
import numpy.typing as npt

from leadline.prediction import DepthPrediction

FloatMap = npt.NDArray[np.float32]


@cache
def _palette() -> npt.NDArray[np.uint8]:
    ramp = np.arange(256, dtype=np.uint8)[:, None]
    bgr = np.asarray(cv2.applyColorMap(ramp, cv2.COLORMAP_TURBO), dtype=np.uint8)
    return np.ascontiguousarray(bgr[:, 0, ::-1])


def relative_depth(prediction: DepthPrediction) -> FloatMap:
    """float32 (H, W) in [0, 1], 0 nearest and 1 farthest of this frame, affine in the model's space."""
    away = -prediction.values if prediction.space.near_is_high else prediction.values
    low, high = float(away.min()), float(away.max())
    scaled: FloatMap = (away - np.float32(low)) / np.float32(max(high - low, 1e-12))
    return scaled


def colour_relative(relative: FloatMap) -> npt.NDArray[np.uint8]:
    """Relative depth in [0, 1] → RGB uint8 (H, W, 3), near red, far blue."""
    level = cv2.convertScaleAbs(1.0 - relative, alpha=255.0)
    return np.asarray(_palette()[level])
