"""Scale and shift of a whole map, robustly, from however many points there are."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from leadline.depth.alignment import robust_least_squares
from leadline.depth.spaces import Space

Vector = npt.NDArray[np.float64]
Floats = npt.NDArray[np.floating[Any]]

#: Scale assumed while the points cannot tell it, for log depth: models spread a scene's range, near e²-fold, over [-1, 1].
LOG_SCALE = 1.0
#: Points under which the scale is drawn towards the one that a single point gives.
_FEW = 8
#: Points the robust fit looks at; more add time and nothing else.
_FITTED = 300


@dataclass(frozen=True)
class Fit:
    """``scale * values + shift`` approximates ``space.from_depth(depth_m)``.

    Attributes:
        scale: Positive; 0 if the map tells nothing about the points.
        shift: In the unit of the space.
        sigma: Robust standard deviation of the points around the fit, in the unit of the space.
        kind: ``"scale and shift"``, ``"scale"`` (of depth; one point, or points of one value), ``"constant"``, ``"carried over"`` (from
            frames before) or ``"condition"`` (a completion model's own).
        inliers: Share of points within 3 sigma.
    """

    scale: float
    shift: float
    sigma: float
    kind: str
    inliers: float


def fit_scale_and_shift(values: Floats, depth_m: Floats, space: Space, seed: int = 0) -> Fit:
    """Fit a relative map's values at points to their depth.

    Two or more points with different values give scale and shift; least median of squares, then Tukey's biweight, so up
    to about 45 % of them may be wrong. Few points (< 8) are drawn towards a fit of scale alone. One point, or a fit
    that would turn the map around, gives scale alone. A map that then explains the points no better than a constant
    does gets scale 0.

    Args:
        values: (n,) n ≥ 1, the map at the points.
        depth_m: (n,) metres, positive.
        space: What ``values`` are affine in.
        seed: For the random pairs of the robust fit.
    """
    target: Vector = space.from_depth(depth_m.astype(np.float64))
    x: Vector = values.astype(np.float64)
    rng = np.random.default_rng(seed)
    if x.size > _FITTED:
        kept = rng.choice(x.size, _FITTED, replace=False)
        x, target = x[kept], target[kept]
    alone = _scale_alone(x, target, space)
    if x.size == 1:
        return _judged(x, target, *alone, "scale")
    both = robust_least_squares(x, target, seed)
    if both is None or both[0] <= 0:
        candidate = _judged(x, target, *alone, "scale")
        flat = _judged(x, target, 0.0, float(np.median(target)), "constant")
        return candidate if candidate.sigma < flat.sigma or x.size < _FEW else flat
    if x.size < _FEW:
        trust = (x.size - 1) / _FEW
        scale = trust * both[0] + (1 - trust) * alone[0]
        return _judged(x, target, scale, float(np.median(target - scale * x)), "scale and shift")
    return _judged(x, target, *both, "scale and shift")


def _scale_alone(values: Vector, target: Vector, space: Space) -> tuple[float, float]:
    """Scale of *depth* from points: a shift in log depth, a factor in the other spaces where it is possible."""
    if space is Space.LOG_DEPTH:
        return LOG_SCALE, float(np.median(target - LOG_SCALE * values))
    usable = values > 1e-6
    if not usable.any():
        return 0.0, float(np.median(target))
    return float(np.median(target[usable] / values[usable])), 0.0


def judged(values: Floats, depth_m: Floats, space: Space, scale: float, shift: float, kind: str) -> Fit:
    """A given scale and shift as a :class:`Fit`: with its spread around points (n,), depth in metres."""
    target: Vector = space.from_depth(depth_m.astype(np.float64))
    return _judged(values.astype(np.float64), target, scale, shift, kind)


def _judged(values: Vector, target: Vector, scale: float, shift: float, kind: str) -> Fit:
    residual = np.abs(scale * values + shift - target)
    sigma = 1.4826 * float(np.median(residual))
    return Fit(scale, shift, sigma, kind, float(np.mean(residual <= 3 * sigma + 1e-9)))
