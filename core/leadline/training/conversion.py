"""A teacher's map in the student's space: what is known exactly, and the one thing that has to be assumed."""

from __future__ import annotations

import numpy as np

from leadline.depth.spaces import Space
from leadline.training.normalisation import Normalisation
from leadline.types import FloatMap

#: Far over near of a picture (98 and 2 % quantiles of depth), where a map known up to scale and shift goes into another space.
FAR_OVER_NEAR = 10.0


def as_relative_depth(
    values: FloatMap, space: Space, shift_known: bool, far_over_near: float = FAR_OVER_NEAR
) -> FloatMap:
    """Depth up to its scale, of a map in ``space``.

    Args:
        values: (H, W), affine in ``space``.
        space: Of ``values``.
        shift_known: Whether only the scale is unknown, as in metric maps and in disparity whose 0 is endlessly far; then nothing
            is assumed. Log depth knows it by itself: its shift is depth's scale, but its scale is not known.
        far_over_near: What is assumed otherwise: the ratio of depth at the far and the near 2 % quantile.
    """
    if shift_known and space is not Space.LOG_DEPTH:
        positive = np.maximum(values.astype(np.float64), 0.0)
        unit = max(float(np.quantile(positive, 0.98)), 1e-9)
        return np.asarray(space.to_depth(positive / unit), dtype=np.float32)
    low, high = np.quantile(values.astype(np.float64), [0.02, 0.98])
    ends = space.from_depth(np.array([1.0, far_over_near]))
    share = (values - low) / max(high - low, 1e-9)
    inside = ends.min() + share * (ends.max() - ends.min())
    nearest, farthest = 1.0 / far_over_near, far_over_near**2  # beyond the quantiles, but not without end
    return np.clip(space.to_depth(inside), nearest, farthest).astype(np.float32)


def in_space(values: FloatMap, space: Space, shift_known: bool, wanted: Space, clip: float = 1.0) -> FloatMap:
    """A map in ``space`` as a student of ``wanted`` is trained: its 2 and 98 % quantiles at -1 and 1, cut at ±``clip``.

    In the same space nothing is assumed.
    """
    if space is wanted:
        low, high = np.quantile(values.astype(np.float64), [0.02, 0.98])
        return np.clip(2.0 * (values - low) / max(high - low, 1e-9) - 1.0, -clip, clip).astype(np.float32)
    depth = as_relative_depth(values, space, shift_known)
    return Normalisation(wanted, clip=clip)(depth, np.ones(depth.shape, dtype=bool))
