"""What the node reads: subscriptions that only store, and the newest of everything that belongs to an image."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from time import monotonic
from typing import Any

from rclpy.lifecycle import LifecycleNode
from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy
from rclpy.qos_overriding_options import QoSOverridingOptions
from sensor_msgs.msg import CameraInfo, CompressedImage, Image, Imu, PointCloud2

from leadline.errors import InputError
from leadline.streaming.buffers import LossMeter, RateMeter
from leadline.streaming.cameras import described_size
from leadline.streaming.ros.messages import stamp_ns
from leadline.streaming.surroundings import Surroundings

try:  # part of every ROS installation; there is no wheel of it
    from tf2_msgs.msg import TFMessage
except ImportError:
    TFMessage = None

#: Whether transforms can arrive at all.
CAN_READ_TF = TFMessage is not None

_SENSOR_QOS = {"reliability": ReliabilityPolicy.BEST_EFFORT, "durability": DurabilityPolicy.VOLATILE}


@dataclass(frozen=True)
class ImageJob:
    """An image as it came: whose it is, and the moment it came."""

    camera: str
    message: Image | CompressedImage
    received_s: float


class _Subscriptions:
    """Those that are opened and closed together."""

    def __init__(self, node: LifecycleNode) -> None:
        self._node = node
        self._open: list[Any] = []

    def __bool__(self) -> bool:
        return bool(self._open)

    def sensor(self, kind: type, topic: str, callback: Callable[[Any], None], depth: int) -> None:
        """A best-effort topic whose quality of service can be overridden."""
        self._open.append(
            self._node.create_subscription(
                kind,
                topic,
                callback,
                QoSProfile(depth=depth, **_SENSOR_QOS),
                qos_overriding_options=QoSOverridingOptions.with_default_policies(),
            )
        )

    def reliable(self, kind: type, topic: str, callback: Callable[[Any], None], profile: QoSProfile) -> None:
        self._open.append(self._node.create_subscription(kind, topic, callback, profile))

    def close(self) -> None:
        for subscription in self._open:
            self._node.destroy_subscription(subscription)
        self._open.clear()


class CameraInputs:
    """Subscriptions of one camera. Every callback stores and returns; nothing is converted here.

    Args:
        node: Owner.
        camera: Name, which its topics stand below; empty for a node with one camera.
        surroundings: Gets what belongs to the images.
        on_image: Gets each image.
        on_problem: Gets (kind of input, error) for what cannot be used.
        on_jump: Called when image time jumps back.
        on_more: Called when something came that an image may have waited for.
    """

    def __init__(
        self,
        node: LifecycleNode,
        camera: str,
        surroundings: Surroundings,
        on_image: Callable[[ImageJob], None],
        on_problem: Callable[[str, Exception], None],
        on_jump: Callable[[], None],
        on_more: Callable[[], None],
    ) -> None:
        self._node = node
        self._camera = camera
        self._below = f"{camera}/" if camera else ""
        self._on_image = on_image
        self._on_problem = on_problem
        self._on_jump = on_jump
        self._on_more = on_more
        self._subscriptions = _Subscriptions(node)
        self._calibration = _Subscriptions(node)
        self._last_ns = 0
        self.surroundings = surroundings
        self.image_rate = RateMeter()
        self.images_lost = LossMeter()
        self.sparse_rate = RateMeter(10.0)
        self.received = 0
        self.opened_s = monotonic()
        self.last_image_s: float | None = None

    @property
    def is_open(self) -> bool:
        return bool(self._subscriptions)

    def image_topic(self, transport: str) -> str:
        """Full name of the topic that images come from."""
        base: str = self._node.resolve_topic_name(self._below + "image")
        return base if transport == "raw" else f"{base}/compressed"

    def info_topic(self) -> str:
        """`camera_info`; if that is not remapped, the sibling of the image topic, as drivers publish it."""
        name = self._below + "camera_info"
        resolved: str = self._node.resolve_topic_name(name)
        if resolved != self._node.resolve_topic_name(name, only_expand=True):
            return resolved
        return self.image_topic("raw").rpartition("/")[0] + "/camera_info"

    def look_for_calibration(self) -> None:
        """Read camera_info alone, to learn the images' size before there are images."""
        if not self._calibration and not self._subscriptions:
            self._calibration.sensor(CameraInfo, self.info_topic(), self._take_info, depth=1)

    def image_size(self) -> tuple[int, int] | None:
        """(width, height) by camera_info; None as long as none has come."""
        info = self.surroundings.info
        size = (0, 0) if info is None else described_size(info)
        return size if min(size) > 0 else None

    def open(self, transport: str) -> None:
        """Subscribe; again with another transport if asked."""
        self.close()
        kind = Image if transport == "raw" else CompressedImage
        # 2, not 1: where the machine is busy, an image waits that the next would push out before we could take it.
        # Ours to drop: the callback only keeps the newest, and counts the others.
        self._subscriptions.sensor(kind, self.image_topic(transport), self._take_image, depth=2)
        self._subscriptions.sensor(CameraInfo, self.info_topic(), self._take_info, depth=1)
        self._subscriptions.sensor(Image, self._below + "sparse_depth", self._take_sparse, depth=2)
        self.opened_s = monotonic()
        self.last_image_s = None

    def close(self) -> None:
        """Unsubscribe and forget frames; the calibration stays."""
        self._subscriptions.close()
        self._calibration.close()
        self.surroundings.forget_measurements()

    def _take_image(self, message: Image | CompressedImage) -> None:
        now_s = monotonic()
        taken_ns = stamp_ns(message.header)
        if taken_ns < self._last_ns - 1_000_000_000:
            self._on_problem("image", InputError("image time jumped back; synchronisation starts again"))
            self._on_jump()
        self._last_ns = taken_ns
        self.received += 1
        self.last_image_s = now_s
        self.image_rate.tick(now_s)
        self.images_lost.tick(taken_ns * 1e-9)
        self._on_image(ImageJob(self._camera, message, now_s))

    def _take_info(self, message: CameraInfo) -> None:
        self.images_lost.companion(stamp_ns(message.header) * 1e-9)
        self.surroundings.info = message

    def _take_sparse(self, message: Image) -> None:
        self.sparse_rate.tick()
        self.surroundings.add_sparse(message)
        self._on_more()


