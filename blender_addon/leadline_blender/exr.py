# SPDX-License-Identifier: GPL-3.0-or-later
"""One or three float channels as an OpenEXR file, with the standard library and NumPy, so that a thread can write it without `bpy`.

Format: https://openexr.com/en/latest/OpenEXRFileLayout.html; single part, scan lines, ZIP compression (16 lines each).
"""

from __future__ import annotations

import struct
import zlib
from pathlib import Path

import numpy as np

from leadline.files.whole import write_bytes

_MAGIC = b"\x76\x2f\x31\x01"
_VERSION = 2
_ZIP = 3
_LINES = 16
_FLOAT = 2


def write_exr(path: Path, values: np.ndarray) -> None:
    """float32 (H, W), row 0 at the top, as channel Y, or (H, W, 3) as R, G, B; whole or not at all."""
    height, width = values.shape[:2]
    # A file has its channels by name, and each line of each channel by itself.
    names, lines = ("Y", values[:, None]) if values.ndim == 2 else ("BGR", values[..., ::-1].transpose(0, 2, 1))
    lines = np.ascontiguousarray(lines, "<f4")
    window = struct.pack("<4i", 0, 0, width - 1, height - 1)
    channels = b"".join(name.encode() + b"\0" + struct.pack("<iB3xii", _FLOAT, 0, 1, 1) for name in names) + b"\0"
    header = _MAGIC + struct.pack("<i", _VERSION)
    for name, kind, value in (
        ("channels", "chlist", channels),
        ("compression", "compression", bytes([_ZIP])),
        ("dataWindow", "box2i", window),
        ("displayWindow", "box2i", window),
        ("lineOrder", "lineOrder", b"\0"),
        ("pixelAspectRatio", "float", struct.pack("<f", 1.0)),
        ("screenWindowCenter", "v2f", struct.pack("<2f", 0.0, 0.0)),
        ("screenWindowWidth", "float", struct.pack("<f", 1.0)),
    ):
        header += name.encode() + b"\0" + kind.encode() + b"\0" + struct.pack("<i", len(value)) + value
    header += b"\0"
    blocks = [
        struct.pack("<ii", top, len(packed)) + packed
        for top in range(0, height, _LINES)
        for packed in [_pack(lines[top : top + _LINES])]
    ]
    sizes = np.array([0, *map(len, blocks[:-1])], np.uint64)
    offsets = np.cumsum(sizes) + np.uint64(len(header) + 8 * len(blocks))
    write_bytes(path, b"".join([header, offsets.astype("<u8").tobytes(), *blocks]))


def _pack(lines: np.ndarray) -> bytes:
    """ZIP as OpenEXR does it: even bytes, then odd bytes, then differences with an offset of 128, then deflate."""
    plain = lines.tobytes()
    raw = np.frombuffer(plain, np.uint8)
    sorted_bytes = np.concatenate([raw[0::2], raw[1::2]])
    differences = sorted_bytes.copy()
    differences[1:] = sorted_bytes[1:] - sorted_bytes[:-1] + np.uint8(128)
    packed = zlib.compress(differences.tobytes(), 4)
    return packed if len(packed) < len(plain) else plain
