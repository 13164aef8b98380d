"""Scale and shift from few points: what relative maps usually mean, updated by the points.

A relative map becomes depth by two numbers: how far its near end is, and how many times farther its far end is. One
point tells the first. The second, the depth ratio, is known beforehand to within a factor; points move it only as far
as their number, their spread over the map and the model's own errors justify. Its posterior, on a grid of ratios and of sizes
of the model's error, is exact under a normal error of log depth: for each pair the scale has a normal posterior in
closed form (O'Hagan, Bayesian Inference, 1994, on the linear model with known variance).
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from leadline.depth.spaces import Space

Vector = npt.NDArray[np.float64]

#: Logarithm of the depth ratio, far end over near end: mean and standard deviation beforehand. A factor of four, between one
#: and a half (a table seen from above) and fifteen (a street).
LOG_RATIO, LOG_RATIO_SIGMA = 1.35, 0.65
#: Standard deviation of the model's error in log depth beforehand, and of its logarithm: small networks are off by 15 %.
MODEL_ERROR, LOG_MODEL_ERROR_SIGMA = 0.16, 0.6
#: Quantiles of a map that count as its far and near end, percent: single pixels tell nothing, and sky does not count twice.
ENDS = (1.0, 99.0)
#: The map's ends are found on so many of its pixels.
_LOOKED_AT = 20_000
#: Grid of log ratios and of model errors; knots of the map at which the uncertainty is kept.
_RATIOS = np.linspace(0.02, 4.5, 225)
_ERRORS = np.geomspace(0.004, 0.8, 16)
_KNOTS = 33
#: How far beyond its ends a map is followed, in lengths between them.
_BEYOND_ENDS = (-0.1, 1.05)


class MapRange(NamedTuple):
    """The ends of a relative map, in its own values."""

    far: float
    near: float

    @classmethod
    def of(cls, values: npt.NDArray[np.floating], space: Space) -> MapRange:
        """Of a map (H, W)."""
        flat = values.ravel()
        low, high = np.percentile(flat[:: max(1, flat.size // _LOOKED_AT)].astype(np.float64), ENDS)
        return cls(float(low), float(high)) if space.near_is_high else cls(float(high), float(low))


class Posterior(NamedTuple):
    """What few points leave open.

    Attributes:
        scale, shift: ``scale * values + shift`` approximates ``space.from_depth(depth_m)``.
        error: Expected standard deviation of the model's log depth, without what scale and shift add.
        first, step: Knots of the map: first + step * i.
        relative: (knots,) standard deviation of log depth there, of everything together.
    """

    scale: float
    shift: float
    error: float
    first: float
    step: float
    relative: Vector


def posterior(
    values: Vector, depth_m: Vector, space: Space, ends: MapRange, relative_sigma: Vector | float = 0.0
) -> Posterior:
    """Scale and shift of a map given some points.

    Args:
        values: (n,) the map at the points, n ≥ 1.
        depth_m: (n,) metres.
        space: What the map is affine in.
        ends: Of the whole map.
        relative_sigma: (n,) or one number: the points' own standard deviation over their depth, and what the model's
            ensemble spreads there.
    """
    knots = np.linspace(min(ends), max(ends), _KNOTS)
    if knots[-1] - knots[0] <= 1e-9 * max(abs(knots[0]), abs(knots[-1]), 1e-30):  # a map that says nothing
        centre = float(space.from_depth(np.exp(np.mean(np.log(depth_m)))))
        return Posterior(0.0, centre, LOG_RATIO / 4, float(knots[0]), 1.0, np.full(_KNOTS, LOG_RATIO / 4))
    at_points = np.log(_shapes(values, space, ends))
    residual = np.log(depth_m) - at_points  # (ratios, n): log of the scale of depth that each point asks for
    own = np.broadcast_to(np.asarray(relative_sigma, dtype=np.float64), values.shape) ** 2
    variance = _ERRORS[:, None] ** 2 + own  # (errors, n)
    weight = 1.0 / variance
    total = weight.sum(1)
    mean = residual @ weight.T / total  # (ratios, errors)
    off = (residual**2) @ weight.T - mean**2 * total
    evidence = -0.5 * off - 0.5 * np.log(variance).sum(1) - 0.5 * np.log(total)
    evidence -= 0.5 * ((_RATIOS[:, None] - LOG_RATIO) / LOG_RATIO_SIGMA) ** 2
    evidence -= 0.5 * (np.log(_ERRORS / MODEL_ERROR) / LOG_MODEL_ERROR_SIGMA) ** 2
    chance = np.exp(evidence - evidence.max())
    chance /= chance.sum()
    # Moments of log depth at the knots, over ratios, errors and the scale's own uncertainty.
    at_knots = np.log(_shapes(knots, space, ends))
    by_ratio = chance.sum(1)
    scale_log, scale_log2 = (chance * mean).sum(1), (chance * (mean**2 + 1.0 / total)).sum(1)
    expected = by_ratio @ at_knots + scale_log.sum()
    square = by_ratio @ at_knots**2 + 2.0 * scale_log @ at_knots + scale_log2.sum()
    error2 = float(chance.sum(0) @ _ERRORS**2)
    relative = np.sqrt(np.maximum(square - expected**2, 0.0) + error2)
    # The expected ratio, at the scale that the points ask for under it.
    near, far = (float(expected[0 if end == knots[0] else -1]) for end in (ends.near, ends.far))
    first, last = float(space.from_depth(np.exp(np.float64(near)))), float(space.from_depth(np.exp(np.float64(far))))
    scale = (last - first) / (ends.far - ends.near)
    shift = first - scale * ends.near
    trust = 1.0 / (error2 + own)
    off = float(trust @ (np.log(depth_m) - np.log(space.to_depth(scale * values + shift))) / trust.sum())
    scale, shift = rescaled(scale, shift, float(np.exp(off)), space)
    return Posterior(scale, shift, error2**0.5, float(knots[0]), float(knots[1] - knots[0]), relative)


def rescaled(scale: float, shift: float, factor: float, space: Space) -> tuple[float, float]:
    """Scale and shift that give ``factor`` times the depth."""
    if space is Space.LOG_DEPTH:
        return scale, shift + float(np.log(factor))
    power = {Space.SQRT_DISPARITY: -0.5, Space.DISPARITY: -1.0, Space.DEPTH: 1.0}[space]
    return scale * factor**power, shift * factor**power


def _shapes(values: Vector, space: Space, ends: MapRange) -> Vector:
    """(ratios, n) depth of a map's values if its near end is at one metre and its far end at each of the ratios."""
    near, far = float(space.from_depth(np.float64(1.0))), space.from_depth(np.exp(_RATIOS))
    part = np.clip((values - ends.near) / (ends.far - ends.near), *_BEYOND_ENDS)
    return np.asarray(space.to_depth(near + (far[:, None] - near) * part))
