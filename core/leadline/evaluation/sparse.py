"""Sparse depth for completion tests: which points are kept, and the classical fills that a method must beat."""

from __future__ import annotations

import re
from collections.abc import Callable

import numpy as np
from scipy.interpolate import LinearNDInterpolator
from scipy.spatial import QhullError

from leadline.errors import InputError
from leadline.sensors import filling
from leadline.sensors.pinhole import Pinhole
from leadline.types import FloatMap

Intrinsics = tuple[float, float, float, float]

#: Horizontal step of the simulated scanners, degrees: 10 Hz Velodyne HDL-64E and VLP-16.
AZIMUTH_STEP_DEG = {64: 0.17, 32: 0.2, 16: 0.2}
#: Vertical field of view (degrees) assumed for images without intrinsics.
ASSUMED_FOV_DEG = 55.0


def keep_points(depth_m: FloatMap, points: int, seed: int) -> FloatMap:
    """Keep ``points`` random measured pixels (all, if there are fewer); 0 elsewhere."""
    measured = np.flatnonzero(depth_m > 0)
    kept = np.random.default_rng(seed).choice(measured, min(points, measured.size), replace=False)
    sparse = np.zeros_like(depth_m)
    sparse.flat[kept] = depth_m.flat[kept]
    return sparse


def assumed_intrinsics(height: int, width: int) -> Intrinsics:
    """Of a camera about which nothing is known."""
    matrix = Pinhole(width, height, height / 2 / np.tan(np.radians(ASSUMED_FOV_DEG / 2))).matrix
    return float(matrix[0, 0]), float(matrix[1, 1]), float(matrix[0, 2]), float(matrix[1, 2])


def keep_lines(depth_m: FloatMap, lines: int, intrinsics: Intrinsics | None = None) -> FloatMap:
    """Keep what a scanner with ``lines`` beams in the camera's place would have hit; 0 elsewhere.

    Beams are spread evenly over the elevations that the image sees (so the whole height gets points, as with a scanner
    chosen for the camera), samples along a beam are :data:`AZIMUTH_STEP_DEG` apart. A beam's sample is the pixel it goes
    through, if that was measured.

    Args:
        depth_m: (H, W) metres, 0 where not measured.
        lines: 16, 32, 64 ... beams.
        intrinsics: (fx, fy, cx, cy) pixels; ``None`` assumes a vertical field of view of 55°.
    """
    height, width = depth_m.shape
    fx, fy, cx, cy = intrinsics or assumed_intrinsics(height, width)
    left, right = np.arctan((np.array([0.0, width - 1.0]) - cx) / fx)
    top, bottom = np.arctan((np.array([0.0, height - 1.0]) - cy) / fy)
    step = np.radians(AZIMUTH_STEP_DEG.get(lines, 0.2))
    azimuth = np.arange(left, right, step)[None, :]
    elevation = (top + (bottom - top) * (np.arange(lines) + 0.5) / lines)[:, None]
    columns = np.rint(cx + fx * np.tan(azimuth)).astype(int) + np.zeros((lines, 1), dtype=int)
    rows = np.rint(cy + fy * np.tan(elevation) / np.cos(azimuth)).astype(int)
    seen = (rows >= 0) & (rows < height) & (columns >= 0) & (columns < width)
    sparse = np.zeros_like(depth_m)
    sparse[rows[seen], columns[seen]] = depth_m[rows[seen], columns[seen]]
    return sparse


