"""From a model's numbers to lengths: near and far, a known length, nearness for relief."""

from __future__ import annotations

import math
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from leadline.geometry.tuned import RANGES
from leadline.types import FloatMap

FloatArray = npt.NDArray[np.floating[Any]]

#: Percentiles taken as the near and far end of a map, so that a few stray pixels do not decide the scale.
RANGE_PERCENT = (1.0, 99.0)


class ValueSpace(Protocol):
    """What this module needs of :class:`leadline.depth.spaces.Space`."""

    @property
    def near_is_high(self) -> bool: ...
    def from_depth(self, depth_m: FloatArray, /) -> FloatArray: ...
    def to_depth(self, values: FloatArray, /) -> FloatArray: ...


def ends_of(values: FloatArray, percent: tuple[float, float] = RANGE_PERCENT) -> tuple[float, float]:
    """What counts as the ends of a map's numbers: percentiles of those that are finite."""
    low, high = np.percentile(values[np.isfinite(values)], percent)
    return float(low), float(high)


def assumed_depth(
    values: FloatArray, space: ValueSpace, near_m: float, far_m: float, ends: tuple[float, float] | None = None
) -> FloatMap:
    """Depth float32 (H, W) of a relative map if it reached from ``near_m`` to ``far_m``.

    ``ends``: of the whole map, if ``values`` are a part of it (:func:`ends_of`).

    An assumption made by whoever looks at the picture, not a measurement: use it for meshes, never call it metric.
    """
    near_value, far_value = space.from_depth(np.array([near_m, far_m]))
    ends = ends or ends_of(values)
    scale, shift = _to_range(ends, float(near_value), float(far_value), space.near_is_high)
    # Disparity spaces run to infinity quickly beyond the far end; so the ends are held.
    depth = space.to_depth(scale * values.astype(np.float64) + shift)
    return np.clip(depth, near_m / RANGES.overshoot, far_m * RANGES.overshoot).astype(np.float32)


def affine_to_range(
    values: FloatArray,
    near_value: float,
    far_value: float,
    near_is_high: bool,
    percent: tuple[float, float] = RANGE_PERCENT,
) -> tuple[float, float]:
    """``scale > 0, shift`` that carry the ends of a relative map onto the wanted near and far.

    Args:
        values: Any shape, the numbers of a relative map in some space.
        near_value, far_value: The wanted near and far distance, expressed in the same space.
        near_is_high: Whether high numbers are near in that space.
        percent: Percentiles of ``values`` that count as their ends.

    A map without any range is moved to the near end.
    """
    return _to_range(ends_of(values, percent), near_value, far_value, near_is_high)


def _to_range(
    ends: tuple[float, float], near_value: float, far_value: float, near_is_high: bool
) -> tuple[float, float]:
    low, high = ends
    wanted_low, wanted_high = (far_value, near_value) if near_is_high else (near_value, far_value)
    if not wanted_high > wanted_low:
        raise ValueError("the far distance has to be larger than the near one")
    if high - low <= 1e-6 * max(abs(low), abs(high), 1e-6):
        return 1.0, float(near_value - low)
    scale = (wanted_high - wanted_low) / (high - low)
    return float(scale), float(wanted_low - scale * low)


def scale_from_length(first: FloatArray, second: FloatArray, length_m: float) -> float:
    """The factor that makes two reconstructed points (3,) lie ``length_m`` apart."""
    distance = float(np.linalg.norm(np.asarray(first) - np.asarray(second)))
    if not (distance > 0 and math.isfinite(distance) and length_m > 0):
        raise ValueError("two different points and a length above zero are needed to set the scale")
    return length_m / distance


def scale_to_points(depth: FloatArray, sparse_m: FloatArray) -> float:
    """The factor that brings a depth map to measured points: the median of their ratios, so that one slip does no harm.

    Args:
        depth: (H, W) > 0, right up to its scale; of any resolution.
        sparse_m: (H', W') metres, 0 where nothing was measured.
    """
    rows, columns = np.nonzero(sparse_m)
    if not len(rows):
        raise ValueError("there are no measured points")
    at_row = ((rows + 0.5) * depth.shape[0] / sparse_m.shape[0]).astype(int)
    at_column = ((columns + 0.5) * depth.shape[1] / sparse_m.shape[1]).astype(int)
    return float(np.exp(np.median(np.log(sparse_m[rows, columns] / depth[at_row, at_column]))))
