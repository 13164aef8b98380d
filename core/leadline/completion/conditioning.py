"""Sparse depth as a network sees it: dense pictures beside the photograph, and the scale that brings metres back.

The same in training and in use: the recipe makes its condition here and so does completion.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
import torch
from torch import Tensor

from leadline.depth.spaces import Space
from leadline.errors import InputError
from leadline.sensors.filling import fill_nearest
from leadline.types import FloatMap

#: Distances to the nearest measurement are shown up to this share of the picture's long edge.
FARTHEST_SHARE = 0.25
#: Normalised depth is cut off here, as are the targets of training.
CLIP = 1.5


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

    def pictures(self) -> Tensor:
        """float32 (2, 3, H, W): the grey pictures that the autoencoder gets, depth (cut off at ±1.5) and distance."""
        return torch.stack([as_picture(self.dense.clip(-CLIP, CLIP)), as_picture(self.distance)])


def sparse_condition(sparse_depth_m: FloatMap, least_half_range: float = 0.1) -> SparseCondition:
    """The condition of sparse depth (H, W), metres, 0 where nothing was measured.

    Following DepthFM's appendix: nearest-neighbour interpolation for the depth, the Euclidean distance to the
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


def as_picture(normalised: FloatMap) -> Tensor:
    """(H, W) to (3, H, W): the grey picture that the autoencoder sees."""
    return torch.from_numpy(np.ascontiguousarray(normalised)).expand(3, -1, -1)
