"""Inverse depth of features from the rays along which they were seen from known places.

A feature's place is sought as (a, b, r) in the camera's frame now: it lies along (a, b, 1) at depth 1 / r. Seen from a view with
rotation R and translation t it appears at the projection of R (a, b, 1) + r t, so that r = 0, endlessly far, is a place like any
other and its error is nearly normal (Civera, Davison, Montiel: Inverse Depth Parametrization for Monocular SLAM, 2008). The
squared distances to where it was seen, in units of their own standard deviations, are minimised by Gauss-Newton steps with Huber's weights.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from leadline.depth.spaces import MIN_DEPTH_M
from leadline.streaming.tuned import TRACKS
from leadline.types import BoolMap

Matrix = npt.NDArray[np.float64]


class Triangulated(NamedTuple):
    """Features as the camera sees them now, (n,) each.

    Attributes:
        x, y: Place in the image at a focal length of one.
        inverse_depth: 1 / metres along the axis; may be zero or below where there is no parallax.
        sigma: Its standard deviation.
        error: Root mean square of the distances to where the feature was seen, in units of their standard deviation.
    """

    x: Matrix
    y: Matrix
    inverse_depth: Matrix
    sigma: Matrix
    error: Matrix


def triangulate(seen: Matrix, whitening: Matrix, to_view: Matrix, now: Matrix) -> Triangulated:
    """Places of n features seen in some of V views.

    Args:
        seen: (n, V, 2) at a focal length of one; NaN where a feature was not seen.
        whitening: (n, 2, 2), takes an error at a focal length of one to units of its standard deviation.
        to_view: (V, 4, 4), from the camera's frame now to that of each view.
        now: (n, 2), where the camera sees the features now.
    """
    turn, shift = to_view[:, :3, :3], to_view[:, :3, 3]
    known: BoolMap = np.asarray(np.isfinite(seen).all(axis=2))
    target = np.where(known[..., None], seen, 0.0)
    ray = np.concatenate([now, np.ones((len(now), 1))], axis=1)
    inverse = _along(ray, turn, shift, target, known)
    weights, residual = known.astype(np.float64), np.zeros_like(target)
    normal = np.tile(np.eye(3), (len(now), 1, 1))
    for _ in range(TRACKS.newton_steps):
        place = np.einsum("vij,nj->nvi", turn, ray) + inverse[:, None, None] * shift
        depth = place[..., 2]
        ahead = known & (depth > TRACKS.ahead)
        depth = np.where(ahead, depth, 1.0)
        at = place[..., :2] / depth[..., None]
        slopes = np.stack(
            [
                (change[..., :2] - at * change[..., 2:]) / depth[..., None]
                for change in np.broadcast_arrays(turn[None, :, :, 0], turn[None, :, :, 1], shift[None])
            ],
            axis=-1,
        )
        residual = np.einsum("nij,nvj->nvi", whitening, target - at)
        slopes = np.einsum("nij,nvjk->nvik", whitening, slopes)
        size = np.linalg.norm(residual, axis=2)
        weights = ahead / np.maximum(1.0, size / TRACKS.huber)
        weighted = slopes * weights[..., None, None]
        normal = np.einsum("nvij,nvik->njk", weighted, slopes) + TRACKS.damping * np.eye(3)
        step = np.linalg.solve(normal, np.einsum("nvij,nvi->nj", weighted, residual)[..., None])[..., 0]
        ray[:, :2] += np.clip(step[:, :2], -0.05, 0.05)
        inverse = np.clip(inverse + step[:, 2], -1.0, 1.0 / MIN_DEPTH_M)
    count = known.sum(axis=1)
    error = np.sqrt((weights * (residual**2).sum(axis=2)).sum(axis=1) / np.maximum(2 * count - 3, 1))
    variance = np.linalg.inv(normal)[:, 2, 2] * np.maximum(1.0, count / TRACKS.independent_rays)
    sigma = np.sqrt(variance) * np.maximum(1.0, error)
    return Triangulated(ray[:, 0], ray[:, 1], inverse, np.hypot(sigma, TRACKS.pose_sigma * inverse), error)


def _along(ray: Matrix, turn: Matrix, shift: Matrix, target: Matrix, known: BoolMap) -> Matrix:
    """(n,) inverse depth along the rays as they are now: linear least squares."""
    turned = np.einsum("vij,nj->nvi", turn, ray)
    slope = target * shift[:, 2:] - shift[:, :2]
    off = turned[..., :2] - target * turned[..., 2:]
    slope, off = slope * known[..., None], off * known[..., None]
    return np.asarray((slope * off).sum(axis=(1, 2)) / ((slope**2).sum(axis=(1, 2)) + 1e-12))
