"""ROS messages ↔ NumPy. No cv_bridge: it breaks with NumPy 2 and is absent from pip.

Reading makes no copy where the layout allows it. Writing goes through ``array.frombytes``, the one way of filling
`uint8[]` in rclpy that does not convert byte by byte.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import cv2
import numpy as np
from builtin_interfaces.msg import Time
from geometry_msgs.msg import TransformStamped
from sensor_msgs.msg import CameraInfo, CompressedImage, Image, PointCloud2, PointField
from std_msgs.msg import Header

from leadline.errors import InputError
from leadline.streaming.cameras import CameraValues
from leadline.streaming.clouds import XYZRGB, XYZRGB_STEP, Field, decode_points
from leadline.streaming.encodings import decode_compressed, decode_depth, decode_image

Array = Any


def stamp_ns(header: Header) -> int:
    """Time of a header in nanoseconds."""
    return header.stamp.sec * 1_000_000_000 + header.stamp.nanosec


def time_from_ns(nanoseconds: int) -> Time:
    return Time(sec=nanoseconds // 1_000_000_000, nanosec=nanoseconds % 1_000_000_000)


def rgb_from_image(message: Image | CompressedImage) -> Array:
    """RGB uint8 (H, W, 3) of a raw or compressed image.

    Raises:
        InputError: The message contradicts itself or its encoding is unknown.
    """
    if isinstance(message, CompressedImage):
        return decode_compressed(message.data)
    return decode_image(
        message.encoding, message.height, message.width, message.step, message.data, bool(message.is_bigendian)
    )


def rgb_through_cv_bridge() -> Callable[[Image | CompressedImage], Array]:
    """The same by cv_bridge.

    Raises:
        InputError: It is not installed, or was built for another NumPy.
    """
    try:
        from cv_bridge import CvBridge, CvBridgeError  # noqa: PLC0415
    except (ImportError, AttributeError) as error:
        raise InputError(f"use_cv_bridge is set but cv_bridge cannot be imported ({error}); unset it") from error
    bridge = CvBridge()

    def convert(message: Image | CompressedImage) -> Array:
        if isinstance(message, CompressedImage):
            return decode_compressed(message.data)
        try:
            return np.ascontiguousarray(bridge.imgmsg_to_cv2(message, desired_encoding="rgb8"))
        except CvBridgeError as error:
            raise InputError(f"cv_bridge: {error}") from error

    return convert


def depth_from_image(message: Image) -> Array:
    """float32 metres (H, W), 0 where nothing was measured, of a `16UC1` or `32FC1` image."""
    return decode_depth(
        message.encoding, message.height, message.width, message.step, message.data, bool(message.is_bigendian)
    )


def points_from_cloud(message: PointCloud2) -> Array:
    """Finite points, float32 (N, 3), in the frame of the cloud."""
    fields = [Field(field.name, field.offset, field.datatype) for field in message.fields]
    return decode_points(
        fields,
        message.height,
        message.width,
        message.point_step,
        message.row_step,
        message.data,
        bool(message.is_bigendian),
    )


def camera_values(message: CameraInfo) -> CameraValues:
    """The numbers of a CameraInfo."""
    roi = message.roi
    return CameraValues(
        width=message.width,
        height=message.height,
        model=message.distortion_model,
        k=tuple(message.k),
        d=tuple(message.d),
        p=tuple(message.p),
        binning=(message.binning_x, message.binning_y),
        roi=(roi.x_offset, roi.y_offset, roi.width, roi.height),
    )


def transform_fields(message: TransformStamped) -> dict[str, Any]:
    """Arguments of :meth:`leadline.streaming.transforms.TransformTree.add` but for ``is_static``."""
    shift, turn = message.transform.translation, message.transform.rotation
    return {
        "parent": message.header.frame_id,
        "child": message.child_frame_id,
        "stamp_ns": stamp_ns(message.header),
        "translation": (shift.x, shift.y, shift.z),
        "quaternion": (turn.x, turn.y, turn.z, turn.w),
    }


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
    """An organised coloured cloud from float32 (H, W, 4), see :func:`leadline.streaming.clouds.cloud_from_depth`."""
    height, width = cloud.shape[:2]
    message = PointCloud2(
        header=header,
        height=height,
        width=width,
        fields=[PointField(name=f.name, offset=f.offset, datatype=f.datatype, count=1) for f in XYZRGB],
        is_bigendian=False,
        point_step=XYZRGB_STEP,
        row_step=XYZRGB_STEP * width,
        is_dense=False,
    )
    message.data.frombytes(memoryview(cloud).cast("B"))
    return message
