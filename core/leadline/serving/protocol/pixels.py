"""Maps and images as bytes: raw floats, 16-bit integers, 16-bit PNG. Standard library and NumPy only."""

from __future__ import annotations

import math
import struct
import sys
import zlib
from typing import Any

import numpy as np
import numpy.typing as npt

from leadline.files.encoded import encoded_size, is_jpeg, is_png
from leadline.files.png import encode_png
from leadline.serving.protocol.messages import Frame, MapInfo, WireError
from leadline.serving.protocol.wire import reply_itemsize
from leadline.types import FloatMap

_RAW = {"float32": "<f4", "float16": "<f2", "uint16": "<u2"}
#: zlib's quickest: a map is sent once, and a client waits for it.
_PNG_LEVEL = 1


def map_nbytes(encoding: str, *shape: int) -> int | None:
    """Bytes of an encoded map (H, W) or of normals (H, W, 3), or None if that depends on the content."""
    itemsize = reply_itemsize(encoding)
    return None if itemsize is None else math.prod(shape) * itemsize


def encode_map(values: FloatMap, encoding: str, out: memoryview | None = None) -> tuple[MapInfo, Frame]:
    """A finite float32 map (H, W) as bytes, or normals (H, W, 3) as floats.

    Args:
        values: The map.
        encoding: ``float32``; ``float16``; ``uint16``, linear from the map's minimum to its maximum; ``png16``, the
            same in a PNG.
        out: Where to put the bytes of an encoding of known size; exactly :func:`map_nbytes` long. If they are there
            already, because the map was made there, nothing is copied.

    Returns:
        What the result's header says, and the bytes (``out`` if it was used).
    """
    scale, offset = 1.0, 0.0
    numbers: npt.NDArray[Any] = values
    if encoding in ("uint16", "png16"):
        low, high = float(values.min()), float(values.max())
        scale, offset = max((high - low) / 65535.0, float(np.finfo(np.float32).tiny)), low
        numbers = np.rint((values - np.float32(low)) / np.float32(scale)).clip(0, 65535)
    elif encoding == "float16":
        numbers = _halves(values)
    info = MapInfo(encoding, values.shape, scale, offset)
    if encoding == "png16":
        return info, encode_png(numbers.astype(np.uint16), _PNG_LEVEL)
    if out is None:
        out = memoryview(bytearray(map_nbytes(encoding, *values.shape) or 0))
    target: npt.NDArray[Any] = np.frombuffer(out, _RAW[encoding]).reshape(values.shape)
    if numbers.__array_interface__ != target.__array_interface__:
        np.copyto(target, numbers, casting="unsafe")
    return info, out


def _halves(values: FloatMap) -> npt.NDArray[np.float16]:
    """float16, the largest ones instead of infinities. Where torch is loaded, it does this ten times faster."""
    torch = sys.modules.get("torch")
    if torch is not None and values.flags.writeable and values.flags.c_contiguous:
        halves: npt.NDArray[np.float16] = torch.from_numpy(values).clamp(-65504.0, 65504.0).half().numpy()
        return halves
    return np.clip(values, -65504.0, 65504.0).astype(np.float16)


def decode_map(info: MapInfo, body: Frame) -> FloatMap:
    """Bytes to a float32 map (H, W), or normals (H, W, 3); a view of ``body`` if it holds float32 already.

    Raises:
        WireError: The bytes are no such map, or the map has NaN or infinite values.
    """
    if info.encoding == "png16":
        numbers: npt.NDArray[Any] = _read_png(bytes(body), info.shape)
    else:
        if len(body) != map_nbytes(info.encoding, *info.shape):
            raise WireError(f"{len(body)} bytes are not a {info.encoding} map of {list(info.shape)}")
        numbers = np.frombuffer(body, _RAW[info.encoding]).reshape(info.shape)
    if info.encoding in ("uint16", "png16"):
        return numbers.astype(np.float32) * np.float32(info.scale) + np.float32(info.offset)
    values = numbers.astype(np.float32, copy=False)
    # NaN and infinity survive a sum of squares, which is several times quicker than looking at every value.
    flat = values.ravel()
    with np.errstate(over="ignore", invalid="ignore"):
        total = np.dot(flat, flat)
    if not np.isfinite(total) and not np.isfinite(values).all():
        raise WireError("the server's map has NaN or infinite values")
    return values


def decode_validity(info: MapInfo, body: Frame) -> npt.NDArray[np.uint8]:
    """Bytes to what stands behind each pixel, uint8 (H, W)."""
    return np.frombuffer(body, np.uint8).reshape(info.shape)


def image_size(encoded: Frame) -> tuple[int, int]:
    """(height, width) of a JPEG or PNG from its first bytes, without decoding it.

    Raises:
        WireError: It is neither, or ends before it says its size.
    """
    head = memoryview(encoded)
    size = encoded_size(head)
    if size is not None:
        return size[1], size[0]
    if is_png(head):
        raise WireError("the PNG is damaged", code="bad_image")
    if is_jpeg(head):
        raise WireError("the JPEG is damaged", code="bad_image")
    raise WireError("the image is neither JPEG nor PNG", code="bad_image")


def _read_png(data: bytes, shape: tuple[int, ...]) -> npt.NDArray[np.uint16]:
    """The 16-bit PNGs that :func:`leadline.files.png.encode_png` makes; never inflates more than ``shape`` needs."""
    height, width = shape
    expected = height * (1 + 2 * width)
    if image_size(data) != shape or data[24:29] != b"\x10\x00\x00\x00\x00":
        raise WireError(f"the PNG is not 16-bit grey of {list(shape)}")
    at, packed = 8, []
    while at + 12 <= len(data):
        (length,) = struct.unpack(">I", data[at : at + 4])
        if data[at + 4 : at + 8] == b"IDAT":
            packed.append(data[at + 8 : at + 8 + length])
        at += 12 + length
    try:
        raw = zlib.decompressobj().decompress(b"".join(packed), expected)
    except zlib.error as error:
        raise WireError("the PNG is damaged") from error
    if len(raw) != expected:
        raise WireError("the PNG is damaged")
    rows = np.frombuffer(raw, np.uint8).reshape(height, 1 + 2 * width)
    if (rows[:, 0] != 2).any():
        raise WireError("the PNG uses a row filter other than 2 (up)")
    return np.cumsum(rows[:, 1:], axis=0, dtype=np.uint8).view(">u2").astype(np.uint16)
