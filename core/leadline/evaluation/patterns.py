"""Which points of a measured map are kept: our patterns, and those of OMNI-DC and PriorDA under their names.

``omnidc:`` patterns follow the description of OMNI-DC's virtual sparse depth (Zuo et al., 2024) and ``priorda:`` those of
Prior Depth Anything's sampler (Wang et al., 2025); random draws are NumPy's, so sets of points are theirs in law, not to the
bit. Every pattern takes the measured map, the photograph and a seed, and gives a map of the same size, 0 where nothing is kept.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import NamedTuple

import cv2
import numpy as np
import numpy.typing as npt

from leadline.errors import InputError
from leadline.evaluation.sparse import Intrinsics, keep_points, sample
from leadline.evaluation.tuned import SFM, WORK
from leadline.types import FloatMap

#: OMNI-DC: points on a picture of 480×640, matched to the density of what was measured; the least there are.
OMNIDC_LEAST = 5
#: OMNI-DC and PriorDA: keypoints under which random points stand in for them.
FEWEST_KEYPOINTS, OMNIDC_STAND_IN, PRIORDA_STAND_IN = 20, 1000, 2000
#: PriorDA: points drawn from what a hole or a range leaves; the fewest that its sampler takes.
PRIORDA_ANCHORS, PRIORDA_LEAST = 2000, 5


class Measured(NamedTuple):
    """What a pattern chooses from: float32 (H, W) metres, 0 where not measured; uint8 (H, W, 3); (fx, fy, cx, cy) or None;
    the data set's own points, if it brings them."""

    depth_m: FloatMap
    rgb: npt.NDArray[np.uint8]
    intrinsics: Intrinsics | None
    given_m: FloatMap | None = None


def at(depth_m: FloatMap, rows: npt.NDArray[np.int64], columns: npt.NDArray[np.int64]) -> FloatMap:
    """The measured depth at pixels, those outside of the map left out; 0 elsewhere."""
    height, width = depth_m.shape
    seen = (rows >= 0) & (rows < height) & (columns >= 0) & (columns < width)
    kept = np.zeros_like(depth_m)
    kept[rows[seen], columns[seen]] = depth_m[rows[seen], columns[seen]]
    return kept


def keypoints(measured: Measured, detector: str, stand_in: Callable[[], FloatMap]) -> FloatMap:
    """Measured depth at SIFT, ORB or Harris keypoints; other points if the picture has hardly any keypoints."""
    grey = cv2.cvtColor(measured.rgb, cv2.COLOR_RGB2GRAY)
    if detector == "harris":
        found = cv2.goodFeaturesToTrack(grey, WORK.corners, 0.001, 3, useHarrisDetector=True)
        places = np.zeros((0, 2)) if found is None else found[:, 0]
    else:
        made = (
            cv2.SIFT.create() if detector == "sift" else cv2.ORB.create(nfeatures=100_000, scoreType=cv2.ORB_FAST_SCORE)
        )
        places = np.array([point.pt for point in made.detect(grey, None)]).reshape(-1, 2)
    if len(places) < FEWEST_KEYPOINTS:
        return stand_in()
    columns, rows = np.rint(places).astype(np.int64).T
    return at(measured.depth_m, rows, columns)


def virtual_lines(depth_m: FloatMap, lines: int) -> FloatMap:
    """``LiDAR_L`` of OMNI-DC and PriorDA: a scanner with a focal length of the picture's height and 200 steps a line."""
    height, width = depth_m.shape
    pitch, yaw = np.linspace(-0.5, 0.5, lines)[:, None], np.linspace(-np.pi / 2.1, np.pi / 2.1, 200)[None, :]
    y, x = np.broadcast_to(np.sin(pitch), (lines, 200)), np.cos(pitch) * np.sin(yaw)
    z = np.sqrt(np.maximum(1 - x * x - y * y, 1e-12))
    columns, rows = np.rint(height * x / z + width / 2), np.rint(height * y / z + height / 2)
    return at(depth_m, rows.astype(np.int64).ravel(), columns.astype(np.int64).ravel())


