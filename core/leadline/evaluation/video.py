"""Temporal flicker: how much depth changes where the picture says it should not."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from leadline.errors import InputError
from leadline.types import Floats

#: Forward and backward flow may disagree by this many pixels before a pixel counts as occluded.
FLOW_TOLERANCE_PX = 1.0


@dataclass(frozen=True)
class Flicker:
    """Result of :func:`flicker`.

    Attributes:
        mean: Mean over frame pairs, in shares of the sequence's 2–98 percentile range; 0 for a constant sequence.
        per_pair: One value per pair of neighbouring frames; ``None`` where no pixel could be followed.
        followed: Mean share of pixels that could be followed.
    """

    mean: float | None
    per_pair: tuple[float | None, ...]
    followed: float


def _follow(
    before: npt.NDArray[np.uint8], after: npt.NDArray[np.uint8]
) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.bool_]]:
    """Where each pixel of ``after`` was in ``before``: (H, W, 2) x, y, and bool (H, W) whether flow is consistent."""
    import cv2  # noqa: PLC0415

    grey = [cv2.cvtColor(np.ascontiguousarray(image), cv2.COLOR_RGB2GRAY) for image in (before, after)]
    solver = cv2.DISOpticalFlow.create(cv2.DISOpticalFlow_PRESET_MEDIUM)
    height, width = grey[0].shape
    back = np.asarray(solver.calc(grey[1], grey[0], np.zeros((height, width, 2), np.float32)))
    forth = np.asarray(solver.calc(grey[0], grey[1], np.zeros((height, width, 2), np.float32)))
    grid = np.stack(np.meshgrid(np.arange(width), np.arange(height)), axis=-1).astype(np.float32)
    source = grid + back
    returned = cv2.remap(forth, source[..., 0], source[..., 1], cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    inside = ((source >= 0) & (source <= np.array([width - 1, height - 1]))).all(-1)
    return source, inside & (np.linalg.norm(back + returned, axis=-1) < FLOW_TOLERANCE_PX)


def flicker(maps: Sequence[Floats], images: Sequence[npt.NDArray[np.uint8]] | None = None) -> Flicker:
    """Mean absolute change between neighbouring frames, along the optical flow of the pictures.

    Args:
        maps: Depth maps (H, W) of one size, all in one space (a sequence's raw predictions, or metres).
        images: The uint8 RGB (H, W, 3) frames; DIS optical flow carries the earlier map to the later frame, and
            pixels whose forward and backward flow disagree are left out. ``None``: a still camera and scene.

    Camera motion towards the scene changes true depth, too, so compare models on one sequence, not sequences.
    """
    import cv2  # noqa: PLC0415

    if len(maps) < 2 or len({m.shape for m in maps}) != 1:
        raise InputError("flicker needs at least two maps of one size")
    if images is not None and [i.shape[:2] for i in images] != [m.shape for m in maps]:
        raise InputError("flicker needs one image per map, of the same size")
    low, high = np.percentile(np.stack([m[::4, ::4] for m in maps]), [2.0, 98.0])
    span = float(high - low)
    per_pair: list[float | None] = []
    followed = []
    for index in range(1, len(maps)):
        before, after = maps[index - 1].astype(np.float32), maps[index].astype(np.float32)
        seen = np.ones(after.shape, dtype=bool)
        if images is not None:
            source, seen = _follow(images[index - 1], images[index])
            x, y = source[..., 0], source[..., 1]
            before = np.asarray(cv2.remap(before, x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE), np.float32)
        followed.append(float(seen.mean()))
        change = float(np.abs(after - before)[seen].mean(dtype=np.float64)) if seen.any() else None
        per_pair.append(None if change is None else (change / span if span > 0 else 0.0))
    known = [value for value in per_pair if value is not None]
    return Flicker(float(np.mean(known)) if known else None, tuple(per_pair), float(np.mean(followed)))
