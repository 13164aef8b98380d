"""The focal length of a photograph of rooms or houses, from where its straight lines meet.

What people build has three directions at right angles (Coughlan and Yuille: "Manhattan World", ICCV 1999). Every short
piece of an edge lies in a plane with the camera's centre, and that plane contains the direction of the edge; so for the
right focal length, the normals of these planes are at right angles to one of three directions which are at right angles
to each other. Focal length and directions are searched together: random triples of edges propose them, all edges vote.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from leadline.geometry.tuned import LINES
from leadline.types import RgbImage

Floats = npt.NDArray[np.float32]

#: Focal lengths that are tried, over the picture's long edge.
FOCAL_PER_LONG_EDGE = np.geomspace(*LINES.focal_per_long_edge)
_SEED = 0


@dataclass(frozen=True)
class Directions:
    """What straight lines say about the camera.

    Attributes:
        focal_px: Focal length in pixels of the photograph.
        axes: (3, 3) rows are the three directions, unit vectors; axes as in :mod:`leadline.geometry`.
        support: Share of the edges that agree, 0 to 1.
    """

    focal_px: float
    axes: npt.NDArray[np.float64]
    support: float


def directions_from_lines(photo: RgbImage) -> Directions | None:
    """Focal length and main directions of a photograph (H, W, 3); None if its lines do not say."""
    height, width = photo.shape[:2]
    points, along, weight = _edges(photo)
    if len(points) < 200:
        return None
    rng = np.random.default_rng(_SEED)
    centred = (points - np.array([width / 2, height / 2], np.float32)) * np.array([1, -1], np.float32)
    along = along * np.array([1, -1], np.float32)
    triples = rng.choice(len(points), (LINES.proposals, 3), p=weight / weight.sum())
    judges = rng.choice(len(points), min(LINES.judges, len(points)), replace=False)
    proposed = [
        (*_vote(centred, along, triples, judges, float(focal)), float(focal))
        for focal in FOCAL_PER_LONG_EDGE * max(height, width)
    ]
    finalists = sorted((one for one in proposed if one[1] is not None), key=lambda one: -one[0])[: LINES.finalists]
    refined = [_refined(centred, along, weight, axes, focal) for _, axes, focal in finalists]
    if not refined:
        return None
    support, axes, focal = max(refined, key=lambda one: one[0])
    if not _tells_focal(centred, along, weight, axes, focal):
        return None
    return Directions(focal, axes, support)


def _edges(photo: RgbImage) -> tuple[Floats, Floats, Floats]:
    """Pieces of straight edges: points (N, 2) in pixels, directions (N, 2), weights (N,)."""
    height, width = photo.shape[:2]
    step = max(1, round(max(height, width) / LINES.working_edge))
    grey = photo[: height // step * step, : width // step * step].astype(np.float32).mean(axis=2)
    grey = grey.reshape(height // step, step, width // step, step).mean(axis=(1, 3))
    grey = _smooth(grey, 2)
    down, across = np.gradient(grey)
    # Structure tensor over a small window: straight pieces have one strong direction.
    xx, yy, xy = (_smooth(product, 8) for product in (across * across, down * down, across * down))
    spread = np.sqrt((xx - yy) ** 2 + 4 * xy**2)
    straight = spread / np.maximum(xx + yy, 1e-6)
    strength = np.hypot(down, across)
    # Only the ridge of each edge, or one edge would vote many times.
    angle = 0.5 * np.arctan2(2 * xy, xx - yy)  # of the gradient
    ridge = np.ones(grey.shape, np.bool_)
    horizontal = np.abs(np.cos(angle)) > np.abs(np.sin(angle))
    for axis, mine in ((1, horizontal), (0, ~horizontal)):
        before, after = np.roll(strength, 1, axis), np.roll(strength, -1, axis)
        ridge &= ~mine | ((strength >= before) & (strength > after))
    ridge &= (straight > 0.9) & (strength > 3.0)
    ridge[:4] = ridge[-4:] = False
    ridge[:, :4] = ridge[:, -4:] = False
    rows, columns = np.nonzero(ridge)
    if len(rows) > LINES.voters:
        chosen = np.random.default_rng(_SEED).choice(len(rows), LINES.voters, replace=False)
        rows, columns = rows[chosen], columns[chosen]
    points = (np.stack([columns, rows], axis=1) + 0.5).astype(np.float32) * step
    turned = angle[rows, columns]
    along = np.stack([-np.sin(turned), np.cos(turned)], axis=1).astype(np.float32)
    return points, along, np.sqrt(strength[rows, columns]).astype(np.float32)


def _smooth(image: Floats, times: int = 1) -> Floats:
    for axis in (0, 1) * times:
        image = 0.25 * np.roll(image, 1, axis) + 0.5 * image + 0.25 * np.roll(image, -1, axis)
    return image


def _normals(points: Floats, along: Floats, focal: float) -> Floats:
    """Unit normals (N, 3) of the planes through the camera and each edge."""
    rays = np.concatenate([points / np.float32(focal), np.full((len(points), 1), -1, np.float32)], axis=1)
    ends = np.concatenate([along, np.zeros((len(along), 1), np.float32)], axis=1)
    normals = np.cross(rays, ends)
    return np.asarray(normals / np.linalg.norm(normals, axis=1, keepdims=True), np.float32)


def _off(points: Floats, along: Floats, axes: Any, focal: float) -> Any:
    """Sine of the angle in the picture between each edge and each direction (..., 3) as seen there: (..., N).

    In the picture, and not between planes: for a long focal length all planes contain the line of sight.
    """
    across = axes[..., None, 0] * np.float32(focal) + axes[..., None, 2] * points[:, 0]
    up = axes[..., None, 1] * np.float32(focal) + axes[..., None, 2] * points[:, 1]
    return np.abs(along[:, 0] * up - along[:, 1] * across) / np.maximum(np.hypot(across, up), 1e-6)


def _vote(points: Floats, along: Floats, triples: Any, judges: Any, focal: float) -> tuple[float, Any]:
    """The best share of the judges that three directions explain, and the directions (3, 3)."""
    normals = _normals(points, along, focal)
    first = np.cross(normals[triples[:, 0]], normals[triples[:, 1]])
    length = np.linalg.norm(first, axis=1, keepdims=True)
    usable = length[:, 0] > 0.05
    first = first[usable] / length[usable]
    second = np.cross(first, normals[triples[usable, 2]])
    length = np.linalg.norm(second, axis=1, keepdims=True)
    usable = length[:, 0] > 0.05
    first, second = first[usable], second[usable] / length[usable]
    if not len(first):
        return 0.0, None
    axes = np.stack([first, second, np.cross(first, second)], axis=1).astype(np.float32)
    off = _off(points[judges], along[judges], axes, focal)  # (proposals, 3, judges)
    shares = np.clip(1 - off.min(axis=1) / (2 * LINES.on_axis), 0, 1).mean(axis=1)
    winner = int(shares.argmax())
    return float(shares[winner]), axes[winner].astype(np.float64)


def _tells_focal(points: Floats, along: Floats, weight: Floats, axes: Any, focal: float) -> bool:
    """Whether at least two directions are seen that are neither along nor across the line of sight."""
    off = _off(points, along, axes, focal)
    mine = (off.argmin(axis=0)[None] == np.arange(3)[:, None]) & (off < LINES.on_axis)
    shares = (mine * weight).sum(axis=1) / weight.sum()
    oblique = (np.abs(axes[:, 2]) > 0.15) & (np.abs(axes[:, 2]) < 0.985)
    return int((oblique & (shares > LINES.least_share)).sum()) >= 2


def _refined(points: Floats, along: Floats, weight: Floats, axes: Any, focal: float) -> tuple[float, Any, float]:
    """A little better: small turns and changes of the focal length are tried as long as the votes grow."""
    rng = np.random.default_rng(_SEED)

    def share(turned: Any, length: float) -> float:
        off = _off(points, along, turned, length).min(axis=0)
        return float((np.exp(-0.5 * (off / (0.7 * LINES.on_axis)) ** 2) * weight).sum() / weight.sum())

    best, size = share(axes, focal), 1.0
    for _ in range(300):
        turn = rng.normal(scale=0.01 * size, size=3)
        candidate = _orthonormal(axes + np.cross(axes, turn))
        length = focal * float(np.exp(rng.normal(scale=0.04 * size)))
        if (score := share(candidate, length)) > best:
            axes, focal, best = candidate, length, score
        size *= 0.99
    return best, axes, focal


def _orthonormal(axes: Any) -> Any:
    left, _, right = np.linalg.svd(axes)
    return left @ right
