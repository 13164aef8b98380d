"""Reading ROS messages by their field names: rclpy's classes and those of recorded bags have the same."""

from __future__ import annotations

from typing import Any

from leadline.streaming.ros.clouds import Field, Points, decode_points
from leadline.streaming.ros.encodings import Rgb, decode_compressed, decode_depth, decode_image
from leadline.types import FloatMap


def stamp_ns(header: Any) -> int:
    """Time of a `std_msgs/Header` in nanoseconds."""
    return int(header.stamp.sec) * 1_000_000_000 + int(header.stamp.nanosec)


def rgb_of(message: Any) -> Rgb:
    """RGB uint8 (H, W, 3) of a `sensor_msgs/Image` or `sensor_msgs/CompressedImage`.

    Raises:
        InputError: The message contradicts itself or its encoding is unknown.
    """
    if not hasattr(message, "encoding"):
        return decode_compressed(message.data)
    return decode_image(
        message.encoding, message.height, message.width, message.step, message.data, bool(message.is_bigendian)
    )


def depth_of(message: Any) -> FloatMap:
    """float32 metres (H, W), 0 where nothing was measured, of a `16UC1` or `32FC1` image."""
    return decode_depth(
        message.encoding, message.height, message.width, message.step, message.data, bool(message.is_bigendian)
    )


def points_of(message: Any) -> Points:
    """Finite points, float32 (N, 3), of a `sensor_msgs/PointCloud2`, in its own frame."""
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


def transform_fields(message: Any) -> dict[str, Any]:
    """A `geometry_msgs/TransformStamped` as arguments of :meth:`TransformTree.add`, but for ``is_static``."""
    shift, turn = message.transform.translation, message.transform.rotation
    return {
        "parent": message.header.frame_id,
        "child": message.child_frame_id,
        "stamp_ns": stamp_ns(message.header),
        "translation": (shift.x, shift.y, shift.z),
        "quaternion": (turn.x, turn.y, turn.z, turn.w),
    }
