"""Depth for video: each frame is scaled and shifted to the one before, against flicker (DepthFM, appendix, video)."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from leadline.depth.prediction import DepthPrediction
from leadline.video.aligner import CUT_RESIDUAL, robust_affine


def align_to(prediction: DepthPrediction, previous: DepthPrediction) -> DepthPrediction:
    """``prediction`` scaled and shifted, in its own space, to agree best with ``previous``.

    Moving things are outvoted by a robust fit. One that would turn the map over or flatten it, or that leaves too much
    unexplained (a cut, most likely), is not applied.

    Args:
        prediction: The new frame.
        previous: The frame before, already aligned; of the same size.
    """
    if prediction.metric or prediction.shape != previous.shape:
        return prediction
    scale, shift, residual = robust_affine(prediction.values, previous.values)
    if not 0.5 < scale < 2.0 or residual > CUT_RESIDUAL:
        return prediction
    values = (scale * prediction.values + shift).astype(np.float32)
    spread = None if prediction.uncertainty is None else (scale * prediction.uncertainty).astype(np.float32)
    meta = {**prediction.meta, "aligned_scale": round(scale, 6), "aligned_shift": round(shift, 6)}
    return replace(prediction, values=values, uncertainty=spread, meta=meta)
