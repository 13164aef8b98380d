# SPDX-License-Identifier: GPL-3.0-or-later
"""The numbers of an image as Blender keeps them, and the picture that they are. No `bpy` here: a thread makes the picture."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from leadline.geometry import upright


@dataclass(frozen=True)
class StoredImage:
    """What the main thread takes out of an image, as it lies there.

    Attributes:
        values: float32 (H, W, C), row 0 at the bottom, lying as the file does; C is 1, 2, 3 or 4.
        linear: Whether colours are scene-linear rather than as they look on screen.
        orientation: How the file is stored (EXIF).
    """

    values: np.ndarray
    linear: bool
    orientation: int

    def picture(self, size: tuple[int, int] | None = None) -> np.ndarray:
        """uint8 (H, W, 4), upright, row 0 at the top, as it looks on screen.

        ``size``: (height, width) of the upright picture, by nearest pixels; None: its own.
        """
        return _on_screen(self._at(size), self.linear)

    def at_most(self, edge: int) -> StoredImage:
        """The same, of no more than ``edge`` pixels on a side, by nearest pixels."""
        height, width = self.values.shape[:2]
        shrink = edge / max(height, width)
        if shrink >= 1:
            return self
        rows, columns = _nearest(max(round(height * shrink), 1), height), _nearest(max(round(width * shrink), 1), width)
        return StoredImage(self.values[rows[:, None], columns], self.linear, self.orientation)

    def numbers(self) -> np.ndarray:
        """float32 (H, W), upright, row 0 at the top: the first channel as it is."""
        return np.ascontiguousarray(self._at(None)[..., 0])

    def _at(self, size: tuple[int, int] | None) -> np.ndarray:
        given = self.values[::-1]
        if size is not None:
            rows, columns = size if self.orientation < 5 else size[::-1]
            given = given[_nearest(rows, given.shape[0])[:, None], _nearest(columns, given.shape[1])]
        return upright(given, self.orientation)


def _nearest(wanted: int, there: int) -> np.ndarray:
    return ((np.arange(wanted) + 0.5) * there / wanted).astype(int)


def _on_screen(given: np.ndarray, linear: bool) -> np.ndarray:
    colours = np.ones((*given.shape[:2], 4), np.float32)
    if given.shape[2] >= 3:
        colours[..., : given.shape[2]] = given
    else:
        colours[..., :3] = given[..., :1]
    if linear:
        colours[..., :3] = _linear_to_srgb(colours[..., :3])
    np.clip(colours, 0, 1, out=colours)
    colours *= 255
    colours += 0.5
    return colours.astype(np.uint8)


def _linear_to_srgb(linear: np.ndarray) -> np.ndarray:
    linear = np.maximum(linear, 0)
    return np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055)
