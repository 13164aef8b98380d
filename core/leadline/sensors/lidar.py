"""LiDAR points → sparse depth in the camera's image: moved, projected, nearest first, without what the camera cannot see."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt

from leadline.depth.spaces import MAX_DEPTH_M
from leadline.errors import InputError
from leadline.sensors.camera import CalibratedCamera
from leadline.sensors.products import product
from leadline.sensors.sparse import SparseDepth, nearest_points
from leadline.sensors.transforms import extrinsic
from leadline.sensors.tuned import OCCLUSION

Floats = npt.NDArray[Any]


def project_points(
    points_m: Floats,
    camera: CalibratedCamera,
    lidar_to_camera: Any = None,
    *,
    size: tuple[int, int] | None = None,
    min_range_m: float = 0.1,
    max_range_m: float = MAX_DEPTH_M,
    occlusion: bool = True,
) -> SparseDepth:
    """Project a point cloud into an image.

    Args:
        points_m: (N, 3 or more), the first three columns are x, y, z in the LiDAR's frame.
        camera: Of the image as it is (distorted, if the image is).
        lidar_to_camera: See :func:`leadline.files.calibration.extrinsic`; None if the points are in the camera's frame.
        size: (width, height) to project at, of the camera's shape; the camera's own by default.
        min_range_m, max_range_m: Distances from the camera that are kept.
        occlusion: Drop points behind nearer ones that lie within a few pixels: a LiDAR beside the camera sees past objects.

    Returns:
        One point per pixel (the nearest), with counts of what was dropped; it may be empty.

    Raises:
        InputError: Not a point cloud, or the motion is not rigid.
    """
    points = np.asarray(points_m)
    if points.ndim != 2 or points.shape[1] < 3 or not np.issubdtype(points.dtype, np.number):
        raise InputError(f"points are (N, 3) or wider numbers, not an array of shape {points.shape}")
    if size is not None:
        camera = camera.resized(*size)
    xyz = points[:, :3].astype(np.float32, copy=False)
    columns = np.ascontiguousarray(xyz.T)
    if lidar_to_camera is not None:
        motion = extrinsic(lidar_to_camera).astype(np.float32)
        with np.errstate(invalid="ignore", over="ignore"):
            columns = product(motion[:3, :3], columns)
            columns += motion[:3, 3:]
    total = columns.shape[1]
    # One comparison drops NaN, what is behind, and most of a full turn's points before anything costly.
    with np.errstate(invalid="ignore", over="ignore"):
        ahead = np.flatnonzero(columns[2] > 0)
        behind = int(np.count_nonzero(columns[2] <= 0))
        columns = columns.take(ahead, axis=1)
        squared = columns[0] * columns[0] + columns[1] * columns[1] + columns[2] * columns[2]
        in_range = (squared >= min_range_m**2) & (squared <= max_range_m**2)
    not_finite = total - behind - len(ahead)
    out_of_range = len(ahead) - int(np.count_nonzero(in_range))
    if out_of_range:
        columns = columns.compress(in_range, axis=1)
    pixels, depth = camera.project(columns.T)
    with np.errstate(invalid="ignore"):
        u_px, v_px = pixels[:, 0], pixels[:, 1]
        inside = np.flatnonzero(
            (u_px > -0.5) & (u_px < camera.width - 0.5) & (v_px > -0.5) & (v_px < camera.height - 0.5)
        )
    outside = columns.shape[1] - len(inside)
    u, v = (np.rint(places[inside]).astype(np.int64) for places in (u_px, v_px))
    depth = depth[inside].astype(np.float32, copy=False)
    nearest = nearest_points(u, v, depth, (camera.height, camera.width))
    hidden = _hidden(nearest) if occlusion and len(nearest) else np.zeros(len(nearest), dtype=bool)
    return replace(
        nearest.subset(~hidden),
        dropped={
            "not finite": not_finite,
            "behind the camera": behind,
            "out of range": out_of_range,
            "outside of the image": outside,
            "hidden behind a nearer surface": int(np.count_nonzero(hidden)),
        },
    )


def _hidden(points: SparseDepth) -> npt.NDArray[np.bool_]:
    """Whether a much nearer point lies within the window: minima of cells a third of it wide, over 3 × 3 cells."""
    height, width = points.size
    cell = max(1, round(OCCLUSION.window * width / 3))
    u, v, depth = points.u // cell, points.v // cell, points.depth_m
    cells = (-(-height // cell) + 2, -(-width // cell) + 2)  # with an empty rim
    grid = nearest_points(u + 1, v + 1, depth, cells).map(unknown=np.inf)
    wide = np.minimum(np.minimum(grid[:, :-2], grid[:, 1:-1]), grid[:, 2:])
    window = np.minimum(np.minimum(wide[:-2], wide[1:-1]), wide[2:])
    front = window[v, u]
    result: npt.NDArray[np.bool_] = (depth - front > OCCLUSION.metres) & (depth - front > OCCLUSION.ratio * depth)
    return result
