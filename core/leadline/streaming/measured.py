"""Everything measured with a frame → points of its image."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from leadline.sensors.camera import CalibratedCamera
from leadline.sensors.lidar import project_points
from leadline.sensors.sparse import SparseDepth, nearest_points
from leadline.streaming.frames import Frame, Sweep
from leadline.streaming.settings import StreamSettings
from leadline.types import FloatMap


def measured_points(frame: Frame, settings: StreamSettings) -> tuple[SparseDepth | None, str]:
    """Everything measured with a frame as points of the image, nearest first; or None and why not."""
    height, width = frame.rgb.shape[:2]
    found: list[SparseDepth] = []
    reason = ""
    if frame.sweep is not None:
        if frame.camera is None:
            reason = "points came, but no camera_info that fits the image"
        else:
            found.append(seen_points(frame.sweep, frame.camera, settings))
            if not len(found[-1]):
                reason = "points came, but none of them is in the image; check the extrinsics"
    if frame.sparse_depth_m is not None:
        found.append(_rasterised(frame.sparse_depth_m, height, width))
        if not len(found[-1]):
            reason = "sparse depth came, but it is empty"
    if not found:
        return None, reason
    return found[0] if len(found) == 1 else _nearest_of(found), reason


def seen_points(sweep: Sweep, camera: CalibratedCamera, settings: StreamSettings) -> SparseDepth:
    """The points of a sweep that the camera sees, within the configured range."""
    return project_points(
        sweep.points,
        camera,
        sweep.to_camera,
        min_range_m=settings.lidar_min_range_m,
        max_range_m=settings.lidar_max_range_m,
    )


def without_sweep(frame: Frame) -> Frame:
    """The frame with only those measurements that need no motion."""
    return replace(frame, sweep=None)


def no_points(size: tuple[int, int]) -> SparseDepth:
    """Nothing measured in an image of (H, W)."""
    nothing = np.zeros(0, np.int64)
    return SparseDepth(nothing, nothing, np.zeros(0, np.float32), size)


def _rasterised(depth_m: FloatMap, height: int, width: int) -> SparseDepth:
    """A depth image of any size as points of an image that shows the same view; the nearest of a pixel wins."""
    v, u = np.nonzero(depth_m > 0)
    depth = depth_m[v, u]
    rows, columns = depth_m.shape
    if (rows, columns) != (height, width):
        u = np.clip(np.rint((u + 0.5) * width / columns - 0.5).astype(np.int64), 0, width - 1)
        v = np.clip(np.rint((v + 0.5) * height / rows - 0.5).astype(np.int64), 0, height - 1)
    return nearest_points(u, v, depth, (height, width))


def _nearest_of(parts: list[SparseDepth]) -> SparseDepth:
    u, v, depth_m = (np.concatenate([getattr(part, name) for part in parts]) for name in ("u", "v", "depth_m"))
    return nearest_points(u, v, depth_m, parts[0].size)
