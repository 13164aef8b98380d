"""What the completion model sees of sparse depth: the paper's dense pictures, and the scale that brings metres back."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from leadline.errors import InputError
from leadline.spaces import Space
from leadline.training.normalisation import fill_nearest

FloatMap = npt.NDArray[np.float32]

#: Distances to the nearest measurement are shown up to this share of the picture's long edge.
FARTHEST_SHARE = 0.25


@dataclass(frozen=True)
class SparseCondition:
    """Sparse depth as pictures, and how to return to metres.

    Attributes:
        dense: float32 (H, W), about [-1, 1]: normalised log depth of the nearest measurement.
        distance: float32 (H, W) in [-1, 1]: how far that measurement is.
        centre, half_range: The model's normalised values v stand for ln z = centre + half_range · v.
    """

    dense: FloatMap
    distance: FloatMap
    centre: float
    half_range: float

    def to_log_depth(self, values: FloatMap) -> FloatMap:
        """The model's normalised values (H, W) to ln metres."""
        return (self.centre + self.half_range * values).astype(np.float32)


def sparse_condition(sparse_depth_m: FloatMap, least_half_range: float = 0.1) -> SparseCondition:
    """The condition of sparse depth (H, W), metres, 0 where nothing was measured.

    Following the paper's appendix: nearest-neighbour interpolation for the depth, the Euclidean distance to the
    nearest measurement for its mask. The paper leaves the normalisation open; here the 2 and 98 % quantiles of the
    *measured* log depths become -1 and 1, so that the same two numbers turn the output into metres.

    Raises:
        InputError: Nothing was measured.
    """
    known = sparse_depth_m > 0
    if not known.any():
        raise InputError("sparse depth without a single measurement; give at least one point inside the image")
    logs = Space.LOG_DEPTH.from_depth(sparse_depth_m[known].astype(np.float64))
    low, high = np.quantile(logs, [0.02, 0.98])
    centre, half_range = float(low + high) / 2.0, max(float(high - low) / 2.0, least_half_range)
    sparse = np.zeros(sparse_depth_m.shape, dtype=np.float32)
    sparse[known] = (logs - centre) / half_range
    away = cv2.distanceTransform((~known).astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
    away = np.clip(away / (FARTHEST_SHARE * max(known.shape)), 0.0, 1.0)
    return SparseCondition(fill_nearest(sparse, known), (2.0 * away - 1.0).astype(np.float32), centre, half_range)


def thin_out(depth_m: FloatMap, valid: npt.NDArray[np.bool_], rng: np.random.Generator) -> FloatMap:
    """A sparse sensor's view of dense depth: float32 (H, W), 0 where nothing is measured.

    One of: 2 % of the pixels (the paper), 100 to 2000 random points, 8 to 64 scan lines, half of the pixels; sometimes
    only the lower part of the picture, as a LiDAR sees it, and with 1 % of noise.
    """
    height, width = depth_m.shape
    kind = rng.integers(4)
    if kind == 0:
        kept = rng.random(depth_m.shape) < 0.02
    elif kind == 1:
        kept = rng.random(depth_m.shape) < float(np.exp(rng.uniform(np.log(100), np.log(2000)))) / depth_m.size
    elif kind == 2:
        lines = int(rng.integers(8, 65))
        rows = ((np.arange(lines) + rng.random()) * height / lines).astype(np.intp).clip(0, height - 1)
        kept = np.zeros(depth_m.shape, dtype=bool)
        kept[rows[:, None], np.arange(0, width, int(rng.integers(1, 4)))[None]] = True
    else:
        kept = rng.random(depth_m.shape) < 0.5
    if rng.random() < 0.25:
        kept[: int(height * rng.uniform(0.1, 0.5))] = False
    kept &= valid
    if kept.sum() < 8:
        kept = valid & (rng.random(depth_m.shape) < 0.02) | _one_of(valid, rng)
    noise = 1.0 + 0.01 * rng.standard_normal(depth_m.shape) * (rng.random() < 0.5)
    return np.where(kept, depth_m * noise, 0.0).astype(np.float32)


def _one_of(valid: npt.NDArray[np.bool_], rng: np.random.Generator) -> npt.NDArray[np.bool_]:
    chosen = np.zeros(valid.shape, dtype=bool)
    candidates = np.flatnonzero(valid)
    if candidates.size:
        chosen.flat[rng.choice(candidates)] = True
    return chosen
