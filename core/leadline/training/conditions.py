"""What the completion model is trained on: sparse sensors' views of dense depth."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from leadline.types import FloatMap


def share_of(depth_m: FloatMap, valid: npt.NDArray[np.bool_], share: float, rng: np.random.Generator) -> FloatMap:
    """Exact depth at a random share of the pixels, as DepthFM's paper trains and tests completion (2 %); 0 elsewhere."""
    kept = valid & (rng.random(depth_m.shape) < share)
    if kept.sum() < 8:
        kept |= _one_of(valid, rng)
    return np.where(kept, depth_m, 0.0).astype(np.float32)


def thin_out(depth_m: FloatMap, valid: npt.NDArray[np.bool_], rng: np.random.Generator) -> FloatMap:
    """A sparse sensor's view of dense depth: float32 (H, W), 0 where nothing is measured.

    One of: 2 % of the pixels (the paper), 100 to 2000 random points, 8 to 64 scan lines, half of the pixels; sometimes
    only the lower part of the picture, as a LiDAR sees it, and with 1 % of noise.
    """
    height, width = depth_m.shape
    kind = rng.integers(4)
    if kind == 0:
        kept = rng.random(depth_m.shape) < 0.02
    elif kind == 1:
        kept = rng.random(depth_m.shape) < float(np.exp(rng.uniform(np.log(100), np.log(2000)))) / depth_m.size
    elif kind == 2:
        lines = int(rng.integers(8, 65))
        rows = ((np.arange(lines) + rng.random()) * height / lines).astype(np.intp).clip(0, height - 1)
        kept = np.zeros(depth_m.shape, dtype=bool)
        kept[rows[:, None], np.arange(0, width, int(rng.integers(1, 4)))[None]] = True
    else:
        kept = rng.random(depth_m.shape) < 0.5
    if rng.random() < 0.25:
        kept[: int(height * rng.uniform(0.1, 0.5))] = False
    kept &= valid
    if kept.sum() < 8:
        kept = valid & (rng.random(depth_m.shape) < 0.02) | _one_of(valid, rng)
    noise = 1.0 + 0.01 * rng.standard_normal(depth_m.shape) * (rng.random() < 0.5)
    return np.where(kept, depth_m * noise, 0.0).astype(np.float32)


def _one_of(valid: npt.NDArray[np.bool_], rng: np.random.Generator) -> npt.NDArray[np.bool_]:
    chosen = np.zeros(valid.shape, dtype=bool)
    candidates = np.flatnonzero(valid)
    if candidates.size:
        chosen.flat[rng.choice(candidates)] = True
    return chosen
