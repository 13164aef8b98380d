"""One image message through the pipeline to the outputs; runs in the worker's thread."""

from __future__ import annotations

import threading
from collections.abc import Callable
from time import monotonic
from typing import TYPE_CHECKING, Any

import numpy as np
from sensor_msgs.msg import CameraInfo, PointCloud2

from leadline.errors import Cancelled, InputError
from leadline.streaming.buffers import RateMeter, Window
from leadline.streaming.pipeline import DepthPipeline, Frame
from leadline.streaming.settings import StreamSettings
from leadline.streaming.transforms import parse_extrinsics
from leadline_ros.inputs import ImageJob
from leadline_ros.messages import (
    camera_values,
    depth_from_image,
    points_from_cloud,
    rgb_from_image,
    rgb_through_cv_bridge,
    stamp_ns,
)

if TYPE_CHECKING:
    from leadline_ros.node import DepthNode


class Engine:
    """Converts, runs, publishes and measures.

    Raises:
        InputError: cv_bridge is asked for and cannot be used.
    """

    def __init__(self, node: DepthNode) -> None:
        self._node = node
        self._to_rgb = rgb_through_cv_bridge() if node.node_settings.use_cv_bridge else rgb_from_image
        self._reset_wanted = threading.Event()
        self._fingerprint = b""
        self.unchanged_since_s = monotonic()
        self.processed = 0
        self.failed = 0
        self.failing = ""  # what the last frame failed of; empty after a good one
        self.output_rate = RateMeter()
        self.latency_s = Window()  # from the image's arrival to its depth being published
        self.model_s = Window()
        self.completion_s = Window()
        self.overhead_s = Window()  # everything else
        self.age_s = Window()  # from the image's stamp to its depth being published; needs a shared clock
        self.evidence = ""
        self.not_metric = ""
        self.extrinsics = ""
        self.points_missed = 0
        self.used_points = 0

    def request_reset(self) -> None:
        """Forget temporal state before the next frame."""
        self._reset_wanted.set()

    def note_failure(self, error: Exception) -> None:
        self.failed += 1
        self.failing = str(error).strip() or type(error).__name__

    def loader(self, settings: StreamSettings) -> Callable[[], DepthPipeline]:
        """What loads the model of ``settings`` and warms it up, for :meth:`StreamWorker.load`."""

        def load() -> DepthPipeline:
            started = monotonic()
            pipeline = DepthPipeline.load(settings)
            pipeline.warm_up(settings)
            self._node.load_error = ""
            estimator = pipeline.estimator
            self._node.get_logger().info(
                f"loaded {estimator.name} on {estimator.devices[0]} in {monotonic() - started:.1f} s"
            )
            return pipeline

        return load

    def process(self, pipeline: DepthPipeline, job: ImageJob) -> None:
        """Depth of one image, published."""
        node, outputs = self._node, self._node.outputs
        if outputs is None:
            return
        settings = node.stream_settings
        if self._reset_wanted.is_set():
            self._reset_wanted.clear()
            pipeline.reset()
        started = monotonic()
        header = job.message.header
        rgb = self._to_rgb(job.message)
        self._watch_change(rgb)
        info = self._info_for(rgb)
        frame = self._frame(header, rgb, info, settings)
        result = pipeline.process(frame, settings, self._stop_when_asked)
        if not node.active:  # deactivated while the model worked
            return
        published = outputs.publish(header, rgb, info, result, settings, node.node_settings)
        ended = monotonic()

        for problem in published.problems:
            node.note_problem("output", InputError(problem))
        self.evidence, self.not_metric = result.evidence, result.reason
        if result.reason and node.complaints.note(f"relative: {result.reason}"):
            node.get_logger().warning(f"publishing on depth/relative, not on depth: {result.reason}")
        self.processed += 1
        self.failing = ""
        self.output_rate.tick(ended)
        self.latency_s.add(ended - job.received_s)
        self.model_s.add(result.model_s)
        self.completion_s.add(result.completion_s)
        self.overhead_s.add(ended - started - result.model_s - result.completion_s)
        self.age_s.add((node.get_clock().now().nanoseconds - stamp_ns(header)) * 1e-9)

    def _stop_when_asked(self, stage: str, fraction: float) -> None:
        worker = self._node.worker
        if self._node.stop.is_set() or worker is None or worker.stopping:
            raise Cancelled("the node is stopping")

    def _watch_change(self, rgb: Any) -> None:
        """A live sensor never repeats itself bit by bit; a frozen one does."""
        fingerprint = rgb[::31, ::29].tobytes()
        if fingerprint != self._fingerprint:
            self._fingerprint = fingerprint
            self.unchanged_since_s = monotonic()

    def _info_for(self, rgb: Any) -> CameraInfo | None:
        """The newest camera_info, if it describes images of this size."""
        info = self._node.inputs.info
        if info is None:
            return None
        height, width = rgb.shape[:2]
        problem = camera_values(info).mismatch(width, height)
        if problem:
            self._node.note_problem("camera_info", InputError(problem))
            return None
        return info

    def _frame(self, header: Any, rgb: Any, info: CameraInfo | None, settings: StreamSettings) -> Frame:
        inputs = self._node.inputs
        taken_ns = stamp_ns(header)
        tolerance_ns = int(settings.sync_tolerance_s * 1e9)
        camera = None
        if info is not None:
            try:
                camera = camera_values(info).camera(settings.rectified)
            except InputError as error:
                self._node.note_problem("camera_info", error)
        points = motion = sparse_depth_m = None
        cloud = inputs.clouds.nearest(taken_ns, tolerance_ns)
        if cloud is not None:
            points, motion = self._points(cloud[1], header.frame_id, taken_ns, settings)
        elif len(inputs.clouds):
            self.points_missed += 1
        sparse = inputs.sparse.nearest(taken_ns, tolerance_ns)
        if sparse is not None:
            try:
                sparse_depth_m = depth_from_image(sparse[1])
            except InputError as error:
                self._node.note_problem("sparse_depth", error)
        return Frame(taken_ns, rgb, camera, points, motion, sparse_depth_m)

    def _points(
        self, cloud: PointCloud2, camera_frame: str, taken_ns: int, settings: StreamSettings
    ) -> tuple[Any, Any]:
        """Points of a cloud and the 4×4 from its frame to the camera's; (None, None) if either is missing."""
        motion = self._motion(cloud, camera_frame, taken_ns, settings)
        if motion is None:
            known = "TF does not connect them" if self._node.inputs.has_tf else "TF cannot be read here (no tf2_msgs)"
            self._node.note_problem(
                "points",
                InputError(
                    f"no transform from '{cloud.header.frame_id}' to '{camera_frame}': {known}, "
                    "and the parameter extrinsics is not set"
                ),
            )
            return None, None
        try:
            return points_from_cloud(cloud), motion
        except InputError as error:
            self._node.note_problem("points", error)
            return None, None

    def _motion(self, cloud: PointCloud2, camera_frame: str, taken_ns: int, settings: StreamSettings) -> Any:
        lidar_frame, lidar_ns = cloud.header.frame_id, stamp_ns(cloud.header)
        transforms = self._node.inputs.transforms
        motion = None
        if lidar_frame and lidar_frame == camera_frame:
            self.extrinsics = "none needed: the points are in the camera's frame"
            return np.eye(4)
        if settings.fixed_frame:
            motion = transforms.lookup_through(
                camera_frame, taken_ns, lidar_frame, lidar_ns, settings.fixed_frame
            )
            self.extrinsics = f"TF through {settings.fixed_frame}"
        if motion is None:
            motion = transforms.lookup(camera_frame, lidar_frame, taken_ns)
            self.extrinsics = "TF"
        if motion is None:
            motion = parse_extrinsics(settings.extrinsics)
            self.extrinsics = "parameter extrinsics" if motion is not None else "missing"
        return motion
