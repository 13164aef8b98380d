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
from leadline.streaming.ros.messages import stamp_ns
from leadline.streaming.surroundings import Surroundings

try:  # part of every ROS installation; there is no wheel of it
    from tf2_msgs.msg import TFMessage
except ImportError:
    TFMessage = None

_SENSOR_QOS = {"reliability": ReliabilityPolicy.BEST_EFFORT, "durability": DurabilityPolicy.VOLATILE}


@dataclass(frozen=True)
class ImageJob:
    """An image as it came, with the moment it came."""

    message: Image | CompressedImage
    received_s: float


class Inputs:
    """Subscriptions of an active node. Every callback stores and returns; nothing is converted here.

    Args:
        node: Owner.
        on_image: Gets each image.
        on_problem: Gets (kind of input, error) for what cannot be used.
        on_jump: Called when image time jumps back.
        on_more: Called when something came that an image may have waited for.
    """

    def __init__(
        self,
        node: LifecycleNode,
        on_image: Callable[[ImageJob], None],
        on_problem: Callable[[str, Exception], None],
        on_jump: Callable[[], None],
        on_more: Callable[[], None],
    ) -> None:
        self._node = node
        self._on_image = on_image
        self._on_problem = on_problem
        self._on_jump = on_jump
        self._on_more = on_more
        self._subscriptions: list[Any] = []
        self._last_ns = 0
        self.surroundings = Surroundings(on_problem, can_read_tf=TFMessage is not None)
        self.image_rate = RateMeter()
        self.images_lost = LossMeter()
        self.points_lost = LossMeter()
        self.points_rate = RateMeter(10.0)
        self.sparse_rate = RateMeter(10.0)
        self.received = 0
        self.opened_s = monotonic()
        self.last_image_s: float | None = None

    @property
    def is_open(self) -> bool:
        return bool(self._subscriptions)

    def image_topic(self, transport: str) -> str:
        base = self._node.resolve_topic_name("image")
        return base if transport == "raw" else f"{base}/compressed"

    def info_topic(self) -> str:
        """`camera_info` if it was remapped, else the sibling of the image topic, as image_transport has it."""
        resolved = self._node.resolve_topic_name("camera_info")
        if resolved != self._node.resolve_topic_name("camera_info", only_expand=True):
            return resolved
        return self._node.resolve_topic_name("image").rpartition("/")[0] + "/camera_info"

    def open(self, transport: str, use_imu: bool) -> None:
        """Subscribe; again with another transport if asked."""
        self.close()
        kind = Image if transport == "raw" else CompressedImage
        # 2, not 1: where the machine is busy, an image waits that the next would push out before we could take it.
        # Ours to drop: the callback only keeps the newest, and counts the others.
        self._subscribe(kind, self.image_topic(transport), self._take_image, depth=2)
        self._subscribe(CameraInfo, self.info_topic(), self._take_info, depth=1)
        self._subscribe(PointCloud2, "points", self._take_points, depth=2)
        self._subscribe(Image, "sparse_depth", self._take_sparse, depth=2)
        if use_imu:
            self._subscribe(Imu, "imu", self.surroundings.add_imu, depth=20)
        if TFMessage is not None:
            static = QoSProfile(depth=100, durability=DurabilityPolicy.TRANSIENT_LOCAL)
            self._keep(self._node.create_subscription(TFMessage, "/tf_static", self._take_static_tf, static))
            self._keep(self._node.create_subscription(TFMessage, "/tf", self._take_tf, QoSProfile(depth=100)))
        self.opened_s = monotonic()
        self.last_image_s = None

    def close(self) -> None:
        """Unsubscribe and forget frames; the calibration and transforms stay."""
        for subscription in self._subscriptions:
            self._node.destroy_subscription(subscription)
        self._subscriptions.clear()
        self.surroundings.forget_measurements()

    def _subscribe(self, kind: type, topic: str, callback: Callable[[Any], None], depth: int) -> None:
        self._keep(
            self._node.create_subscription(
                kind,
                topic,
                callback,
                QoSProfile(depth=depth, **_SENSOR_QOS),
                qos_overriding_options=QoSOverridingOptions.with_default_policies(),
            )
        )

    def _keep(self, subscription: Any) -> None:
        self._subscriptions.append(subscription)

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
        self._on_image(ImageJob(message, now_s))

    def _take_info(self, message: CameraInfo) -> None:
        self.images_lost.companion(stamp_ns(message.header) * 1e-9)
        self.surroundings.info = message

    def _take_points(self, message: PointCloud2) -> None:
        self.points_rate.tick()
        self.points_lost.tick(stamp_ns(message.header) * 1e-9)
        self.surroundings.add_points(message)
        self._on_more()

    def _take_sparse(self, message: Image) -> None:
        self.sparse_rate.tick()
        self.surroundings.add_sparse(message)
        self._on_more()

    def _take_static_tf(self, message: Any) -> None:
        self.surroundings.add_transforms(message, is_static=True)

    def _take_tf(self, message: Any) -> None:
        self.surroundings.add_transforms(message, is_static=False)
        self._on_more()
