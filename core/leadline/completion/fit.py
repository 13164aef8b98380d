"""Scale and shift of a whole map, robustly, from however many points there are."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from leadline.completion.prior import MapRange, Posterior, posterior
from leadline.completion.tuned import FIT
from leadline.depth.alignment import robust_least_squares
from leadline.depth.spaces import Space

Vector = npt.NDArray[np.float64]
Floats = npt.NDArray[np.floating[Any]]


@dataclass(frozen=True)
class Fit:
    """``scale * values + shift`` approximates ``space.from_depth(depth_m)``.

    Attributes:
        scale: Positive; 0 if the map tells nothing about the points.
        shift: In the unit of the space.
        sigma: Robust standard deviation of the points around the fit, in the unit of the space.
        kind: ``"scale"`` (one point), ``"scale and shift"``, ``"constant"``, ``"carried over"`` (from frames before) or
            ``"condition"`` (a completion model's own).
        inliers: Share of points within 3 sigma.
        prior: With few points: how much they leave open.
    """

    scale: float
    shift: float
    sigma: float
    kind: str
    inliers: float
    prior: Posterior | None = None


def fit_scale_and_shift(
    values: Floats,
    depth_m: Floats,
    space: Space,
    seed: int = 0,
    ends: MapRange | None = None,
    relative_sigma: Floats | None = None,
) -> Fit:
    """Fit a relative map's values at points to their depth.

    From 50 points on: least median of squares, then Tukey's biweight, so up to about 45 % of them may be wrong. Fewer
    points update a prior about what such maps mean (:mod:`leadline.completion.prior`); from 12 on those that the majority
    contradicts are left out first. A map that explains many points no better than a constant does gets scale 0.

    Args:
        values: (n,) n ≥ 1, the map at the points.
        depth_m: (n,) metres, positive.
        space: What ``values`` are affine in.
        seed: For the random pairs of the robust fit.
        ends: Of the whole map; None takes those of ``values``.
        relative_sigma: (n,) the points' own standard deviations over their depth; None if they are exact.
    """
    depth: Vector = depth_m.astype(np.float64)
    x: Vector = values.astype(np.float64)
    own = np.zeros_like(x) if relative_sigma is None else relative_sigma.astype(np.float64)
    if x.size > FIT.fitted:
        kept = np.random.default_rng(seed).choice(x.size, FIT.fitted, replace=False)
        x, depth, own = x[kept], depth[kept], own[kept]
    target: Vector = space.from_depth(depth)
    both = robust_least_squares(x, target, seed, FIT.lines) if x.size >= FIT.too_few_to_vote else None
    rising = both is not None and both[0] > 0
    if both is not None and rising and x.size >= FIT.prior_matters:
        return _judged(x, target, *both, "scale and shift")
    believed = np.ones(x.size, np.bool_)
    if both is not None and rising:
        off = np.abs(np.log(space.to_depth(both[0] * x + both[1]) / depth))
        believed = off <= max(FIT.agrees_sigma * 1.4826 * float(np.median(off)), FIT.agrees)
    few = posterior(x[believed], depth[believed], space, ends or MapRange.of(x, space), own[believed])
    kind = "constant" if few.scale == 0 else "scale" if x.size == 1 else "scale and shift"
    fitted = replace(_judged(x, target, few.scale, few.shift, kind), prior=few)
    if x.size >= FIT.enough_to_give_up and not rising:
        flat = _judged(x, target, 0.0, float(np.median(target)), "constant")
        return fitted if fitted.sigma < flat.sigma else flat
    return fitted


def judged(values: Floats, depth_m: Floats, space: Space, scale: float, shift: float, kind: str) -> Fit:
    """A given scale and shift as a :class:`Fit`: with its spread around points (n,), depth in metres."""
    target: Vector = space.from_depth(depth_m.astype(np.float64))
    return _judged(values.astype(np.float64), target, scale, shift, kind)


def _judged(values: Vector, target: Vector, scale: float, shift: float, kind: str) -> Fit:
    residual = np.abs(scale * values + shift - target)
    sigma = 1.4826 * float(np.median(residual))
    return Fit(scale, shift, sigma, kind, float(np.mean(residual <= 3 * sigma + 1e-9)))
