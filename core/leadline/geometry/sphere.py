"""A 360° panorama as overlapping pictures of an ordinary camera, and which ray is where on each.

Axes as in :mod:`leadline.geometry`: the middle of the panorama lies along -z, its right quarter along +x, its top along +y.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from leadline.sensors.pinhole import Pinhole
from leadline.types import RgbImage

FloatArray = npt.NDArray[np.floating[Any]]

#: Field of view of a tile, degrees: as wide as photographs are that models know, with room to overlap.
TILE_DEGREES = 90.0
#: Rows of tiles: how far each looks up, degrees, and how many stand around.
TILE_ROWS = ((0.0, 6), (55.0, 5), (-55.0, 5), (90.0, 1), (-90.0, 1))


@dataclass(frozen=True)
class Tile:
    """A square picture of ``size`` pixels that looks ``yaw`` degrees to the right and ``pitch`` degrees up."""

    yaw: float
    pitch: float
    size: int

    @property
    def camera(self) -> Pinhole:
        return Pinhole.from_fov(self.size, self.size, TILE_DEGREES)

    def axes(self) -> npt.NDArray[np.float64]:
        """(3, 3): the tile's right, up and back as columns."""
        yaw, pitch = np.radians(self.yaw), np.radians(self.pitch)
        back = -np.array([np.cos(pitch) * np.sin(yaw), np.sin(pitch), -np.cos(pitch) * np.cos(yaw)])
        right = np.array([np.cos(yaw), 0.0, np.sin(yaw)])
        return np.stack([right, np.cross(back, right), back], axis=1)

    def see(self, directions: FloatArray) -> tuple[FloatArray, FloatArray, FloatArray]:
        """``x_px, y_px, cosine`` of unit directions (..., 3); cosine, to the axis, is 0 for what the tile does not see."""
        x_px, y_px, cosine = self.camera.project(directions @ self.axes())
        with np.errstate(invalid="ignore"):
            seen = (cosine > 0) & (x_px >= 0) & (x_px < self.size) & (y_px >= 0) & (y_px < self.size)
        return np.where(seen, x_px, 0.0), np.where(seen, y_px, 0.0), np.where(seen, cosine, 0.0)


def tiles(size: int) -> list[Tile]:
    """Tiles of ``size`` pixels that see everything, and most of it more than once."""
    return [
        Tile(360.0 * (place + 0.5 * (row % 2)) / count, pitch, size)
        for row, (pitch, count) in enumerate(TILE_ROWS)
        for place in range(count)
    ]


def directions(height: int, width: int) -> FloatArray:
    """Unit directions float32 (H, W, 3) of the pixels of an equirectangular panorama."""
    longitude = ((np.arange(width) + 0.5) / width - 0.5) * 2 * np.pi
    return directions_at(longitude, ((0.5 - (np.arange(height) + 0.5) / height) * np.pi)[:, None])


def directions_at(longitude: FloatArray, latitude: FloatArray) -> FloatArray:
    """Unit directions float32 (..., 3) of angles in radians, to the right and up."""
    longitude, latitude = np.broadcast_arrays(longitude, latitude)
    flat = np.cos(latitude)
    return np.stack([flat * np.sin(longitude), np.sin(latitude), -flat * np.cos(longitude)], axis=-1, dtype=np.float32)


def cut_out(panorama: RgbImage, tile: Tile) -> RgbImage:
    """uint8 (S, S, 3): what the tile's camera would have taken, from an equirectangular uint8 (H, W, 3)."""
    smaller = max(int(panorama.shape[1] * TILE_DEGREES / 360 / tile.size), 1)
    image = _averaged(panorama, smaller)
    height, width = image.shape[:2]
    at = np.arange(tile.size) + 0.5
    rays = tile.camera.rays(at[None], at[:, None]) @ tile.axes().T
    x_px = (np.arctan2(rays[..., 0], -rays[..., 2]) / (2 * np.pi) + 0.5) * width - 0.5
    y_px = (0.5 - np.arctan2(rays[..., 1], np.hypot(rays[..., 0], rays[..., 2])) / np.pi) * height - 0.5
    return np.asarray(between(image, x_px, y_px) + 0.5).astype(np.uint8)


def between(image: npt.NDArray[Any], x_px: FloatArray, y_px: FloatArray) -> npt.NDArray[np.float32]:
    """Bilinear values of an equirectangular image (H, W[, C]) that goes on round the back; whole numbers are pixel centres."""
    height, width = image.shape[:2]
    y_px = np.clip(y_px, 0, height - 1)
    left, top = np.floor(x_px).astype(np.intp), np.minimum(y_px.astype(np.intp), max(height - 2, 0))
    across, down = (x_px - left).astype(np.float32), (y_px - top).astype(np.float32)
    if image.ndim == 3:
        across, down = across[..., None], down[..., None]
    right, bottom = (left + 1) % width, np.minimum(top + 1, height - 1)
    left = left % width
    upper = image[top, left] * (1 - across) + image[top, right] * across
    lower = image[bottom, left] * (1 - across) + image[bottom, right] * across
    return np.asarray(upper * (1 - down) + lower * down, np.float32)


def _averaged(image: RgbImage, factor: int) -> npt.NDArray[np.float32]:
    """Means of ``factor`` × ``factor`` pixels; what does not fill a block at the lower and right border is left out."""
    if factor == 1:
        return image.astype(np.float32)
    height, width = image.shape[0] // factor, image.shape[1] // factor
    blocks = image[: height * factor, : width * factor].reshape(height, factor, width, factor, -1)
    return blocks.mean(axis=(1, 3), dtype=np.float32)
