"""A film whose depth is known, and a network's way of getting it wrong: another scale and shift, and other blobs, every frame."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np

from leadline import DepthPrediction, Space
from leadline.evaluation.video import temporal_error
from leadline.scenes import FilmFrame

SPACE = Space.LOG_DEPTH


def truth(frame: FilmFrame) -> np.ndarray:
    """The frame's depth in SPACE; sky at 60 m."""
    return SPACE.from_depth(np.where(frame.valid, frame.depth_m, 60.0)).astype(np.float32)


def blobs(rng: np.random.Generator, shape: tuple[int, int], sigma: float) -> np.ndarray:
    """Smooth noise of unit variance."""
    noise = cv2.GaussianBlur(rng.normal(size=shape).astype(np.float32), (0, 0), sigma)
    return noise / noise.std()


def flickering(frames: Sequence[FilmFrame], noise: float = 0.08, seed: int = 0) -> list[DepthPrediction]:
    """True depth, scaled and shifted at random, with blobs of ``noise`` (standard deviation, in SPACE)."""
    rng = np.random.default_rng(seed)
    out = []
    for frame in frames:
        wrong = truth(frame) + noise * blobs(rng, frame.depth_m.shape, 5.0)
        scale, shift = rng.uniform(0.85, 1.15), rng.uniform(-0.1, 0.1)
        out.append(DepthPrediction((wrong * scale + shift).astype(np.float32), SPACE))
    return out


def errors(frames: Sequence[FilmFrame], maps: Sequence[np.ndarray]) -> tuple[float, float]:
    """Temporal error of a shot, aligned once; and AbsRel, aligned frame by frame."""
    x = np.concatenate([m[f.valid] for m, f in zip(maps, frames, strict=True)]).astype(np.float64)
    y = np.concatenate([truth(f)[f.valid] for f in frames]).astype(np.float64)
    slope, offset = np.polyfit(x, y, 1)
    metres = [np.exp(slope * m + offset) for m in maps]
    steps = [
        temporal_error(
            metres[i], metres[i - 1], frames[i].depth_m, frames[i - 1].depth_m, frames[i].flow, frames[i].seen
        )
        for i in range(1, len(frames))
    ]
    off = []
    for m, f in zip(maps, frames, strict=True):
        a, b = np.polyfit(m[f.valid].astype(np.float64), truth(f)[f.valid].astype(np.float64), 1)
        off.append(np.mean(np.abs(np.exp(a * m + b) - f.depth_m)[f.valid] / f.depth_m[f.valid]))
    return float(np.mean([s for s in steps if s is not None])), float(np.mean(off))
