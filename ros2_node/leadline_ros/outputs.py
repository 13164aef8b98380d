"""What the node publishes: lifecycle publishers that cost nothing while nobody listens."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus, KeyValue
from rclpy.lifecycle import LifecycleNode
from rclpy.qos import QoSProfile, ReliabilityPolicy
from rclpy.qos_overriding_options import QoSOverridingOptions
from sensor_msgs.msg import CameraInfo, CompressedImage, Image, PointCloud2
from std_msgs.msg import Header

from leadline.files.output import millimetres
from leadline.files.pictures import colourise
from leadline.sensors.camera import CalibratedCamera
from leadline.streaming.cameras import RayCache
from leadline.streaming.frames import Frame, Matrix, StreamResult
from leadline.streaming.ros.clouds import cloud_from_depth, filtered_cloud, moved_cloud
from leadline.streaming.ros.encodings import encode_compressed_depth
from leadline.streaming.settings import StreamSettings
from leadline_ros.messages import cloud_message, compressed_message, image_message, jpeg_message
from leadline_ros.parameters import NodeSettings

TOPICS: dict[str, tuple[str, type]] = {
    "depth": ("depth", Image),
    "depth_compressed": ("depth/compressedDepth", CompressedImage),
    "uncertainty": ("depth/uncertainty", Image),
    "validity": ("depth/validity", Image),
    "status": ("depth/status", DiagnosticArray),
    "camera_info": ("depth/camera_info", CameraInfo),
    "points": ("depth/points", PointCloud2),
    "relative": ("depth/relative", Image),
    "preview": ("depth/preview", Image),
    "preview_compressed": ("depth/preview/compressed", CompressedImage),
}

#: Outputs that alone are no reason to run the model.
_SIDE_OUTPUTS = ("camera_info", "status")


@dataclass(frozen=True)
class Published:
    """What one frame gave: the names of the outputs written and the problems met."""

    names: tuple[str, ...]
    problems: tuple[str, ...]


class Outputs:
    """The publishers of one camera of a configured node.

    Reliable by default, so that RViz and best-effort readers both match; `qos_overrides` parameters change it.

    Args:
        node: Owner.
        camera: Name, which the topics stand below; empty for a node with one camera.
    """

    def __init__(self, node: LifecycleNode, camera: str = "") -> None:
        self._node = node
        self._below = f"{camera}/" if camera else ""
        self._rays = RayCache()
        self._publishers = {
            name: node.create_lifecycle_publisher(
                kind,
                self._topic(topic),
                QoSProfile(depth=5, reliability=ReliabilityPolicy.RELIABLE),
                qos_overriding_options=QoSOverridingOptions.with_default_policies(),
            )
            for name, (topic, kind) in TOPICS.items()
        }

    def _topic(self, topic: str) -> str:
        """Compressed forms follow a remapped base topic, as image_transport does it."""
        topic = self._below + topic
        base, _, transport = topic.rpartition("/")
        return f"{self._node.resolve_topic_name(base)}/{transport}" if transport.startswith("compressed") else topic

    def wanted(self, name: str) -> bool:
        """Whether anybody listens to this output."""
        return self._publishers[name].get_subscription_count() > 0

    def any_wanted(self) -> bool:
        """Whether anybody listens to anything that takes the model."""
        return any(self.wanted(name) for name in TOPICS if name not in _SIDE_OUTPUTS)

    def destroy(self) -> None:
        for publisher in self._publishers.values():
            self._node.destroy_lifecycle_publisher(publisher)
        self._publishers.clear()

    def publish(
        self,
        header: Header,
        frame: Frame,
        info: CameraInfo | None,
        result: StreamResult,
        stream: StreamSettings,
        node: NodeSettings,
        to_points_frame: Matrix | None,
    ) -> Published:
        """Write every output that has a listener, all with ``header``.

        Args:
            header: Of the image.
            frame: What went into the pipeline.
            info: The source's calibration, if it fits the image.
            result: What came out of it.
            stream, node: Settings.
            to_points_frame: 4×4 from the camera to `points_frame`; None if TF does not know it.
        """
        wanted = {name for name in TOPICS if self.wanted(name)}
        messages = self._relative(header, result, wanted)
        problems: list[str] = []
        if result.depth_m is not None:
            messages |= self._metric(header, result, stream, node, wanted)
            if "uncertainty" in wanted and result.uncertainty_m is None:
                problems.append("depth/uncertainty needs points, sparse depth, or an ensemble of 2 or more")
            if "points" in wanted and result.camera is None:
                problems.append("depth/points needs camera_info, and none that fits the image has come")
            elif "points" in wanted and node.points_frame and to_points_frame is None:
                problems.append(f"depth/points needs TF from {header.frame_id!r} to points_frame {node.points_frame!r}")
            elif "points" in wanted and node.cloud_filter.max_relative_sigma > 0 and result.uncertainty_m is None:
                problems.append(
                    "points_max_relative_sigma is set, and the sigma of this depth is not known: no depth/points"
                )
            elif "points" in wanted:
                messages["points"] = self._points(header, frame, result, node, to_points_frame)
        if info is not None and "camera_info" in wanted:
            pinhole = result.camera if stream.rectified else None
            messages["camera_info"] = _camera_info(header, info) if pinhole is None else pinhole_info(header, pinhole)
        if "status" in wanted:
            messages["status"] = _status(header, result)
        for name, message in messages.items():
            self._publishers[name].publish(message)
        return Published(tuple(messages), tuple(problems))

    def _points(
        self, header: Header, frame: Frame, result: StreamResult, node: NodeSettings, to_points_frame: Matrix | None
    ) -> Any:
        assert result.camera is not None
        assert result.depth_m is not None
        rays = self._rays.rays(result.camera)
        cloud = cloud_from_depth(
            result.depth_m, rays, frame.rgb, node.points_stride, result.uncertainty_m, node.points_cut
        )
        origin_m = np.zeros(3)
        if node.points_frame and to_points_frame is not None:
            header = Header(stamp=header.stamp, frame_id=node.points_frame)
            cloud, origin_m = moved_cloud(cloud, to_points_frame), to_points_frame[:3, 3]
        if not node.cloud_filter.does_nothing:
            cloud = filtered_cloud(cloud, origin_m, node.cloud_filter)
        return cloud_message(header, cloud)

    @staticmethod
    def _metric(
        header: Header, result: StreamResult, stream: StreamSettings, node: NodeSettings, wanted: set[str]
    ) -> dict[str, Any]:
        messages: dict[str, Any] = {}
        if "depth" in wanted:
            messages["depth"] = _depth_message(header, result.depth_m, node.depth_encoding)
        if "uncertainty" in wanted and result.uncertainty_m is not None:
            messages["uncertainty"] = _depth_message(header, result.uncertainty_m, node.depth_encoding)
        if "validity" in wanted and result.validity is not None:
            messages["validity"] = image_message(header, "8UC1", result.validity)
        if "depth_compressed" in wanted and result.depth_m is not None:
            payload = encode_compressed_depth(result.depth_m, stream.min_depth_m, stream.max_depth_m)
            messages["depth_compressed"] = compressed_message(header, "32FC1; compressedDepth png", payload)
        return messages

    @staticmethod
    def _relative(header: Header, result: StreamResult, wanted: set[str]) -> dict[str, Any]:
        messages: dict[str, Any] = {}
        if not wanted & {"relative", "preview", "preview_compressed"}:
            return messages
        relative = 1.0 - result.raw.nearness()
        if "relative" in wanted:
            messages["relative"] = image_message(header, "32FC1", relative)
        if wanted & {"preview", "preview_compressed"}:
            preview = colourise(1.0 - relative)
            if "preview" in wanted:
                messages["preview"] = image_message(header, "rgb8", preview)
            if "preview_compressed" in wanted:
                messages["preview_compressed"] = jpeg_message(header, preview)
        return messages


def _depth_message(header: Header, metres: Any, encoding: str) -> Image:
    return image_message(header, encoding, metres if encoding == "32FC1" else millimetres(metres))


def _status(header: Header, result: StreamResult) -> DiagnosticArray:
    """Where this frame's metres come from and what is doubtful about them, under its own stamp."""
    doubtful = bool(result.reason or result.warnings)
    one = DiagnosticStatus(
        level=DiagnosticStatus.WARN if doubtful else DiagnosticStatus.OK,
        name="depth",
        message=f"relative: {result.reason}" if result.reason else f"metric: {result.evidence}",
        values=[KeyValue(key=f"warning {number}", value=text) for number, text in enumerate(result.warnings, 1)],
    )
    return DiagnosticArray(header=header, status=[one])


def pinhole_info(header: Header, camera: CalibratedCamera) -> CameraInfo:
    """A calibration without distortion."""
    k = camera.matrix
    return CameraInfo(
        header=header,
        height=camera.height,
        width=camera.width,
        distortion_model="plumb_bob",
        d=[0.0] * 5,
        k=k.ravel().tolist(),
        r=np.eye(3).ravel().tolist(),
        p=np.column_stack([k, np.zeros(3)]).ravel().tolist(),
    )


def _camera_info(header: Header, info: CameraInfo) -> CameraInfo:
    """The source's calibration under the image's stamp and frame; depth has the image's size, so nothing is scaled."""
    return CameraInfo(
        header=header,
        height=info.height,
        width=info.width,
        distortion_model=info.distortion_model,
        d=info.d,
        k=info.k,
        r=info.r,
        p=info.p,
        binning_x=info.binning_x,
        binning_y=info.binning_y,
        roi=info.roi,
    )
