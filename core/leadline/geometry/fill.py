"""Values for pixels that have none, from those around: smooth, and quick whatever the size of the hole."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from leadline.types import BoolMap


def fill_holes(values: npt.NDArray[np.floating[Any]], known: BoolMap) -> npt.NDArray[np.float32]:
    """float32 of the shape of ``values``, (H, W) or (H, W, C): known pixels as they are, the others smooth.

    Push-pull interpolation (Gortler, Grzeszczuk, Szeliski, Cohen: "The Lumigraph", 1996, section 3.4): averages of what is
    known go up a pyramid until nothing is missing, and come down again into the holes.

    Raises:
        ValueError: Nothing is known.
    """
    if not known.any():
        raise ValueError("there is nothing to fill the holes from")
    flat = values.ndim == 2
    image = (values[..., None] if flat else values).astype(np.float32)
    filled = _filled(np.where(known[..., None], image, np.float32(0)), known.astype(np.float32)[..., None])
    filled[known] = image[known]
    return filled[..., 0] if flat else filled


def _filled(sums: npt.NDArray[np.float32], weights: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """``sums`` are values times ``weights`` in [0, 1]."""
    known = sums / np.maximum(weights, np.float32(1e-6))
    if (weights > 0).all():
        return known
    total = _halved(weights)
    certain = np.minimum(total, np.float32(1))
    averages = _halved(sums) / np.maximum(total, np.float32(1e-6))
    coarse = _enlarged(_filled(averages * certain, certain), sums.shape[:2])
    return weights * known + (1 - weights) * coarse


def _halved(image: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """Sums of 2 × 2 pixels; an odd last row or column stands alone."""
    height, width = image.shape[:2]
    even = np.pad(image, ((0, height % 2), (0, width % 2), (0, 0)))
    summed = even[0::2, 0::2] + even[1::2, 0::2] + even[0::2, 1::2] + even[1::2, 1::2]
    return np.asarray(summed, np.float32)


def _enlarged(image: npt.NDArray[np.float32], shape: tuple[int, int]) -> npt.NDArray[np.float32]:
    """Twice as large by linear interpolation, cut to ``shape``."""
    for axis in (0, 1):
        one, other = (np.clip(np.arange(image.shape[axis]) + step, 0, image.shape[axis] - 1) for step in (-1, 1))
        neighbours = np.stack([np.take(image, one, axis=axis), np.take(image, other, axis=axis)], axis=axis + 1)
        doubled = list(image.shape)
        doubled[axis] *= 2
        # Each pixel becomes two, that lie a quarter of a pixel towards its neighbours.
        image = np.float32(0.75) * np.repeat(image, 2, axis=axis) + np.float32(0.25) * neighbours.reshape(doubled)
    return image[: shape[0], : shape[1]]