def sample(pattern: str, depth_m: FloatMap, seed: int = 0, intrinsics: Intrinsics | None = None) -> FloatMap:
    """Keep points of a measured map by a pattern's name.

    Args:
        pattern: ``"half"`` (of the measured pixels), ``"2%"`` (as many points as 2 % of the image's pixels), ``"500"``
            (points), ``"64-line"`` (scanner).
        depth_m: float32 (H, W), 0 where not measured.
        seed: For the random ones.
        intrinsics: For the scanner.

    >>> int(np.count_nonzero(sample("5", np.ones((4, 4), np.float32))))
    5
    """
    if pattern == "half":
        return keep_points(depth_m, max(1, int(np.count_nonzero(depth_m > 0)) // 2), seed)
    if match := re.fullmatch(r"(\d+(?:\.\d+)?)%", pattern):
        return keep_points(depth_m, max(1, round(float(match[1]) / 100 * depth_m.size)), seed)
    if match := re.fullmatch(r"(\d+)-line", pattern):
        return keep_lines(depth_m, int(match[1]), intrinsics)
    if re.fullmatch(r"[1-9]\d*", pattern):
        return keep_points(depth_m, int(pattern), seed)
    raise InputError(
        f"{pattern!r} is not a pattern; use half, a share like 2%, a number of points like 500, or 64-line"
    )


def fill_nearest(sparse_m: FloatMap) -> FloatMap:
    """Every pixel gets the depth of the nearest point (Euclidean, in pixels)."""
    known = sparse_m > 0
    if not known.any():
        raise InputError("there is no point to fill from")
    return filling.fill_nearest(sparse_m, known)


def fill_linear(sparse_m: FloatMap) -> FloatMap:
    """Linear interpolation on the Delaunay triangles of the points (SciPy); nearest outside of their hull."""
    filled = fill_nearest(sparse_m)
    points = np.argwhere(sparse_m > 0)
    try:
        interpolate = LinearNDInterpolator(points, sparse_m[sparse_m > 0].astype(np.float64))
    except (QhullError, ValueError):  # fewer than three points, or all in a line
        return filled
    unknown = np.nonzero(sparse_m <= 0)
    inside = interpolate(*unknown)
    filled[unknown] = np.where(np.isfinite(inside), inside, filled[unknown])
    return filled


def fill_morphological(sparse_m: FloatMap, max_depth_m: float = 100.0) -> FloatMap:
    """Morphological fill after the method of IP-Basic (Ku et al., CRV 2018), written from its description.

    Depth is mirrored (``max_depth_m`` - depth) so that dilation prefers near surfaces: dilate with a 5×5 diamond, close
    5×5, fill small holes with 7×7, extend the topmost value of each column upwards, fill large holes with 31×31, give what
    is still empty the nearest value, median 5×5, Gaussian 5×5. (The published code blurs filled pixels together with
    empty ones, which throws depth off where points are few; ours has nothing empty left by then.)
    """
    import cv2  # noqa: PLC0415

    if not (sparse_m > 0).any():
        raise InputError("there is no point to fill from")
    far = max(max_depth_m, float(sparse_m.max()) * 1.1)
    known = sparse_m > 0
    mirrored = np.where(known, far - sparse_m, 0.0).astype(np.float32)
    diamond = (np.abs(np.arange(-2, 3))[:, None] + np.abs(np.arange(-2, 3))[None, :] <= 2).astype(np.uint8)
    mirrored = np.asarray(cv2.dilate(mirrored, diamond), np.float32)
    mirrored = np.asarray(cv2.morphologyEx(mirrored, cv2.MORPH_CLOSE, np.ones((5, 5), np.uint8)), np.float32)
    mirrored = _fill_empty(mirrored, 7)
    rows = np.arange(mirrored.shape[0])[:, None]
    topmost = np.where(mirrored > 0, rows, mirrored.shape[0]).min(axis=0)
    top_values = mirrored[np.minimum(topmost, mirrored.shape[0] - 1), np.arange(mirrored.shape[1])]
    mirrored = np.where(rows < topmost, top_values, mirrored).astype(np.float32)
    mirrored = fill_nearest(_fill_empty(mirrored, 31))
    mirrored = np.asarray(cv2.GaussianBlur(cv2.medianBlur(mirrored, 5), (5, 5), 0), np.float32)
    return np.clip(far - mirrored, float(sparse_m[known].min()), None).astype(np.float32)


def _fill_empty(mirrored: FloatMap, side: int) -> FloatMap:
    import cv2  # noqa: PLC0415

    dilated = cv2.dilate(mirrored, np.ones((side, side), np.uint8))
    return np.where(mirrored > 0, mirrored, dilated).astype(np.float32)


#: Name → fill, for the table. Each takes float32 (H, W) with 0 where unknown and gives float32 (H, W) without zeros.
FILLS: dict[str, Callable[[FloatMap], FloatMap]] = {
    "nearest": fill_nearest,
    "linear": fill_linear,
    "morphological": fill_morphological,
}
