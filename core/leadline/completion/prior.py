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

from leadline.completion.tuned import PRIOR
from leadline.depth.spaces import Space

Vector = npt.NDArray[np.float64]

#: Grid of log ratios and of model errors; knots of the map at which the uncertainty is kept.
_RATIOS = np.linspace(*PRIOR.ratios)
_ERRORS = np.geomspace(*PRIOR.errors)


class MapRange(NamedTuple):
    """The ends of a relative map, in its own values."""

    far: float
    near: float

    @classmethod
    def of(cls, values: npt.NDArray[np.floating], space: Space) -> MapRange:
        """Of a map (H, W)."""
        flat = values.ravel()
        low, high = np.percentile(flat[:: max(1, flat.size // PRIOR.looked_at)].astype(np.float64), PRIOR.ends)
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
    knots = np.linspace(min(ends), max(ends), PRIOR.knots)
    if knots[-1] - knots[0] <= 1e-9 * max(abs(knots[0]), abs(knots[-1]), 1e-30):  # a map that says nothing
        centre = float(space.from_depth(np.exp(np.mean(np.log(depth_m)))))
        return Posterior(
            0.0, centre, PRIOR.log_ratio / 4, float(knots[0]), 1.0, np.full(PRIOR.knots, PRIOR.log_ratio / 4)
        )
    at_points = np.log(_shapes(values, space, ends))
    residual = np.log(depth_m) - at_points  # (ratios, n): log of the scale of depth that each point asks for
    own = np.broadcast_to(np.asarray(relative_sigma, dtype=np.float64), values.shape) ** 2
    variance = _ERRORS[:, None] ** 2 + own  # (errors, n)
    weight = 1.0 / variance
    total = weight.sum(1)
    mean = residual @ weight.T / total  # (ratios, errors)
    off = (residual**2) @ weight.T - mean**2 * total
    evidence = -0.5 * off - 0.5 * np.log(variance).sum(1) - 0.5 * np.log(total)
    evidence -= 0.5 * ((_RATIOS[:, None] - PRIOR.log_ratio) / PRIOR.log_ratio_sigma) ** 2
    evidence -= 0.5 * (np.log(_ERRORS / PRIOR.model_error) / PRIOR.log_model_error_sigma) ** 2
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
    part = np.clip((values - ends.near) / (ends.far - ends.near), *PRIOR.beyond_ends)
    return np.asarray(space.to_depth(near + (far[:, None] - near) * part))
