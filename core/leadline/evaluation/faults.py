"""What goes wrong with measured points and pictures: each fault by its name."""

from __future__ import annotations

import re
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from leadline.errors import InputError
from leadline.evaluation.completion import with_outliers
from leadline.evaluation.sparse import Intrinsics, assumed_intrinsics
from leadline.sensors.sparse import nearest_points
from leadline.types import FloatMap

Rgb = npt.NDArray[np.uint8]

#: A sweep that is late in a turn: seconds, radians per second, and metres per second at most (half of the median depth a second
#: where that is less: nobody drives through a room at the speed of a car).
SWEEP_AGE_S, TURN_RATE, SPEED = 0.1, 0.3, 8.0
#: What happens to the points, and to the picture.
POINT_FAULTS = ("noise-5%", "noise-10%", "outliers-10%", "outliers-30%", "extrinsics-0.5", "extrinsics-2", "late-sweep")
PICTURE_FAULTS = ("night", "fog", "rain", "blur", "jpeg")
NO_FAULT = "none"


def spoil_points(fault: str, sparse_m: FloatMap, intrinsics: Intrinsics | None, seed: int) -> FloatMap:
    """Sparse depth with a fault; the same if the fault is none or the picture's."""
    if fault == NO_FAULT or fault in PICTURE_FAULTS:
        return sparse_m
    rng = np.random.default_rng(seed)
    if found := re.fullmatch(r"noise-(\d+)%", fault):
        return (sparse_m * np.exp(int(found[1]) / 100 * rng.normal(0, 1, sparse_m.shape))).astype(np.float32)
    if found := re.fullmatch(r"outliers-(\d+)%", fault):
        return with_outliers(sparse_m, int(found[1]) / 100, seed)
    if found := re.fullmatch(r"extrinsics-(\d*\.?\d+)", fault):
        axis = rng.normal(0, 1, 3)
        return moved(sparse_m, intrinsics, axis / np.linalg.norm(axis) * np.radians(float(found[1])), np.zeros(3))
    if fault == "late-sweep":
        speed = min(SPEED, 0.5 * float(np.median(sparse_m[sparse_m > 0])))
        turn = np.array([0.0, TURN_RATE * SWEEP_AGE_S, 0.0])
        return moved(sparse_m, intrinsics, turn, np.array([0.0, 0.0, -speed * SWEEP_AGE_S]))
    raise InputError(f"{fault!r} is not a fault; use one of {', '.join((NO_FAULT, *POINT_FAULTS, *PICTURE_FAULTS))}")


def moved(
    sparse_m: FloatMap,
    intrinsics: Intrinsics | None,
    rotation: npt.NDArray[np.float64],
    translation: npt.NDArray[np.float64],
) -> FloatMap:
    """Points turned (rotation vector, radians) and shifted (metres) as if the sensor stood so; the nearest of a pixel stays."""
    height, width = sparse_m.shape
    fx, fy, cx, cy = intrinsics or assumed_intrinsics(height, width)
    rows, columns = np.nonzero(sparse_m > 0)
    depth = sparse_m[rows, columns].astype(np.float64)
    points = np.stack([(columns - cx) / fx * depth, (rows - cy) / fy * depth, depth], 1)
    points = points @ cv2.Rodrigues(rotation)[0].T + translation
    x, y, z = points[points[:, 2] > 1e-3].T
    u, v = np.rint(fx * x / z + cx).astype(np.int64), np.rint(fy * y / z + cy).astype(np.int64)
    seen = (u >= 0) & (u < width) & (v >= 0) & (v < height)
    return nearest_points(u[seen], v[seen], z[seen].astype(np.float32), (height, width)).map()


def spoil_picture(fault: str, rgb: Rgb, depth_m: FloatMap, seed: int) -> Rgb:
    """A picture with a fault; the same if the fault is none or the points'. Fog thickens with the measured depth."""
    rng = np.random.default_rng(seed)
    light: npt.NDArray[np.floating[Any]] = rgb.astype(np.float32)
    if fault == "night":
        dark = 255 * (light / 255) ** 1.5 * 0.15
        light = dark + rng.normal(0, 6, rgb.shape)
    elif fault == "fog":
        known = np.where(depth_m > 0, depth_m, np.quantile(depth_m[depth_m > 0], 0.95))
        through = np.exp(-1.5 * cv2.blur(known, (31, 31)) / np.median(known))[..., None]
        light = light * through + 220 * (1 - through)
    elif fault == "rain":
        drops = (rng.random(rgb.shape[:2]) < 0.004).astype(np.float32)
        streak = np.eye(15, dtype=np.float32)[:, ::-1] * np.tri(15, dtype=np.float32) + np.diag(
            np.full(15, 0.5, np.float32)
        )
        light = 0.85 * light + 160 * np.minimum(cv2.filter2D(drops, -1, streak), 1)[..., None] * 0.6
    elif fault == "blur":
        light = np.asarray(cv2.filter2D(light, -1, np.full((1, 15), 1 / 15, np.float32)), np.float32)
    elif fault == "jpeg":
        packed = cv2.imencode(".jpg", rgb[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, 8])[1]
        return np.ascontiguousarray(np.asarray(cv2.imdecode(packed, cv2.IMREAD_COLOR), np.uint8)[..., ::-1])
    else:
        return rgb
    return np.clip(light, 0, 255).astype(np.uint8)
