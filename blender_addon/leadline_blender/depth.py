# SPDX-License-Identifier: GPL-3.0-or-later
"""A model's answer as the add-on keeps it. No `bpy` here."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from leadline.depth.spaces import Space
from leadline.errors import InputError


@dataclass(frozen=True)
class Depth:
    """Maps are float32 (H, W), row 0 at the top; `uncertainty` is one standard deviation of `values`, or None.

    `device` is what computed them.
    """

    values: np.ndarray
    space: Space
    metric: bool
    model: str
    uncertainty: np.ndarray | None = None
    device: str = ""


def check(depth: Depth, size: tuple[int, int]) -> Depth:
    """Refuse an answer that does not fit a photograph of (height, width), before anything is built from it."""
    rows, columns = depth.values.shape
    # A smaller map of the same picture differs from its proportions by less than a pixel.
    if abs(rows * size[1] - columns * size[0]) > max(size):
        raise InputError(f"the server sent {depth.values.shape} numbers for a photograph of {size}")
    if not np.isfinite(depth.values).all():
        raise InputError("the server sent depth with holes or infinities in it")
    return depth


def at_most(values: np.ndarray, long_edge: int) -> np.ndarray:
    """A map (H, W) of no more than ``long_edge`` pixels on a side, by nearest pixels: edges stay where they are."""
    if max(values.shape) <= long_edge:
        return values
    height, width = values.shape
    shrink = long_edge / max(values.shape)
    rows, columns = max(round(height * shrink), 1), max(round(width * shrink), 1)
    at_row = ((np.arange(rows) + 0.5) * height / rows).astype(int)
    at_column = ((np.arange(columns) + 0.5) * width / columns).astype(int)
    return values[at_row[:, None], at_column]
