"""Other looks of the same picture: what keeps a network from trusting the textures of a renderer."""

from __future__ import annotations

import cv2
import numpy as np
import numpy.typing as npt

from leadline.scenes.pixels import Image, through_jpeg, to_uint8

Floats = npt.NDArray[np.float32]


def filtered(rgb: Image, rng: np.random.Generator) -> Image:
    """Mixed with its image under a random filter (RandConv: Xu et al., ICLR 2021): uint8 (H, W, 3).

    The filter is 1, 3, 5 or 7 pixels wide and mixes the channels; each channel keeps its mean and its contrast.
    """
    picture = _floats(rgb)
    width = int(rng.choice([1, 3, 5, 7]))
    kernels = rng.normal(0.0, 1.0 / np.sqrt(3 * width * width), (3, 3, width, width)).astype(np.float32)
    other = np.empty_like(picture)
    for channel, of_each in enumerate(kernels):
        seen = np.zeros(picture.shape[:2], dtype=np.float32)
        for source, kernel in enumerate(of_each):
            seen += cv2.filter2D(picture[..., source], -1, kernel, borderType=cv2.BORDER_REFLECT_101)
        own = picture[..., channel]
        other[..., channel] = (seen - seen.mean()) / (seen.std() + 1e-3) * own.std() + own.mean()
    share = np.float32(rng.uniform(0.1, 0.75))
    return to_uint8((1.0 - share) * picture + share * other)


def developed(rgb: Image, rng: np.random.Generator) -> Image:
    """As another camera might have made it: uint8 (H, W, 3).

    Each at random: uneven light, a tone curve, a picture that was smaller once, sharpening.
    """
    picture = _floats(rgb)
    height, width = picture.shape[:2]
    if rng.random() < 0.5:
        stops = rng.normal(0.0, 0.35, tuple(int(count) for count in rng.integers(2, 6, 2))).astype(np.float32)
        light = np.exp(cv2.resize(stops, (width, height), interpolation=cv2.INTER_CUBIC))
        picture = picture * light[..., None]
    if rng.random() < 0.5:
        levels = np.linspace(0.0, 1.0, 5)
        curve = 0.5 * levels + 0.5 * np.concatenate([[0.0], np.sort(rng.uniform(0.0, 1.0, 3)), [1.0]])
        picture = np.interp(np.clip(picture, 0.0, 1.0), levels, curve).astype(np.float32)
    if rng.random() < 0.3:
        share = rng.uniform(0.4, 0.8)
        size = max(1, round(width * share)), max(1, round(height * share))
        smaller = cv2.resize(picture, size, interpolation=cv2.INTER_AREA)
        enlarging = cv2.INTER_CUBIC if rng.random() < 0.5 else cv2.INTER_LINEAR
        picture = np.asarray(cv2.resize(smaller, (width, height), interpolation=enlarging), dtype=np.float32)
    if rng.random() < 0.25:
        picture = picture + rng.uniform(0.3, 1.2) * (picture - cv2.GaussianBlur(picture, (0, 0), 1.0))
    return to_uint8(picture)


def compressed(rgb: Image, rng: np.random.Generator) -> Image:
    """Through JPEG of a quality from 30 to 94: uint8 (H, W, 3)."""
    return through_jpeg(rgb, int(rng.integers(30, 95)))


def _floats(rgb: Image) -> Floats:
    return rgb.astype(np.float32) / np.float32(255.0)
