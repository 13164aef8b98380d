"""Depth for video: each frame is scaled and shifted to the one before, against flicker (DepthFM, appendix, video)."""

from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np

from leadline.prediction import DepthPrediction, FloatMap

_FIT_LONG_EDGE = 160


def align_to(prediction: DepthPrediction, previous: DepthPrediction) -> DepthPrediction:
    """``prediction`` scaled and shifted, in its own space, to agree best with ``previous``.

    Moving things are outvoted: after a least-squares fit, the half of the pixels that agree best are fitted again. A
    fit that would turn the map over or flatten it (a cut, most likely) is not applied.

    Args:
        prediction: The new frame.
        previous: The frame before, already aligned; of the same size.
    """
    if prediction.metric or prediction.shape != previous.shape:
        return prediction
    x, y = _small(prediction.values), _small(previous.values)
    scale, shift = _fit(x, y)
    residual = np.abs(scale * x + shift - y)
    agreeing = residual <= np.median(residual)
    scale, shift = _fit(x[agreeing], y[agreeing])
    explained = np.corrcoef(x, y)[0, 1] if x.std() > 0 and y.std() > 0 else 0.0
    if not (0.5 < scale < 2.0) or explained < 0.5:
        return prediction
    values = (scale * prediction.values + shift).astype(np.float32)
    spread = None if prediction.uncertainty is None else (scale * prediction.uncertainty).astype(np.float32)
    meta = {**prediction.meta, "aligned_scale": round(scale, 6), "aligned_shift": round(shift, 6)}
    return replace(prediction, values=values, uncertainty=spread, meta=meta)


def _small(values: FloatMap) -> FloatMap:
    factor = min(1.0, _FIT_LONG_EDGE / max(values.shape))
    size = (max(1, round(values.shape[1] * factor)), max(1, round(values.shape[0] * factor)))
    return np.asarray(cv2.resize(values, size, interpolation=cv2.INTER_AREA), dtype=np.float32).ravel()


def _fit(x: FloatMap, y: FloatMap) -> tuple[float, float]:
    """Least squares y ≈ scale x + shift."""
    x64, y64 = x.astype(np.float64), y.astype(np.float64)
    spread = float(((x64 - x64.mean()) ** 2).mean())
    if spread == 0.0:
        return 1.0, float(y64.mean() - x64.mean())
    scale = float(((x64 - x64.mean()) * (y64 - y64.mean())).mean()) / spread
    return scale, float(y64.mean() - scale * x64.mean())