class RobotInputs:
    """What all cameras of a robot share: point clouds, gravity, transforms.

    Args:
        node: Owner.
        surroundings: Of every camera; with one tree of transforms.
        on_more: Called when something came that an image may have waited for.
    """

    def __init__(self, node: LifecycleNode, surroundings: list[Surroundings], on_more: Callable[[], None]) -> None:
        self._surroundings = surroundings
        self._on_more = on_more
        self._subscriptions = _Subscriptions(node)
        self.points_lost = LossMeter()
        self.points_rate = RateMeter(10.0)
        self.reads_imu = False

    @property
    def is_open(self) -> bool:
        return bool(self._subscriptions)

    def open(self, use_imu: bool) -> None:
        """Subscribe; again with or without the IMU if asked."""
        self.close()
        self.reads_imu = use_imu
        self._subscriptions.sensor(PointCloud2, "points", self._take_points, depth=2)
        if use_imu:
            self._subscriptions.sensor(Imu, "imu", self._take_imu, depth=20)
        if TFMessage is not None:
            static = QoSProfile(depth=100, durability=DurabilityPolicy.TRANSIENT_LOCAL)
            self._subscriptions.reliable(TFMessage, "/tf_static", self._take_static_tf, static)
            self._subscriptions.reliable(TFMessage, "/tf", self._take_tf, QoSProfile(depth=100))

    def close(self) -> None:
        """Unsubscribe; transforms stay."""
        self._subscriptions.close()

    def _take_points(self, message: PointCloud2) -> None:
        self.points_rate.tick()
        self.points_lost.tick(stamp_ns(message.header) * 1e-9)
        for surroundings in self._surroundings:
            surroundings.add_points(message)
        self._on_more()

    def _take_imu(self, message: Imu) -> None:
        for surroundings in self._surroundings:
            surroundings.add_imu(message)

    def _take_static_tf(self, message: Any) -> None:
        self._surroundings[0].add_transforms(message, is_static=True)

    def _take_tf(self, message: Any) -> None:
        self._surroundings[0].add_transforms(message, is_static=False)
        self._on_more()
