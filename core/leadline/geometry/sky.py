"""The sky in a photograph: far away, smooth, and connected to the upper border."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from leadline.geometry.tuned import SKY
from leadline.types import BoolMap


def sky_mask(farness: npt.NDArray[np.floating[Any]], photo: npt.NDArray[np.uint8], threshold: float = 0.85) -> BoolMap:
    """Pixels (H, W) that are sky.

    Args:
        farness: (H, W) in [0, 1], 1 is the farthest (``1 - nearness``).
        photo: (H, W, 3) the photograph.
        threshold: How far away the sky has to be. Lower removes more.
    """
    light = photo.astype(np.float32).mean(axis=2)
    busy = np.zeros(light.shape, np.bool_)
    busy[:, 1:] |= np.abs(np.diff(light, axis=1)) > SKY.smooth_step
    busy[1:] |= np.abs(np.diff(light, axis=0)) > SKY.smooth_step
    candidates = (farness >= threshold) & ~busy
    reached = np.zeros_like(candidates)
    reached[0] = candidates[0]
    for _ in range(SKY.sweeps):
        before = np.count_nonzero(reached)
        reached = _spread(candidates.T, reached.T).T
        reached = _spread(candidates, reached)
        if np.count_nonzero(reached) == before:
            break
    return reached


def _spread(candidates: BoolMap, reached: BoolMap) -> BoolMap:
    """Let what is reached fill the unbroken run of candidates that it stands in, row by row."""
    # Runs are numbered by the obstacles passed so far; obstacles themselves are masked at the end.
    runs = np.cumsum(~candidates, axis=1, dtype=np.int64)
    runs += np.arange(len(runs), dtype=np.int64)[:, None] * (candidates.shape[1] + 1)
    touched = np.bincount(runs[reached], minlength=int(runs.max()) + 1) > 0
    return np.asarray(touched[runs] & candidates)
