"""NumPy → ROS messages; :mod:`leadline.streaming.ros.messages` goes the other way.

No cv_bridge unless asked for: it breaks with NumPy 2 and is absent from pip. Filling goes through ``array.frombytes``, the one way of filling
`uint8[]` in rclpy that does not convert byte by byte.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import cv2
import numpy as np
from sensor_msgs.msg import CompressedImage, Image, PointCloud2, PointField
from std_msgs.msg import Header

from leadline.errors import InputError
from leadline.streaming.ros.clouds import CLOUD_FIELDS, CLOUD_STEP
from leadline.streaming.ros.encodings import decode_compressed

Array = Any


def rgb_through_cv_bridge() -> Callable[[Image | CompressedImage], Array]:
    """As :func:`leadline.streaming.ros.messages.rgb_of`, by cv_bridge.

    Raises:
        InputError: It is not installed, or was built for another NumPy.
    """
    try:
        from cv_bridge import CvBridge  # noqa: PLC0415
    except (ImportError, AttributeError) as error:
        raise InputError(f"use_cv_bridge is set but cv_bridge cannot be imported ({error}); unset it") from error
    bridge = CvBridge()

    def convert(message: Image | CompressedImage) -> Array:
        if isinstance(message, CompressedImage):
            return decode_compressed(message.data)
        try:
            return np.ascontiguousarray(bridge.imgmsg_to_cv2(message, desired_encoding="rgb8"))
        except Exception as error:  # builds of cv_bridge raise whatever their dictionaries and bindings lead to
            raise InputError(f"cv_bridge cannot convert {message.encoding}: {type(error).__name__}: {error}") from error

    _try_out(convert)
    return convert


def _try_out(convert: Callable[[Image | CompressedImage], Array]) -> None:
    """Some builds of cv_bridge can be imported and convert nothing: better found before the first frame.

    Raises:
        InputError: It does not give back the colours of a small picture.
    """
    bgr = np.arange(12, dtype=np.uint8).reshape(2, 2, 3)
    header = Header()
    for encoding, pixels in (("rgb8", bgr[..., ::-1]), ("bgr8", bgr), ("mono8", bgr[..., 0])):
        try:
            converted = convert(image_message(header, encoding, pixels))
            right = converted.shape == (2, 2, 3) and (encoding == "mono8" or (converted == bgr[..., ::-1]).all())
            reason = "the colours come out wrong"
        except InputError as error:
            right, reason = False, str(error)
        if not right:
            raise InputError(f"use_cv_bridge is set but this cv_bridge does not work ({reason}); unset it")


def image_message(header: Header, encoding: str, pixels: Array) -> Image:
    """An image message of contiguous pixels (H, W) or (H, W, C)."""
    pixels = np.ascontiguousarray(pixels)
    message = Image(
        header=header,
        height=pixels.shape[0],
        width=pixels.shape[1],
        encoding=encoding,
        step=pixels.strides[0],
        is_bigendian=0,
    )
    message.data.frombytes(memoryview(pixels).cast("B"))
    return message


def compressed_message(header: Header, kind: str, payload: bytes) -> CompressedImage:
    """A compressed image of bytes that are encoded already."""
    message = CompressedImage(header=header, format=kind)
    message.data.frombytes(payload)
    return message


def jpeg_message(header: Header, rgb: Array, quality: int = 85) -> CompressedImage:
    """RGB uint8 (H, W, 3) as JPEG, described as image_transport does."""
    written, jpeg = cv2.imencode(".jpg", cv2.cvtColor(rgb, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_JPEG_QUALITY, quality])
    if not written:
        raise InputError("preview could not be written as JPEG")
    return compressed_message(header, "rgb8; jpeg compressed bgr8", jpeg.tobytes())


def cloud_message(header: Header, cloud: Array) -> PointCloud2:
    """A coloured cloud: organised from float32 (H, W, 5), else from (n, 5); see :mod:`leadline.streaming.ros.clouds`."""
    height, width = cloud.shape[:2] if cloud.ndim == 3 else (1, len(cloud))
    message = PointCloud2(
        header=header,
        height=height,
        width=width,
        fields=[PointField(name=f.name, offset=f.offset, datatype=f.datatype, count=1) for f in CLOUD_FIELDS],
        is_bigendian=False,
        point_step=CLOUD_STEP,
        row_step=CLOUD_STEP * width,
        is_dense=cloud.ndim == 2,
    )
    message.data.frombytes(np.ascontiguousarray(cloud).tobytes())
    return message
