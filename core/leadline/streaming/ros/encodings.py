"""Image message layouts as plain NumPy: `sensor_msgs/Image` bytes → RGB, and depth maps → bytes.

Names of encodings are those of ROS's `sensor_msgs/image_encodings`. Nothing here knows a message class:
functions take the fields of the message, so the same code serves rclpy, recorded bags and tests.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from dataclasses import dataclass
from io import BytesIO
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from leadline.errors import InputError
from leadline.types import FloatMap

Pixels = Any  # OpenCV's own annotations know no dtype
Rgb = npt.NDArray[np.uint8]

#: Larger pictures are refused before anything is allocated for them.
MAX_PIXELS = 64_000_000


@dataclass(frozen=True)
class _Layout:
    """How one encoding lies in memory and how it becomes RGB.

    Attributes:
        dtype: Of one channel.
        channels: Interleaved channels per pixel.
        to_rgb: (H, W) or (H, W, C) array of ``dtype`` → RGB of the same dtype; None if it is RGB already.
        rows: Rows of data for `height` picture rows, as a fraction (3/2 for 4:2:0).
    """

    dtype: type[np.generic]
    channels: int
    to_rgb: Callable[[Pixels], Pixels] | None
    rows: tuple[int, int] = (1, 1)


def _convert(code: int) -> Callable[[Pixels], Pixels]:
    return lambda pixels: cv2.cvtColor(pixels, code)


def _nv24_to_rgb(planes: Pixels) -> Pixels:
    """Y plane over a full-resolution UV plane, BT.601 video range: uint8 (3H, W) → (H, W, 3)."""
    height, width = planes.shape[0] // 3, planes.shape[1]
    luma = planes[:height]
    chroma = planes[height:].reshape(height, width, 2)
    yuv = np.dstack([luma, chroma])
    matrix = np.array([[1.164, 0.0, 1.596], [1.164, -0.392, -0.813], [1.164, 2.017, 0.0]])
    offset = -matrix @ np.array([16.0, 128.0, 128.0])
    return cv2.transform(yuv, np.column_stack([matrix, offset]))


def _layouts() -> dict[str, _Layout]:
    u8, u16 = np.uint8, np.uint16
    table: dict[str, _Layout] = {}
    for bits, dtype in ((8, u8), (16, u16)):
        table |= {
            f"rgb{bits}": _Layout(dtype, 3, None),
            f"bgr{bits}": _Layout(dtype, 3, _convert(cv2.COLOR_BGR2RGB)),
            f"rgba{bits}": _Layout(dtype, 4, _convert(cv2.COLOR_RGBA2RGB)),
            f"bgra{bits}": _Layout(dtype, 4, _convert(cv2.COLOR_BGRA2RGB)),
            f"mono{bits}": _Layout(dtype, 1, _convert(cv2.COLOR_GRAY2RGB)),
            # Generic OpenCV types carry no colour order; OpenCV's own is meant.
            f"{bits}UC1": _Layout(dtype, 1, _convert(cv2.COLOR_GRAY2RGB)),
            f"{bits}UC3": _Layout(dtype, 3, _convert(cv2.COLOR_BGR2RGB)),
            f"{bits}UC4": _Layout(dtype, 4, _convert(cv2.COLOR_BGRA2RGB)),
            f"bayer_rggb{bits}": _Layout(dtype, 1, _convert(cv2.COLOR_BayerRGGB2RGB)),
            f"bayer_bggr{bits}": _Layout(dtype, 1, _convert(cv2.COLOR_BayerBGGR2RGB)),
            f"bayer_gbrg{bits}": _Layout(dtype, 1, _convert(cv2.COLOR_BayerGBRG2RGB)),
            f"bayer_grbg{bits}": _Layout(dtype, 1, _convert(cv2.COLOR_BayerGRBG2RGB)),
        }
    uyvy = _Layout(u8, 2, _convert(cv2.COLOR_YUV2RGB_UYVY))
    yuyv = _Layout(u8, 2, _convert(cv2.COLOR_YUV2RGB_YUYV))
    i420 = _Layout(u8, 1, _convert(cv2.COLOR_YUV2RGB_I420), rows=(3, 2))
    return table | {
        "yuv422": uyvy,
        "uyvy": uyvy,
        "yuv422_yuy2": yuyv,
        "yuyv": yuyv,
        "nv12": _Layout(u8, 1, _convert(cv2.COLOR_YUV2RGB_NV12), rows=(3, 2)),
        "nv21": _Layout(u8, 1, _convert(cv2.COLOR_YUV2RGB_NV21), rows=(3, 2)),
        "i420": i420,
        "yuv420p": i420,
        "nv24": _Layout(u8, 1, _nv24_to_rgb, rows=(3, 1)),
    }


_LAYOUTS = _layouts()

#: Encodings that :func:`decode_image` reads.
IMAGE_ENCODINGS = tuple(_LAYOUTS)


def _rows(data: Any, rows: int, columns: int, channels: int, dtype: np.dtype[Any], step: int) -> Pixels:
    """A zero-copy view (rows, columns[, channels]) of ``data``, honouring the row stride ``step`` in bytes.

    Raises:
        InputError: The numbers contradict each other or the data is too short.
    """
    row_bytes = columns * channels * dtype.itemsize
    if rows <= 0 or columns <= 0:
        raise InputError(f"image has no pixels ({columns}x{rows}); check the camera driver")
    if rows * columns > MAX_PIXELS:
        raise InputError(f"image of {columns}x{rows} is over the limit of {MAX_PIXELS} pixels")
    if step < row_bytes:
        raise InputError(f"image step {step} is less than a row of {row_bytes} bytes; check the driver")
    flat = np.frombuffer(data, dtype=np.uint8)
    if flat.size < step * (rows - 1) + row_bytes:
        raise InputError(f"image data has {flat.size} bytes, {step * rows} were announced; it was cut short")
    shape: tuple[int, ...] = (rows, columns) if channels == 1 else (rows, columns, channels)
    strides: tuple[int, ...] = (step, channels * dtype.itemsize, dtype.itemsize)[: len(shape)]
    return np.ndarray(shape, dtype=dtype, buffer=flat, strides=strides)


def _eight_bit(pixels: Pixels) -> Rgb:
    """uint16 full range to uint8 (v/257, rounded by OpenCV); uint8 unchanged."""
    eight_bit: Any = pixels if pixels.dtype == np.uint8 else cv2.convertScaleAbs(pixels, alpha=1 / 257)
    return np.asarray(eight_bit)


def decode_image(encoding: str, height: int, width: int, step: int, data: Any, big_endian: bool = False) -> Rgb:
    """Fields of a `sensor_msgs/Image` → RGB uint8 (H, W, 3), contiguous; a view of ``data`` where possible.

    Raises:
        InputError: Unknown encoding, zero size, contradictory step, short data.
    """
    layout = _LAYOUTS.get(encoding)
    if layout is None:
        known = ", ".join(IMAGE_ENCODINGS)
        raise InputError(f"unknown image encoding {encoding[:40]!r}; these are read: {known}")
    numerator, denominator = layout.rows
    if (denominator == 2 and (height % 2 or width % 2)) or (layout.channels == 2 and width % 2):
        raise InputError(f"encoding {encoding} needs an even size, not {width}x{height}")
    bayer = encoding.startswith("bayer")
    if bayer and (height < 4 or width < 4):
        raise InputError(f"a Bayer mosaic of {width}x{height} is too small to interpolate")
    dtype = np.dtype(layout.dtype)
    if big_endian and dtype.itemsize > 1:
        dtype = dtype.newbyteorder(">")
    if encoding == "nv24":  # the UV plane has rows twice as long: with padding its layout is undefined
        step = width
    if encoding in ("i420", "yuv420p") and step != width:  # two rows of a chroma plane lie in one row of the message
        raise InputError(
            f"encoding {encoding} with padded rows ({step} bytes for {width} pixels) has no defined layout"
        )
    pixels = _rows(data, height * numerator // denominator, width, layout.channels, dtype, step)
    if not dtype.isnative:
        pixels = pixels.astype(layout.dtype)
    if layout.to_rgb is None:
        return np.ascontiguousarray(_eight_bit(pixels))
    return np.ascontiguousarray(_eight_bit(layout.to_rgb(np.ascontiguousarray(pixels))))


def decode_compressed(data: Any) -> Rgb:
    """Bytes of a `sensor_msgs/CompressedImage` (JPEG, PNG, WebP ...) → RGB uint8 (H, W, 3).

    EXIF orientation is ignored: camera_info describes the pixels as they are stored.

    Raises:
        InputError: Not a picture, cut short, or over :data:`MAX_PIXELS`.
    """
    encoded = np.frombuffer(data, dtype=np.uint8)
    width, height = _compressed_size(encoded)
    if width * height > MAX_PIXELS:
        raise InputError(f"image of {width}x{height} is over the limit of {MAX_PIXELS} pixels")
    try:
        pixels = cv2.imdecode(encoded, cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION)
    except cv2.error:
        pixels = None
    if pixels is None:
        raise InputError("compressed image is damaged; check the camera driver or the network")
    rgb: Any = cv2.cvtColor(pixels, cv2.COLOR_BGR2RGB, dst=pixels)
    return np.asarray(rgb)


def _compressed_size(encoded: npt.NDArray[np.uint8]) -> tuple[int, int]:
    """(width, height) from the header alone, so that a bomb is refused before it is unpacked."""
    from PIL import Image  # noqa: PLC0415  (only this path needs it)

    try:
        with Image.open(BytesIO(encoded.tobytes())) as picture:  # all of it: metadata before the size may be large
            return picture.size
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise InputError("compressed image is no JPEG, PNG or other picture; check the topic") from error


def decode_depth(encoding: str, height: int, width: int, step: int, data: Any, big_endian: bool = False) -> FloatMap:
    """A depth image (`16UC1`/`mono16` in mm, `32FC1` in m) → float32 metres (H, W), 0 = not measured.

    Raises:
        InputError: Another encoding, zero size, contradictory step, short data.
    """
    types = {"16UC1": np.uint16, "mono16": np.uint16, "32FC1": np.float32}
    if encoding not in types:
        raise InputError(f"depth comes as 16UC1 (mm) or 32FC1 (m), not {encoding[:40]!r}")
    dtype = np.dtype(types[encoding])
    stored = _rows(data, height, width, 1, dtype.newbyteorder(">") if big_endian else dtype, step)
    if dtype == np.uint16:
        return np.asarray(stored, dtype=np.float32) * np.float32(1e-3)
    depth_m: FloatMap = stored.astype(np.float32)
    depth_m[~(np.isfinite(depth_m) & (depth_m > 0))] = 0.0
    return depth_m


def with_limits(depth_m: FloatMap, min_depth_m: float, max_depth_m: float) -> FloatMap:
    """Depth by REP-117: beyond ``max_depth_m`` is +Inf, nearer than ``min_depth_m`` -Inf, unknown stays NaN.

    The input is not changed; it is returned itself when nothing lies outside.
    """
    nearest, farthest = depth_m.min(), depth_m.max()  # NaN if there is any, and then nothing is known of the others
    if nearest >= min_depth_m and farthest <= max_depth_m:
        return depth_m
    limited: Any = cv2.threshold(depth_m, max_depth_m, np.inf, cv2.THRESH_BINARY)[1]  # beyond +Inf, else 0 ...
    np.add(limited, depth_m, out=limited)  # ... to be added: several times faster than assigning to a mask
    if not nearest >= min_depth_m:
        np.copyto(limited, np.float32(-np.inf), where=depth_m < min_depth_m)
    return np.asarray(limited, np.float32)


def encode_compressed_depth(depth_m: FloatMap, min_depth_m: float, max_depth_m: float) -> bytes:
    """float32 metres → the payload that `compressed_depth_image_transport` reads for `32FC1`.

    12 bytes of header (format, A, B) and a 16-bit PNG of ``A / depth + B``, rounded, 0 where depth is
    unknown or out of range. A and B spread the range over the 16 bits: quantised evenly in disparity.
    """
    a = (65535 - 1) / (1.0 / min_depth_m - 1.0 / max_depth_m)
    b = 1.0 - a / max_depth_m
    usable = (depth_m >= min_depth_m) & (depth_m <= max_depth_m)
    quantised = np.where(usable, np.rint(a / np.where(usable, depth_m, 1.0) + b), 0).astype(np.uint16)
    written, png = cv2.imencode(".png", quantised, [cv2.IMWRITE_PNG_COMPRESSION, 1])
    if not written:
        raise InputError("depth map could not be written as PNG")
    return struct.pack("<iff", 0, a, b) + png.tobytes()


def decode_compressed_depth(payload: bytes) -> FloatMap:
    """The inverse of :func:`encode_compressed_depth`: float32 metres (H, W), NaN where unknown."""
    _, a, b = struct.unpack_from("<iff", payload)
    quantised = cv2.imdecode(np.frombuffer(payload, np.uint8, offset=12), cv2.IMREAD_UNCHANGED)
    if quantised is None or quantised.dtype != np.uint16:
        raise InputError("compressed depth holds no 16-bit PNG")
    known = quantised > 0
    disparity = np.where(known, quantised.astype(np.float32) - b, 1.0)
    return np.where(known, a / disparity, np.nan).astype(np.float32)
