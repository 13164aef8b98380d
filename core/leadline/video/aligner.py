"""Depth of successive frames on one scale: each frame is fitted to those before it.

A relative map is known only up to scale and shift, and a generative model chooses both anew for every frame; shown as a
film, the scene would pump. Each frame is fitted, robustly, to a slowly moving memory of the frames before it. A frame
that does not fit (a cut) starts a new memory.

NumPy only: what OpenCV adds (following each pixel) is in :mod:`leadline.video.stabiliser`.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from leadline.depth.alignment import median, robust_least_squares
from leadline.types import BoolMap, FloatMap, Floats
from leadline.video.tuned import ALIGNER


@dataclass(frozen=True)
class ScaleShift:
    """``scale * values + shift`` continues the film.

    Attributes:
        scale: Positive.
        shift: In the unit of the values.
        residual: Median error of the fit relative to the interquartile range of what was fitted to.
        cut: Whether the frame shows another scene; scale and shift are then 1 and 0.
    """

    scale: float
    shift: float
    residual: float
    cut: bool

    def apply(self, values: Floats) -> FloatMap:
        """float32, the shape of ``values``."""
        if (self.scale, self.shift) == (1.0, 0.0):
            return values.astype(np.float32, copy=False)
        scaled = np.asarray(values * np.float32(self.scale), np.float32)
        scaled += np.float32(self.shift)
        return scaled


def scale_and_shift(
    values: FloatMap, target: FloatMap, valid: BoolMap | None = None, steadiness: float = 0.5
) -> ScaleShift:
    """The robust fit of a frame to what came before it; things that move are outvoted.

    Noise in ``values`` makes an ordinary regression too flat, by a factor that multiplies from frame to frame until the film
    has lost its relief. So the line is fitted both ways and the two slopes are combined by how much of the noise is in
    ``values`` and how much in ``target`` (regression with errors in both variables).

    Args:
        values: (H, W), the new frame.
        target: (H, W), the frames before, on the film's scale.
        valid: bool (H, W), where both show the same point.
        steadiness: Noise variance of ``target`` over that of ``values``; below 1 for an average of frames.
    """
    step = max(1, int(np.sqrt(values.size / ALIGNER.points)))
    grid = (slice(step // 2, None, step), slice(step // 2, None, step))
    usable = np.isfinite(values[grid]) & np.isfinite(target[grid])
    if valid is not None:
        usable &= valid[grid]
    x, y = (a[grid][usable].astype(np.float64) for a in (values, target))
    if x.size < 16:
        return ScaleShift(1.0, 0.0, float("inf"), True)
    forth = robust_least_squares(x, y, pairs=ALIGNER.lines, judged_on=ALIGNER.judged, passes=ALIGNER.passes)
    back = robust_least_squares(y, x, pairs=ALIGNER.lines, judged_on=ALIGNER.judged, passes=ALIGNER.passes)
    spread = float(np.subtract(*np.percentile(y, [75, 25])))
    if forth is None and back is None:  # two constant maps: only the shift can differ
        return ScaleShift(1.0, float(y[0] - x[0]), 0.0, False)
    if forth is None or back is None or forth[0] <= 0 or back[0] <= 0 or spread <= 0:
        return ScaleShift(1.0, 0.0, float("inf"), True)
    share = steadiness / (1.0 + steadiness)
    scale = float(forth[0] ** share * back[0] ** (share - 1.0))
    off = y - scale * x
    shift = median(off)
    residual = median(np.abs(off - shift)) / spread
    if residual > ALIGNER.cut_residual or not 1 / ALIGNER.largest_scale < scale < ALIGNER.largest_scale:
        return ScaleShift(1.0, 0.0, residual, True)
    return ScaleShift(scale, shift, residual, False)


class TemporalAligner:
    """Feed the frames of a film in order; get them back on one scale. Keep the state to resume later.

    Attributes:
        memory: float32 (H, W), what the next frame is fitted to; None before the first one.
    """

    def __init__(self, memory: FloatMap | None = None) -> None:
        self.memory = memory

    def align(self, values: FloatMap) -> FloatMap:
        """float32 (H, W): ``values`` times a scale plus a shift, so that they continue the film.

        The first frame, one of another size and the first after a cut come back as they are.
        """
        if self.memory is None or self.memory.shape != values.shape:
            self.memory = values.astype(np.float32)
            return self.memory.copy()
        fit = scale_and_shift(values, self.memory, steadiness=ALIGNER.renewal / (2.0 - ALIGNER.renewal))
        if fit.cut:
            self.memory = values.astype(np.float32)
            return self.memory.copy()
        aligned = fit.apply(values)
        self.memory = (self.memory + ALIGNER.renewal * (aligned - self.memory)).astype(np.float32)
        return aligned
