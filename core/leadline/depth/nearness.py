"""One way to show a map: how near each pixel is, in [0, 1]."""

from __future__ import annotations

import numpy as np

from leadline.types import FloatMap, Floats


def nearness(values: Floats, near_is_high: bool, low_percent: float = 0.0, high_percent: float = 100.0) -> FloatMap:
    """float32 in [0, 1], 1 is nearest, affine in ``values`` between the two percentiles and clipped beyond them.

    Args:
        values: Any shape. What is not finite takes no part in the percentiles; NaN stays NaN.
        near_is_high: Whether large values are near.
        low_percent, high_percent: Of nearness; 0 and 100 are the extremes.
    """
    towards_viewer = values if near_is_high else -values
    known = towards_viewer[np.isfinite(towards_viewer)]
    if known.size == 0:
        return np.full(values.shape, np.nan, np.float32)
    low = known.min() if low_percent == 0 else np.percentile(known, low_percent)
    high = known.max() if high_percent == 100 else np.percentile(known, high_percent)
    span = max(float(high - low), float(np.finfo(np.float32).tiny))
    return np.clip((towards_viewer - towards_viewer.dtype.type(low)) / span, 0.0, 1.0).astype(np.float32)
