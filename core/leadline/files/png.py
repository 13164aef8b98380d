"""PNG files with the standard library and NumPy: for Blender's threads and for the wire, where no image library is."""

from __future__ import annotations

import struct
import zlib
from typing import Any

import numpy as np
import numpy.typing as npt

SIGNATURE = b"\x89PNG\r\n\x1a\n"
#: Colour types of the header.
_GREY, _RGB = 0, 2
#: The row filter that stores each row as its difference to the row above. It suits depth and is quick.
_UP = 2


def encode_png(pixels: npt.NDArray[Any], level: int = 6) -> bytes:
    """The content of a PNG file (ISO/IEC 15948), every row filtered by "up".

    Args:
        pixels: uint8 (H, W) or (H, W, 3), or uint16 (H, W); row 0 is at the top.
        level: zlib's, 0 (quickest) to 9 (smallest).

    Raises:
        ValueError: The pixels are of another type or shape.
    """
    grey, eight = pixels.ndim == 2, pixels.dtype == np.uint8
    if not (grey and (eight or pixels.dtype == np.uint16)) and not (
        eight and pixels.ndim == 3 and pixels.shape[2] == 3
    ):
        raise ValueError(f"{pixels.dtype} pixels of {pixels.shape} are no 8-bit grey or RGB and no 16-bit grey picture")
    height, width = pixels.shape[:2]
    stored = np.ascontiguousarray(pixels, pixels.dtype.newbyteorder(">"))  # the most significant byte comes first
    rows = stored.view(np.uint8).reshape(height, -1)
    filtered = np.empty((height, 1 + rows.shape[1]), np.uint8)
    filtered[:, 0] = _UP
    filtered[0, 1:] = rows[0]
    np.subtract(rows[1:], rows[:-1], out=filtered[1:, 1:])
    header = struct.pack(">IIBBBBB", width, height, 8 * pixels.itemsize, _GREY if grey else _RGB, 0, 0, 0)
    content = [chunk(b"IHDR", header), chunk(b"IDAT", zlib.compress(filtered.data, level)), chunk(b"IEND", b"")]
    return SIGNATURE + b"".join(content)


def chunk(name: bytes, data: bytes) -> bytes:
    """One piece of a PNG file: its length, its name of four letters, what is in it, and a check sum of these."""
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))
