"""One small picture in every encoding of `sensor_msgs/Image`, made without the code under test."""

from __future__ import annotations

import numpy as np

# Four flat colours in quadrants: demosaicing and chroma subsampling are exact inside them.
HEIGHT, WIDTH = 32, 48
SCENE = np.zeros((HEIGHT, WIDTH, 3), np.uint8)
SCENE[:16, :24], SCENE[:16, 24:], SCENE[16:, :24], SCENE[16:, 24:] = (
    (200, 40, 30),
    (30, 180, 60),
    (50, 60, 210),
    (90, 90, 90),
)
#: Far enough from the borders between colours for every interpolation.
INSIDE = np.zeros((HEIGHT, WIDTH), bool)
INSIDE[4:12, 4:20] = INSIDE[4:12, 28:44] = INSIDE[20:28, 4:20] = INSIDE[20:28, 28:44] = True

BAYER_CHANNEL = {"r": 0, "g": 1, "b": 2}


def yuv_of(rgb: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """BT.601 video range, written out from the standard's coefficients."""
    r, g, b = (rgb[..., i].astype(float) for i in range(3))
    y = 16 + (65.481 * r + 128.553 * g + 24.966 * b) / 255
    u = 128 + (-37.797 * r - 74.203 * g + 112.0 * b) / 255
    v = 128 + (112.0 * r - 93.786 * g - 18.214 * b) / 255
    return tuple(np.rint(plane).astype(np.uint8) for plane in (y, u, v))


def encoded(encoding: str) -> np.ndarray:  # noqa: PLR0911
    """SCENE in an encoding, as the rows of a message, made without the code under test."""
    wide = 257 if encoding.endswith("16") or encoding.startswith("16") else 1
    base = SCENE.astype(np.uint16) * wide if wide > 1 else SCENE
    name = encoding.removesuffix("16").removesuffix("8")
    alpha = np.full((HEIGHT, WIDTH, 1), 77, base.dtype)
    if name == "rgb":
        return base
    if name in ("bgr", "8UC3", "16UC3"):
        return base[..., ::-1]
    if name == "rgba":
        return np.dstack([base, alpha])
    if name in ("bgra", "8UC4", "16UC4"):
        return np.dstack([base[..., ::-1], alpha])
    if name in ("mono", "8UC1", "16UC1"):
        return base[..., 1]
    if name.startswith("bayer_"):
        pattern = name.removeprefix("bayer_")
        mosaic = np.empty((HEIGHT, WIDTH), base.dtype)
        for i, colour in enumerate(pattern):
            mosaic[i // 2 :: 2, i % 2 :: 2] = base[i // 2 :: 2, i % 2 :: 2, BAYER_CHANNEL[colour]]
        return mosaic
    y, u, v = yuv_of(SCENE)
    if name in ("yuv422", "uyvy", "yuv422_yuy2", "yuyv"):
        packed = np.empty((HEIGHT, WIDTH, 2), np.uint8)
        luma, chroma = (1, 0) if name in ("yuv422", "uyvy") else (0, 1)
        packed[..., luma] = y
        packed[:, 0::2, chroma], packed[:, 1::2, chroma] = u[:, ::2], v[:, ::2]
        return packed
    if name == "nv24":
        return np.vstack([y, np.dstack([u, v]).reshape(2 * HEIGHT, WIDTH)])
    if name in ("i420", "yuv420p"):  # a plane of each: two rows of chroma in one row of luma
        return np.vstack([y, *(plane[::2, ::2].reshape(HEIGHT // 4, WIDTH) for plane in (u, v))])
    first, second = (u, v) if name == "nv12" else (v, u)
    return np.vstack([y, np.dstack([first[::2, ::2], second[::2, ::2]]).reshape(HEIGHT // 2, WIDTH)])
