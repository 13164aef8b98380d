"""The size of an encoded image, and whether it is transparent, from its first bytes, without decoding it. Standard library only."""

from __future__ import annotations

import struct

from leadline.files.png import SIGNATURE

#: PNG colour types: grey and RGB, and RGB with alpha.
_PNG_OPAQUE, _PNG_RGBA = (0, 2), 6
#: JPEG markers that start a frame and so carry its size (ITU-T T.81, table B.1).
_JPEG_FRAMES = frozenset({0xC0, 0xC1, 0xC2, 0xC3, 0xC5, 0xC6, 0xC7, 0xC9, 0xCA, 0xCB, 0xCD, 0xCE, 0xCF})


def encoded_size(head: bytes | memoryview) -> tuple[int, int] | None:
    """(width, height) of a JPEG or PNG as it is stored.

    Args:
        head: The file, or as much of its beginning as holds its size.

    Returns:
        None if it is neither, is damaged, or ends before it says its size.
    """
    data = memoryview(head)
    if is_png(data):
        if len(data) < 24 or bytes(data[12:16]) != b"IHDR":
            return None
        width, height = struct.unpack_from(">II", data, 16)
        return width, height
    return _jpeg_size(data) if is_jpeg(data) else None


def encoded_alpha(head: bytes | memoryview) -> bool | None:
    """Whether a JPEG or PNG has transparency; None where that is not certain from the colour type.

    Args:
        head: As for :func:`encoded_size`.
    """
    data = memoryview(head)
    if is_jpeg(data):
        return False
    if encoded_size(data) is None or len(data) < 26:
        return None
    colours = data[25]  # PNG, ISO/IEC 15948, 11.2.2
    if colours in _PNG_OPAQUE:
        return _one_colour_is_clear(data)
    return True if colours == _PNG_RGBA else None


def is_png(head: bytes | memoryview) -> bool:
    return bytes(head[:8]) == SIGNATURE


def is_jpeg(head: bytes | memoryview) -> bool:
    return bytes(head[:2]) == b"\xff\xd8"


def _jpeg_size(data: memoryview) -> tuple[int, int] | None:
    at = 2
    while at + 9 <= len(data) and data[at] == 0xFF:
        marker = data[at + 1]
        if marker == 0xFF:  # padding
            at += 1
        elif marker in _JPEG_FRAMES:
            height, width = struct.unpack_from(">HH", data, at + 5)
            return width, height
        elif marker == 0x01 or 0xD0 <= marker <= 0xD8:  # markers that stand alone
            at += 2
        else:
            at += 2 + max(2, int.from_bytes(data[at + 2 : at + 4], "big"))
    return None


def _one_colour_is_clear(data: memoryview) -> bool | None:
    """Whether a PNG declares one of its colours transparent, which it does before the pixels; None if it ends before these."""
    at = 8
    while at + 8 <= len(data):
        name = bytes(data[at + 4 : at + 8])
        if name in (b"IDAT", b"tRNS"):
            return name == b"tRNS"
        at += 12 + int.from_bytes(data[at : at + 4], "big")
    return None
