"""A relative map fast enough for a live stream."""

from __future__ import annotations

from leadline.depth.prediction import DepthPrediction
from leadline.types import FloatMap


def relative_depth(prediction: DepthPrediction) -> FloatMap:
    """float32 (H, W) in [0, 1], 0 nearest and 1 farthest of this frame, affine in the model's space."""
    away = -prediction.values if prediction.space.near_is_high else prediction.values
    low, high = float(away.min()), float(away.max())
    scaled: FloatMap = (away - away.dtype.type(low)) / away.dtype.type(max(high - low, 1e-12))
    return scaled
