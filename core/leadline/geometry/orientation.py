"""Photographs that a camera stored turned or mirrored (EXIF orientation): their maps and texture coordinates.

Numbers 1 to 8 as in Exif 2.32, tag 0x0112; 1 is upright, 6 is a phone held upright.
"""

from __future__ import annotations

from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt

Map = TypeVar("Map", bound=npt.NDArray[Any])

UPRIGHT = 1
#: Orientation → whether to exchange rows and columns, then mirror top to bottom, then left to right.
_TURNS = {
    1: (False, False, False),
    2: (False, False, True),
    3: (False, True, True),
    4: (False, True, False),
    5: (True, False, False),
    6: (True, False, True),
    7: (True, True, True),
    8: (True, True, False),
}


def upright(stored: Map, orientation: int) -> Map:
    """An array (H, W, ...) as the file has it, turned as people see it; a view."""
    exchange, top_bottom, left_right = _TURNS[orientation]
    turned = np.swapaxes(stored, 0, 1) if exchange else stored
    turned = turned[::-1] if top_bottom else turned
    return turned[:, ::-1] if left_right else turned  # type: ignore[return-value]


def as_stored(turned: Map, orientation: int) -> Map:
    """The inverse of :func:`upright`; a view."""
    exchange, top_bottom, left_right = _TURNS[orientation]
    stored = turned[:, ::-1] if left_right else turned
    stored = stored[::-1] if top_bottom else stored
    return np.swapaxes(stored, 0, 1) if exchange else stored  # type: ignore[return-value]


def stored_uv(uv: npt.NDArray[np.float32], orientation: int) -> npt.NDArray[np.float32]:
    """Texture coordinates (..., 2) of the upright picture as coordinates of the stored one; origins at the lower left."""
    exchange, top_bottom, left_right = _TURNS[orientation]
    right, up = uv[..., 0], uv[..., 1]
    right = 1 - right if left_right else right
    up = 1 - up if top_bottom else up
    # Exchanging rows and columns mirrors at the diagonal from the upper left, where v = 1 - row.
    return np.stack([1 - up, 1 - right] if exchange else [right, up], axis=-1)
