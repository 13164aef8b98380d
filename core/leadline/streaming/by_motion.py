"""Points of an image from what its features say by the camera's motion, and from what the model's map makes of them.

A feature with much parallax is a measured point. One with little says "about so far, or farther", and the map, once it has its scale
from the others, says the rest: both are combined in log depth, on a grid. Where they contradict each other nothing is said.
"""

from __future__ import annotations

import cv2
import numpy as np
import numpy.typing as npt

from leadline.completion.fit import Fit, fit_scale_and_shift
from leadline.completion.prior import MapRange
from leadline.depth.prediction import DepthPrediction
from leadline.depth.spaces import MAX_DEPTH_M, MIN_DEPTH_M
from leadline.sensors.sparse import SparseDepth
from leadline.streaming.tracks import Parallax
from leadline.streaming.tuned import BY_MOTION

Vector = npt.NDArray[np.float64]


def points_by_motion(raw: DepthPrediction, parallax: Parallax) -> SparseDepth | str:
    """The points, with their sigma; or in words why there are too few.

    Args:
        raw: Relative, (H, W), of the image.
        parallax: Of its features.
    """
    off_edges = _off_edges(raw, parallax)
    outlines, parallax = parallax.subset(~off_edges), parallax.subset(off_edges)
    relative = parallax.sigma / np.maximum(parallax.inverse_depth, 1e-9)
    sure = relative < BY_MOTION.sure
    worth = float(np.minimum(1.0, (BY_MOTION.well_known / relative[sure]) ** 2).sum())
    if worth < BY_MOTION.fewest:
        return f"odometry: {worth:.0f} points have enough parallax, {BY_MOTION.fewest} are needed; the robot must move"
    values = raw.values[parallax.v, parallax.u].astype(np.float64)
    depth_m = 1.0 / parallax.inverse_depth[sure]
    ends = MapRange.of(raw.values, raw.space)
    fit = fit_scale_and_shift(values[sure], depth_m, raw.space, ends=ends, relative_sigma=relative[sure])
    expected_m = raw.space.to_depth(fit.scale * values + fit.shift).clip(MIN_DEPTH_M, MAX_DEPTH_M)
    found = relative < BY_MOTION.tells
    parallax, expected_m = parallax.subset(found), expected_m[found]
    log_depth, sigma = _joined(parallax, np.log(expected_m))
    alone = relative[found] < BY_MOTION.well_known
    log_depth[alone], sigma[alone] = -np.log(parallax.inverse_depth[alone]), relative[found][alone]
    kept = sigma < BY_MOTION.most_sigma
    near, log_near, sigma_near = _in_front(raw, outlines, fit)
    u, v = np.concatenate([parallax.u[kept], near[0]]), np.concatenate([parallax.v[kept], near[1]])
    depth_m = np.exp(np.concatenate([log_depth[kept], log_near]))
    sigma_m = np.concatenate([sigma[kept], sigma_near]) * depth_m
    _, first = np.unique(v * raw.shape[1] + u, return_index=True)
    return SparseDepth(
        u[first], v[first], depth_m[first].astype(np.float32), raw.shape, sigma_m=sigma_m[first].astype(np.float32)
    )


def _in_front(
    raw: DepthPrediction, outlines: Parallax, fit: Fit
) -> tuple[tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]], Vector, Vector]:
    """(u, v), log depth and its sigma of features where the map jumps that move as its near side: an outline belongs to what is in front.

    They are put where the map is nearest around them. What is plain inside shows nothing else.
    """
    relative = outlines.sigma / np.maximum(outlines.inverse_depth, 1e-9)
    outlines, relative = outlines.subset(relative < BY_MOTION.well_known), relative[relative < BY_MOTION.well_known]
    steps = np.arange(-BY_MOTION.edge_px, BY_MOTION.edge_px + 1)
    down, across = (grid.ravel() for grid in np.meshgrid(steps, steps, indexing="ij"))
    v = (outlines.v[:, None] + down).clip(0, raw.shape[0] - 1)
    u = (outlines.u[:, None] + across).clip(0, raw.shape[1] - 1)
    log_around = np.log(
        raw.space.to_depth(fit.scale * raw.values[v, u].astype(np.float64) + fit.shift).clip(MIN_DEPTH_M, MAX_DEPTH_M)
    )
    rows, nearest = np.arange(len(outlines.u)), log_around.argmin(axis=1)
    log_depth = -np.log(outlines.inverse_depth)
    in_front = log_depth < (log_around.min(axis=1) + log_around.max(axis=1)) / 2
    return (u[rows, nearest][in_front], v[rows, nearest][in_front]), log_depth[in_front], relative[in_front]


def _joined(parallax: Parallax, by_map: Vector) -> tuple[Vector, Vector]:
    """Mean and standard deviation of log depth, (n,) each, given what the map expects."""
    steps = np.linspace(-BY_MOTION.reach, BY_MOTION.reach, BY_MOTION.grid) * BY_MOTION.map_sigma
    log_depth = by_map[:, None] + steps
    off = (np.exp(-log_depth) - parallax.inverse_depth[:, None]) / parallax.sigma[:, None]
    chance = _student(off) + _student(steps / BY_MOTION.map_sigma)
    chance = np.exp(chance - chance.max(axis=1, keepdims=True))
    chance /= chance.sum(axis=1, keepdims=True)
    mean = (chance * log_depth).sum(axis=1)
    return mean, np.sqrt((chance * (log_depth - mean[:, None]) ** 2).sum(axis=1))


def _student(off: Vector) -> Vector:
    """Log density of Student's t, but for a constant: neither features nor maps are always as right as they usually are."""
    return np.asarray(-0.5 * (BY_MOTION.freedom + 1) * np.log1p(off**2 / BY_MOTION.freedom))


def _off_edges(raw: DepthPrediction, parallax: Parallax) -> npt.NDArray[np.bool_]:
    """Features that do not lie where the map jumps: a corner seen at an edge may be of either side, or of both."""
    step = BY_MOTION.edge_px
    wide = cv2.copyMakeBorder(raw.values, step, step, step, step, cv2.BORDER_REPLICATE)
    across = np.abs(wide[step:-step, 2 * step :] + wide[step:-step, : -2 * step] - 2 * raw.values)
    down = np.abs(wide[2 * step :, step:-step] + wide[: -2 * step, step:-step] - 2 * raw.values)
    bend = cv2.dilate(np.maximum(across, down), np.ones((3, 3), np.uint8))
    low, high = np.percentile(raw.values[::8, ::8], [5, 95])
    return np.asarray(bend[parallax.v, parallax.u] < BY_MOTION.edge_share * max(float(high - low), 1e-9))
