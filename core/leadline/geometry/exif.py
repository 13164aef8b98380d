"""What a camera wrote into its photograph (EXIF): focal length and orientation, with the standard library alone.

Every offset and length in the file is checked: a damaged file simply knows nothing.
Format: Exif 2.32 (CIPA DC-008) inside JPEG APP1, PNG ``eXIf``, WebP ``EXIF`` or TIFF.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Iterator
from pathlib import Path

from leadline.files.encoded import is_jpeg, is_png

#: Diagonal of the 35 mm film frame; CIPA defines the "35 mm equivalent" focal length by it.
FULL_FRAME_DIAGONAL_MM = math.hypot(36.0, 24.0)
HEAD_BYTES = 512 * 1024

_ORIENTATION = 0x0112
_EXIF_IFD = 0x8769
_FOCAL_MM = 0x920A
_FOCAL_35_MM = 0xA405
_PLANE_X_RESOLUTION = 0xA20E
_PLANE_UNIT = 0xA210
_PIXEL_X = 0xA002
_MM_PER_UNIT = {2: 25.4, 3: 10.0, 4: 1.0, 5: 0.001}
_TYPES = {3: ("H", 2), 4: ("I", 4), 5: ("II", 8)}


def focal_px_from_photo(path: str | Path, width: int, height: int) -> float | None:
    """Focal length in pixels of a ``width × height`` version of the photograph, or None if it is not written there."""
    return focal_px_from_bytes(read_head(path), width, height)


def orientation_from_photo(path: str | Path) -> int:
    """The EXIF orientation of the photograph, 1 to 8 (see :mod:`leadline.geometry.orientation`); 1 if it says none."""
    return orientation_from_bytes(read_head(path))


def read_head(path: str | Path) -> bytes:
    """The first bytes of a file, where EXIF lies; none if it cannot be read."""
    try:
        with Path(path).open("rb") as file:
            return file.read(HEAD_BYTES)
    except OSError:
        return b""


def focal_px_from_bytes(head: bytes, width: int, height: int) -> float | None:
    """As :func:`focal_px_from_photo`, from the first bytes of the file."""
    for block in _exif_blocks(head):
        tags = _read_tags(block)
        film_mm = tags.get(_FOCAL_35_MM, 0.0)
        if film_mm > 0:
            return film_mm / FULL_FRAME_DIAGONAL_MM * math.hypot(width, height)
        focal_mm, per_unit = tags.get(_FOCAL_MM, 0.0), tags.get(_PLANE_X_RESOLUTION, 0.0)
        unit_mm, original_width = _MM_PER_UNIT.get(int(tags.get(_PLANE_UNIT, 2)), 0.0), tags.get(_PIXEL_X, 0.0)
        if focal_mm > 0 and per_unit > 0 and unit_mm > 0 and original_width > 0:
            sensor_mm = original_width / per_unit * unit_mm
            return focal_mm / sensor_mm * max(width, height)
    return None


def orientation_from_bytes(head: bytes) -> int:
    """As :func:`orientation_from_photo`, from the first bytes of the file."""
    for block in _exif_blocks(head):
        orientation = int(_read_tags(block).get(_ORIENTATION, 0))
        if 1 <= orientation <= 8:
            return orientation
    return 1


def _exif_blocks(head: bytes) -> Iterator[bytes]:
    """TIFF structures found in a JPEG, PNG, WebP or TIFF file."""
    if head[:4] in (b"II*\0", b"MM\0*"):
        yield head
    elif is_jpeg(head):
        yield from _jpeg_blocks(head)
    elif is_png(head):
        at = 8
        while at + 12 <= len(head):
            length = int.from_bytes(head[at : at + 4], "big")
            if head[at + 4 : at + 8] == b"eXIf":
                yield head[at + 8 : at + 8 + length]
            at += 12 + length
    elif head[:4] == b"RIFF" and head[8:12] == b"WEBP":
        at = 12
        while at + 8 <= len(head):
            length = int.from_bytes(head[at + 4 : at + 8], "little")
            if head[at : at + 4] == b"EXIF":
                yield head[at + 8 : at + 8 + length].removeprefix(b"Exif\0\0")
            at += 8 + length + length % 2


def _jpeg_blocks(head: bytes) -> Iterator[bytes]:
    at = 2
    while at + 4 <= len(head) and head[at] == 0xFF and head[at + 1] not in (0xD9, 0xDA):
        length = int.from_bytes(head[at + 2 : at + 4], "big")
        if head[at + 1] == 0xE1 and head[at + 4 : at + 10] == b"Exif\0\0":
            yield head[at + 10 : at + 2 + length]
        at += 2 + max(length, 2)


def _read_tags(tiff: bytes) -> dict[int, float]:
    """The numeric tags of the first directory and of the Exif directory that it points to."""
    order = {b"II": "<", b"MM": ">"}.get(tiff[:2])
    if order is None or len(tiff) < 8:
        return {}
    tags = _read_directory(tiff, order, struct.unpack_from(order + "I", tiff, 4)[0])
    if _EXIF_IFD in tags:
        tags |= _read_directory(tiff, order, int(tags[_EXIF_IFD]))
    return tags


def _read_directory(tiff: bytes, order: str, at: int) -> dict[int, float]:
    tags: dict[int, float] = {}
    if at + 2 > len(tiff):
        return tags
    (count,) = struct.unpack_from(order + "H", tiff, at)
    for entry in range(at + 2, min(at + 2 + 12 * count, len(tiff) - 11), 12):
        tag, kind, number = struct.unpack_from(order + "HHI", tiff, entry)
        if kind not in _TYPES or number != 1:
            continue
        layout, size = _TYPES[kind]
        where = entry + 8 if size <= 4 else struct.unpack_from(order + "I", tiff, entry + 8)[0]
        if where + size > len(tiff):
            continue
        values = struct.unpack_from(order + layout, tiff, where)
        if len(values) == 1:
            tags[tag] = float(values[0])
        elif values[1]:
            tags[tag] = values[0] / values[1]
    return tags
