"""Random crops, flips and colours of RGB-D samples, drawn from an explicit generator."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import cv2
import numpy as np

from leadline.scenes.pixels import Image, to_uint8
from leadline.training.config import take
from leadline.training.datasets import Pixels, RgbdSample
from leadline.training.restyle import compressed, developed, filtered


@dataclass(frozen=True)
class Augmentation:
    """What may happen to a sample.

    Attributes:
        min_scale: The crop's longest side, as a share of the largest crop with that aspect, is at least this.
        flip: Whether to mirror half of the samples.
        colour: Strength of the colour changes; 0 for none, 1 for strong ones.
        plain: Share of pictures whose colours stay as they are, whatever ``colour``.
        frame: Share of pictures that get a plain white, black or grey rim of 0.5 to 4 % of their size, as scans and
            rectified photographs have. The depth behind it stays.
        filters, development, jpeg: Shares of pictures that get a random filter, another camera's light, tones and
            sharpness, or JPEG's losses (:mod:`leadline.training.restyle`).
    """

    min_scale: float = 0.6
    flip: bool = True
    colour: float = 1.0
    plain: float = 0.0
    frame: float = 0.0
    filters: float = 0.0
    development: float = 0.0
    jpeg: float = 0.0

    @classmethod
    def of(cls, section: Mapping[str, Any]) -> Augmentation:
        """As a configuration says; a key of no meaning is an error."""
        return cls(**take(section, "data.augmentation", asdict(cls())))


def augment(sample: RgbdSample, size: tuple[int, int], how: Augmentation, rng: np.random.Generator) -> RgbdSample:
    """A random crop of ``sample`` with the aspect of ``size``, resized to ``size`` = (H, W).

    RGB by area averaging (bilinear where it is enlarged), depth by nearest neighbour: never blended across edges.
    """
    top, left, height, width = random_crop(sample.depth_m.shape, size, how.min_scale, rng)
    box = np.s_[top : top + height, left : left + width]
    how_to = cv2.INTER_AREA if height >= size[0] else cv2.INTER_LINEAR  # enlarging, "area" repeats pixels
    rgb = np.asarray(cv2.resize(sample.rgb[box], size[::-1], interpolation=how_to), dtype=np.uint8)
    depth_m = nearest(sample.depth_m[box], size)
    valid = nearest(sample.valid[box], size)
    sky = None if sample.sky is None else nearest(sample.sky[box], size)
    if how.flip and rng.random() < 0.5:
        rgb, depth_m, valid = rgb[:, ::-1], depth_m[:, ::-1], valid[:, ::-1]
        sky = None if sky is None else sky[:, ::-1]
    if how.colour > 0 and not (how.plain > 0 and rng.random() < how.plain):
        rgb = recolour(rgb, how.colour, rng)
    if how.frame > 0 and rng.random() < how.frame:
        rgb = framed(rgb, rng)
    for share, restyle in ((how.filters, filtered), (how.development, developed), (how.jpeg, compressed)):
        if share > 0 and rng.random() < share:
            rgb = restyle(np.ascontiguousarray(rgb), rng)
    return RgbdSample(np.ascontiguousarray(rgb), depth_m, valid, sky)


def framed(rgb: Image, rng: np.random.Generator) -> Image:
    """With a plain rim, of its own width on every side: uint8 (H, W, 3)."""
    level = int(rng.choice([255, 255, 0, 0, int(rng.integers(256))]))
    widths = rng.uniform(0.005, 0.04, 4) * np.array([*rgb.shape[:2], *rgb.shape[:2]])
    top, left, bottom, right = (max(1, round(float(width))) for width in widths)
    inside = rgb[top : rgb.shape[0] - bottom, left : rgb.shape[1] - right]
    rim = (level, level, level)
    return np.asarray(
        cv2.copyMakeBorder(inside, top, bottom, left, right, cv2.BORDER_CONSTANT, value=rim), dtype=np.uint8
    )


def random_crop(
    shape: tuple[int, ...], size: tuple[int, int], min_scale: float, rng: np.random.Generator
) -> tuple[int, int, int, int]:
    """Top, left, height and width of a crop inside ``shape`` with the aspect of ``size``."""
    largest = min(shape[0] / size[0], shape[1] / size[1])
    scale = largest * rng.uniform(min_scale, 1.0)
    height, width = max(1, round(size[0] * scale)), max(1, round(size[1] * scale))
    top = int(rng.integers(0, shape[0] - height + 1))
    left = int(rng.integers(0, shape[1] - width + 1))
    return top, left, height, width


def nearest(image: Pixels, size: tuple[int, int]) -> Pixels:
    """(H, W) resized to ``size`` by centre-exact nearest neighbour; any dtype."""
    rows = ((np.arange(size[0]) + 0.5) * image.shape[0] / size[0]).astype(np.intp)
    columns = ((np.arange(size[1]) + 0.5) * image.shape[1] / size[1]).astype(np.intp)
    picked: Pixels = image[rows[:, None], columns[None]]
    return picked


def recolour(rgb: Image, strength: float, rng: np.random.Generator) -> Image:
    """White balance, brightness, contrast, gamma, saturation, sometimes grey, blur, noise: uint8 (H, W, 3)."""
    x = rgb.astype(np.float32) / 255.0
    x = x ** np.exp(rng.normal(0.0, 0.25 * strength))
    x = x * np.exp(rng.normal(0.0, [0.12 * strength] * 3)) * np.exp(rng.normal(0.0, 0.2 * strength))
    mean = x.mean()
    x = (x - mean) * np.exp(rng.normal(0.0, 0.2 * strength)) + mean
    grey = x.mean(axis=2, keepdims=True)
    saturation = 0.0 if rng.random() < 0.1 * strength else np.exp(rng.normal(0.0, 0.4 * strength))
    x = grey + (x - grey) * saturation
    if rng.random() < 0.1 * strength:
        x = x[..., rng.permutation(3)]
    if rng.random() < 0.25 * strength:
        x = cv2.GaussianBlur(x, (0, 0), float(rng.uniform(0.3, 1.0)))
    if rng.random() < 0.35 * strength:
        x = x + rng.normal(0.0, rng.uniform(0.0, 0.06), x.shape).astype(np.float32)
    return to_uint8(x)
