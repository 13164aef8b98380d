"""Depth of successive frames on one scale: each frame is fitted to those before it.

A relative map is known only up to scale and shift, and a generative model chooses both anew for every frame; shown as a
film, the scene would pump. Each frame is fitted, robustly, to a slowly moving memory of the frames before it. A frame
that does not fit (a cut) starts a new memory on the range of the old one.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from leadline.types import FloatMap

FloatArray = npt.NDArray[np.floating[Any]]

#: Points of a regular sub-sampling that the fit looks at.
SAMPLES = 20_000
#: Rounds of re-weighting; points far off (what moved) lose their say.
ROUNDS = 8
#: A fit whose median error, relative to the memory's spread, is larger than this means another scene.
CUT_RESIDUAL = 0.35
#: Share of a new frame in the memory.
RENEWAL = 0.2


class TemporalAligner:
    """Feed the frames of a film in order; get them back on one scale. Keep the state to resume later."""

    def __init__(self, memory: FloatMap | None = None) -> None:
        self.memory = memory

    def align(self, values: FloatMap) -> FloatMap:
        """float32 (H, W): ``values`` times a scale plus a shift, so that they continue the film."""
        if self.memory is None or self.memory.shape != values.shape:
            self.memory = values.astype(np.float32)
            return self.memory.copy()
        scale, shift, residual = robust_affine(values, self.memory)
        if scale <= 0 or residual > CUT_RESIDUAL:
            scale, shift = _same_range(values, self.memory)
            self.memory = (values * scale + shift).astype(np.float32)
            return self.memory.copy()
        aligned = (values * scale + shift).astype(np.float32)
        self.memory = (self.memory + RENEWAL * (aligned - self.memory)).astype(np.float32)
        return aligned


def robust_affine(values: FloatArray, target: FloatArray) -> tuple[float, float, float]:
    """``scale, shift, residual`` of the fit ``scale * values + shift ≈ target`` by re-weighted least squares.

    The weights are Cauchy's, with the spread estimated from the median absolute residual. ``residual`` is that
    median relative to the spread (interquartile range) of the target.
    """
    step = max(1, values.size // SAMPLES)
    x, y = values.ravel()[::step].astype(np.float64), target.ravel()[::step].astype(np.float64)
    weights = np.ones_like(x)
    scale, shift, off = 1.0, 0.0, np.abs(x - y)
    spread = float(np.subtract(*np.percentile(y, [75, 25]))) or 1.0
    for _ in range(ROUNDS):
        mean_x, mean_y = np.average(x, weights=weights), np.average(y, weights=weights)
        variance = np.average((x - mean_x) ** 2, weights=weights)
        if variance <= 1e-12:
            return 1.0, float(mean_y - mean_x), float(np.median(np.abs(y - x - mean_y + mean_x)) / spread)
        scale = float(np.average((x - mean_x) * (y - mean_y), weights=weights) / variance)
        shift = float(mean_y - scale * mean_x)
        off = np.abs(scale * x + shift - y)
        width = 2.0 * float(np.median(off)) + 1e-9
        weights = 1.0 / (1.0 + (off / width) ** 2)
    return scale, shift, float(np.median(off)) / spread


def _same_range(values: FloatArray, target: FloatArray) -> tuple[float, float]:
    low, high = np.percentile(values, [2, 98])
    wanted_low, wanted_high = np.percentile(target, [2, 98])
    scale = float((wanted_high - wanted_low) / (high - low)) if high > low else 1.0
    return scale, float(wanted_low - scale * low)