def scanner_lines(depth_m: FloatMap, intrinsics: Intrinsics, lines: int) -> FloatMap:
    """OMNI-DC's KITTI lines: of a 64-line sweep in the picture, those whose label by pitch is a multiple of 64 / ``lines``."""
    rows, columns = np.nonzero(depth_m > 0)
    fx, fy, cx, cy = intrinsics
    pitch = np.arctan2((rows - cy) / fy, np.hypot((columns - cx) / fx, 1.0))
    step = (pitch.max() - pitch.min()) / 64
    label = np.rint((pitch - pitch.min()) / max(step, 1e-9)).astype(np.int64)
    kept = label % (64 // lines) == 0
    return at(depth_m, rows[kept], columns[kept])


def omnidc_random(depth_m: FloatMap, points: int, seed: int) -> FloatMap:
    """So many points for a full map, fewer where less was measured."""
    matched = round(np.count_nonzero(depth_m > 0) * points / depth_m.size)
    return keep_points(depth_m, max(matched, OMNIDC_LEAST), seed)


def omnidc_noise(depth_m: FloatMap, share: float, seed: int) -> FloatMap:
    """2150 points, of which a share takes any depth between the 10 and 90 % quantile of the whole map, holes included."""
    rng = np.random.default_rng(seed)
    kept = omnidc_random(depth_m, 2150, seed)
    low, high = np.percentile(depth_m, [10, 90])
    wrong = (kept > 0) & (rng.random(depth_m.shape) < share)
    return np.where(wrong, rng.uniform(low, high, depth_m.shape), kept).astype(np.float32)


def without_holes(depth_m: FloatMap) -> FloatMap:
    """Each hole filled with the mean of the five measured pixels nearest to it."""
    from scipy.spatial import cKDTree  # noqa: PLC0415  (slow to import)

    known = np.argwhere(depth_m > 0)
    holes = np.argwhere(depth_m <= 0)
    filled = depth_m.copy()
    if len(holes) and len(known):
        nearest = cKDTree(known).query(holes, k=min(5, len(known)))[1].reshape(len(holes), -1)
        filled[tuple(holes.T)] = depth_m[tuple(known.T)][nearest].mean(1)
    return filled


def downscaled(depth_m: FloatMap, factor: int) -> FloatMap:
    """A low-resolution sensor: the filled map read with aligned corners on a grid, placed at full size where truth is valid."""
    height, width = depth_m.shape
    rows, columns = height // factor, width // factor
    v, u = np.meshgrid(np.linspace(0, height - 1, rows), np.linspace(0, width - 1, columns), indexing="ij")
    small = cv2.remap(without_holes(depth_m), u.astype(np.float32), v.astype(np.float32), cv2.INTER_LINEAR)
    place_v, place_u = np.arange(rows) * height // rows, np.arange(columns) * width // columns
    kept = np.zeros_like(depth_m)
    kept[np.ix_(place_v, place_u)] = small
    return np.where(depth_m > 0, kept, 0).astype(np.float32)


def rgbd_camera(measured: Measured, rng: np.random.Generator) -> FloatMap:
    """An RGB-D camera: nothing beside near edges (its emitter's shadow), beyond its range or on dark spots; flying pixels on edges."""
    depth = measured.depth_m
    near = cv2.erode(np.where(depth > 0, depth, np.float32(1e9)), np.ones((1, 9), np.uint8))
    dark = cv2.blur(measured.rgb.mean(axis=2).astype(np.float32), (7, 7)) < 25
    far = depth > np.quantile(depth[depth > 0], 0.9)
    shadow = np.roll(near < 0.9 * depth, 4, axis=1)
    kept = np.where(dark | far | shadow, 0, depth).astype(np.float32)
    mean = cv2.blur(depth, (3, 3))
    edge = (kept > 0) & (np.abs(mean - depth) > 0.05 * depth) & (mean > 0)
    return np.where(edge & (rng.random(depth.shape) < 0.3), mean, kept).astype(np.float32)


def _hole(depth_m: FloatMap, rng: np.random.Generator, side: int) -> FloatMap:
    height, width = depth_m.shape
    top, left = (int(rng.integers(0, max(length - side, 0) + 1)) for length in (height, width))
    kept = depth_m.copy()
    kept[top : top + side, left : left + side] = 0
    return kept


def _holes(depth_m: FloatMap, rng: np.random.Generator) -> FloatMap:
    kept = depth_m
    for _ in range(3):
        kept = _hole(kept, rng, max(depth_m.shape) // 5)
    return kept


def _sfm(measured: Measured, rng: np.random.Generator, seed: int) -> FloatMap:
    kept = keep_points(keypoints(measured, "sift", _random(measured, OMNIDC_STAND_IN, seed)), SFM.points, seed)
    noisy = kept * np.exp(SFM.noise * rng.normal(0, 1, kept.shape))
    low, high = np.quantile(kept[kept > 0], [0.02, 0.98])
    wrong = (kept > 0) & (rng.random(kept.shape) < SFM.wrong)
    return np.where(wrong, rng.uniform(low, high, kept.shape), noisy).astype(np.float32)


def _cut(depth_m: FloatMap, low: float, high: float) -> FloatMap:
    return np.where((depth_m > low) & (depth_m < high), depth_m, np.float32(0))


Drawn = Callable[[re.Match[str], Measured, int], FloatMap]

#: Names, as regular expressions, and what they keep given the match, what was measured and a seed.
_NAMES: dict[str, Drawn] = {
    "given": lambda name, on, _: _own_points(on, name[0]),
    "(?:priorda:)?(sift|orb)": lambda name, on, seed: keypoints(on, name[1], _random(on, PRIORDA_STAND_IN, seed)),
    "harris": lambda _, on, seed: keypoints(on, "harris", _random(on, PRIORDA_STAND_IN, seed)),
    "sfm": lambda _, on, seed: _sfm(on, np.random.default_rng(seed), seed),
    r"grid-(\d+)": lambda name, on, _: _grid(on.depth_m, int(name[1])),
    r"nearest-(\d+)%": lambda name, on, seed: _nearest(on.depth_m, int(name[1]) / 100, seed),
    "left-half": lambda _, on, seed: _left_half(on.depth_m, seed),
    "holes": lambda _, on, seed: keep_points(_holes(on.depth_m, np.random.default_rng(seed)), PRIORDA_ANCHORS, seed),
    "rgbd": lambda _, on, seed: rgbd_camera(on, np.random.default_rng(seed)),
    r"omnidc:(\d+)": lambda name, on, seed: omnidc_random(on.depth_m, int(name[1]), seed),
    r"omnidc:noise_(\d*\.?\d+)": lambda name, on, seed: omnidc_noise(on.depth_m, float(name[1]), seed),
    "omnidc:(SIFT|ORB)": lambda name, on, seed: keypoints(
        on, name[1].lower(), lambda: omnidc_random(on.depth_m, OMNIDC_STAND_IN, seed)
    ),
    r"(?:omnidc|priorda):LiDAR_(\d+)": lambda name, on, _: virtual_lines(on.depth_m, int(name[1])),
    "omnidc:KITTI_(8|16|32|64)": lambda name, on, _: scanner_lines(
        on.depth_m if on.given_m is None else on.given_m, _camera(on, name[0]), int(name[1])
    ),
    r"priorda:(\d+)": lambda name, on, seed: _priorda_random(on.depth_m, int(name[1]), seed),
    r"priorda:downscale_(\d+)": lambda name, on, _: downscaled(on.depth_m, int(name[1])),
    r"priorda:cubic_(\d+)(\+cover)?": lambda name, on, seed: _anchored(
        _hole(on.depth_m, np.random.default_rng(seed), int(name[1])), bool(name[2]), seed
    ),
    r"priorda:distance_(\d*\.?\d+)_(\d*\.?\d+)(\+cover)?": lambda name, on, seed: _anchored(
        _cut(on.depth_m, float(name[1]), float(name[2])), bool(name[3]), seed
    ),
}


def _camera(on: Measured, pattern: str) -> Intrinsics:
    if on.intrinsics is None:
        raise InputError(f"{pattern} needs the camera's intrinsics, and this picture has none")
    return on.intrinsics


def _own_points(on: Measured, pattern: str) -> FloatMap:
    if on.given_m is None:
        raise InputError(f"{pattern}: this data set brings no points of its own; choose another pattern")
    return on.given_m


def _random(on: Measured, points: int, seed: int) -> Callable[[], FloatMap]:
    return lambda: keep_points(on.depth_m, points, seed)


def _grid(depth_m: FloatMap, step: int) -> FloatMap:
    kept = np.zeros_like(depth_m)
    kept[step // 2 :: step, step // 2 :: step] = depth_m[step // 2 :: step, step // 2 :: step]
    return kept


def _nearest(depth_m: FloatMap, share: float, seed: int) -> FloatMap:
    return keep_points(_cut(depth_m, 0, float(np.quantile(depth_m[depth_m > 0], share))), PRIORDA_ANCHORS, seed)


def _left_half(depth_m: FloatMap, seed: int) -> FloatMap:
    kept = depth_m.copy()
    kept[:, depth_m.shape[1] // 2 :] = 0
    return keep_points(kept, PRIORDA_ANCHORS, seed)


def _priorda_random(depth_m: FloatMap, points: int, seed: int) -> FloatMap:
    if points < PRIORDA_LEAST:
        raise InputError(f"priorda:{points}: its sampler refuses fewer than {PRIORDA_LEAST} points")
    return keep_points(depth_m, points, seed)


def _anchored(kept: FloatMap, cover: bool, seed: int) -> FloatMap:
    return kept if cover else keep_points(kept, PRIORDA_ANCHORS, seed)


def draw(pattern: str, on: Measured, seed: int = 0) -> FloatMap:
    """Keep points by a pattern's name: :func:`leadline.evaluation.sparse.sample`'s, or one of

    ``sift``, ``orb``, ``harris``, ``sfm`` (keypoints with wrong ones among them), ``grid-8``, ``nearest-50%`` (a range cut-off),
    ``left-half``, ``holes``, ``rgbd``, ``given`` (the data set's own points); ``omnidc:2150``, ``omnidc:noise_0.05``, ``omnidc:SIFT``, ``omnidc:ORB``,
    ``omnidc:LiDAR_16``, ``omnidc:KITTI_16``; ``priorda:2000``, ``priorda:sift``, ``priorda:orb``, ``priorda:LiDAR_16``,
    ``priorda:downscale_8``, ``priorda:cubic_160``, ``priorda:distance_1_5``, the last two also with ``+cover`` (keep
    all that the hole or the range leaves).

    Raises:
        InputError: No such pattern, it needs intrinsics, or it keeps nothing here.
    """
    found = ((re.fullmatch(name, pattern), make) for name, make in _NAMES.items())
    kept = next((make(match, on, seed) for match, make in found if match), None)
    if kept is None and ":" in pattern:
        raise InputError(f"{pattern!r} is not a pattern; docs/completion.md lists those of OMNI-DC and PriorDA")
    if kept is None:
        kept = sample(pattern, on.depth_m, seed, on.intrinsics)
    if not kept.any():
        raise InputError(f"{pattern} keeps no point of this picture")
    return kept
