# SPDX-License-Identifier: GPL-3.0-or-later
"""A model's answer as the add-on keeps it. No `bpy` here."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from .leadline.depth.spaces import Space
from .leadline.errors import InputError


@dataclass(frozen=True)
class Depth:
    """Maps are float32 (H, W), row 0 at the top; `uncertainty` is one standard deviation of `values`, or None."""

    values: np.ndarray
    space: Space
    metric: bool
    model: str
    uncertainty: np.ndarray | None = None


def check(depth: Depth, size: tuple[int, int]) -> Depth:
    """Refuse an answer that does not fit the photograph, before anything is built from it."""
    if depth.values.shape != size:
        raise InputError(f"the server sent {depth.values.shape} numbers for a photograph of {size}")
    if not np.isfinite(depth.values).all():
        raise InputError("the server sent depth with holes or infinities in it")
    return depth
