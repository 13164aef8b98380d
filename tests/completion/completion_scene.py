"""A room with a box: an image, its depth, a model's map of it, and ways to sample it."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from leadline.depth.prediction import DepthPrediction
from leadline.depth.spaces import Space

HEIGHT, WIDTH = 120, 160


def room(height: int = HEIGHT, width: int = WIDTH) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.float32]]:
    """RGB uint8 and metres: a slanted floor, a back wall and a red box in front of both."""
    v, u = np.indices((height, width)).astype(np.float64)
    v, u = v / height, u / width
    floor = 1.2 / np.maximum(v - 0.35, 1e-3)
    depth = np.minimum(floor, 5.0 + u)
    image = np.where((floor < 5.0 + u)[..., None], [150, 140, 90], [90, 110, 160]).astype(np.float64)
    box = (abs(u - 0.4) < 0.15) & (abs(v - 0.55) < 0.2)
    depth[box] = 2.0 + 0.3 * u[box]
    image[box] = [180, 60, 50]
    texture = np.random.default_rng(3).normal(0, 3, (height, width, 1))
    return np.clip(image + texture, 0, 255).astype(np.uint8), depth.astype(np.float32)


def model_map(depth: npt.NDArray[np.float32], space: Space, noise: float = 0.0) -> DepthPrediction:
    """What a model would say of this depth: affine in its space, with a slow relative error of ``noise``."""
    height, width = depth.shape
    v, u = np.indices(depth.shape)
    wrong = depth * np.exp(noise * np.sin(5 * u / width) * np.cos(4 * v / height))
    target = space.from_depth(wrong.astype(np.float64))
    low, high = target.min(), target.max()
    return DepthPrediction(((target - low) / (high - low)).astype(np.float32), space, model="test")


def keep(depth: npt.NDArray[np.float32], points: int, seed: int = 0) -> npt.NDArray[np.float32]:
    """``points`` random pixels of a map, 0 elsewhere."""
    sparse = np.zeros_like(depth)
    kept = np.random.default_rng(seed).choice(depth.size, points, replace=False)
    sparse.flat[kept] = depth.flat[kept]
    return sparse


def rmse(a: npt.NDArray[np.float32], b: npt.NDArray[np.float32]) -> float:
    return float(np.sqrt(np.mean((a.astype(np.float64) - b) ** 2)))
