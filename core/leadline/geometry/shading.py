"""What a depth map says about light: which way surfaces face, and how open they lie to the sky around them."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt

from leadline.geometry.tuned import OCCLUSION
from leadline.sensors.pinhole import Pinhole
from leadline.types import FloatMap

Floats = npt.NDArray[np.floating[Any]]


def normal_map(depth: Floats, camera: Pinhole) -> FloatMap:
    """float32 (H, W, 3) unit normals towards the camera's side; x right, y up, z towards the viewer.

    Args:
        depth: (H, W) > 0, metres, of any size with the picture's proportions.
        camera: Of the picture.

    Beside an edge the side that changes less counts, so that normals stay those of the surface.
    """
    points = _points(depth, camera)
    across, down = _lesser_step(points, 1), _lesser_step(points, 0)
    normals = np.cross(down, across)
    return np.asarray(normals / np.maximum(np.linalg.norm(normals, axis=-1, keepdims=True), 1e-30), np.float32)


def ambient_occlusion(depth: Floats, camera: Pinhole, radius_m: float) -> FloatMap:
    """float32 (H, W) in [0, 1]: 1 where nothing within ``radius_m`` stands above the surface, 0 in the deepest corner.

    Horizons in a few directions of the picture (Bavoil, Sainz, Dimitrov: "Image-space horizon-based ambient occlusion",
    SIGGRAPH 2008).
    """
    points, normals = _points(depth, camera).astype(np.float32), normal_map(depth, camera)
    height, width = depth.shape
    reach_px = radius_m * camera.focal_px * (width / camera.width) / float(np.median(depth))
    rows, columns = np.mgrid[0:height, 0:width]
    hidden = np.zeros(depth.shape, np.float32)
    for direction in range(OCCLUSION.directions):
        angle = 2 * math.pi * direction / OCCLUSION.directions
        highest = np.zeros(depth.shape, np.float32)
        for step in range(1, OCCLUSION.steps + 1):
            far = reach_px * (step / OCCLUSION.steps) ** 2
            row = np.clip(rows + round(far * math.sin(angle)), 0, height - 1)
            column = np.clip(columns + round(far * math.cos(angle)), 0, width - 1)
            way = points[row, column] - points
            distance = np.linalg.norm(way, axis=-1)
            above = np.einsum("hwc,hwc->hw", way, normals) / np.maximum(distance, 1e-6)
            # What is farther away than the radius hides nothing; near its end it hides less and less.
            above *= np.clip(1 - (distance / np.float32(radius_m)) ** 2, 0, 1)
            np.maximum(highest, above, out=highest)
        hidden += highest
    return np.clip(1 - hidden / OCCLUSION.directions, 0, 1)


def _points(depth: Floats, camera: Pinhole) -> Floats:
    height, width = depth.shape
    y, x = np.mgrid[0:height, 0:width] + 0.5
    return camera.unproject(x * (camera.width / width), y * (camera.height / height), depth)


def _lesser_step(points: Floats, axis: int) -> Floats:
    """For each point the step to the next or from the last along an axis, whichever changes the distance less."""
    step = np.diff(points, axis=axis)
    first, last = np.take(step, [0], axis=axis), np.take(step, [-1], axis=axis)
    before, after = np.concatenate([first, step], axis=axis), np.concatenate([step, last], axis=axis)
    return np.where(np.abs(before[..., 2:]) < np.abs(after[..., 2:]), before, after)
