"""What was measured around an image: calibration, point clouds, sparse depth, transforms; and which of it fits."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from leadline.errors import InputError
from leadline.sensors.transforms import Matrix, TransformTree, parse_extrinsics
from leadline.streaming.buffers import StampedBuffer
from leadline.streaming.cameras import CameraCache, described_size
from leadline.streaming.pipeline import Frame
from leadline.streaming.ros.encodings import Rgb
from leadline.streaming.ros.messages import depth_of, points_of, stamp_ns, transform_fields
from leadline.streaming.settings import StreamSettings

if TYPE_CHECKING:
    from leadline.sensors.camera import Camera

#: Told (kind of input, what is wrong with it).
OnProblem = Callable[[str, Exception], None]


class Surroundings:
    """Collects messages as they come and picks those that belong to an image.

    Args:
        on_problem: Told about everything that cannot be used; the stream goes on without it.
        can_read_tf: Whether transforms can arrive at all; only for the words of a complaint.
    """

    def __init__(self, on_problem: OnProblem, can_read_tf: bool = True) -> None:
        self._on_problem = on_problem
        self._can_read_tf = can_read_tf
        self._cameras = CameraCache()
        self.info: Any = None
        self.clouds: StampedBuffer[Any] = StampedBuffer(capacity=8)
        self.sparse: StampedBuffer[Any] = StampedBuffer(capacity=8)
        self.transforms = TransformTree()
        self.extrinsics = ""  # where the last LiDAR-to-camera motion came from, in words
        self.images_without_points = 0

    def forget_measurements(self) -> None:
        """Drop clouds and sparse depth; the calibration and transforms stay."""
        self.clouds.clear()
        self.sparse.clear()

    def add_points(self, message: Any) -> None:
        """A `sensor_msgs/PointCloud2`."""
        if self.clouds.add(stamp_ns(message.header), message):
            self._on_problem("points", InputError("point cloud time jumped back; older clouds are forgotten"))

    def add_sparse(self, message: Any) -> None:
        """A depth image."""
        if self.sparse.add(stamp_ns(message.header), message):
            self._on_problem("sparse_depth", InputError("sparse depth time jumped back; older images are forgotten"))

    def add_transforms(self, message: Any, is_static: bool) -> None:
        """A `tf2_msgs/TFMessage`."""
        for transform in message.transforms:
            try:
                self.transforms.add(**transform_fields(transform), is_static=is_static)
            except InputError as error:
                self._on_problem("tf", error)

    def info_for(self, rgb: Rgb) -> Any:
        """The newest camera_info, if it describes images of this size; else None."""
        if self.info is None:
            return None
        size, described = (rgb.shape[1], rgb.shape[0]), described_size(self.info)
        if size == described:
            return self.info
        text = "camera_info describes {}x{} but the image is {}x{}; ignored until they agree".format(*described, *size)
        self._on_problem("camera_info", InputError(text))
        return None

    def frame(self, header: Any, rgb: Rgb, info: Any, settings: StreamSettings) -> Frame:
        """The image with whatever was measured within the tolerance."""
        taken_ns, tolerance_ns = stamp_ns(header), int(settings.sync_tolerance_s * 1e9)
        points = motion = sparse_depth_m = None
        cloud = self.clouds.nearest(taken_ns, tolerance_ns)
        if cloud is not None:
            motion = self._motion(cloud[1], header.frame_id, taken_ns, settings)
            points = None if motion is None else self._read("points", points_of, cloud[1])
        elif len(self.clouds):
            self.images_without_points += 1
        sparse = self.sparse.nearest(taken_ns, tolerance_ns)
        if sparse is not None:
            sparse_depth_m = self._read("sparse_depth", depth_of, sparse[1])
        return Frame(taken_ns, rgb, self._camera(info, settings), points, motion, sparse_depth_m)

    def _read(self, source: str, read: Callable[[Any], Any], message: Any) -> Any:
        try:
            return read(message)
        except InputError as error:
            self._on_problem(source, error)
            return None

    def _camera(self, info: Any, settings: StreamSettings) -> Camera | None:
        if info is None:
            return None
        try:
            return self._cameras.camera(info, settings.rectified)
        except InputError as error:
            self._on_problem("camera_info", error)
            return None

    def _motion(self, cloud: Any, camera_frame: str, taken_ns: int, settings: StreamSettings) -> Matrix | None:
        """LiDAR to camera: TF first, then the parameter."""
        lidar_frame, lidar_ns = cloud.header.frame_id, stamp_ns(cloud.header)
        if lidar_frame and lidar_frame == camera_frame:
            self.extrinsics = "not needed: the points are in the camera's frame"
            return np.eye(4)
        if settings.fixed_frame:
            motion = self.transforms.lookup_through(camera_frame, taken_ns, lidar_frame, lidar_ns, settings.fixed_frame)
            if motion is not None:
                self.extrinsics = f"TF through {settings.fixed_frame}"
                return motion
        motion = self.transforms.lookup(camera_frame, lidar_frame, taken_ns)
        if motion is not None:
            self.extrinsics = "TF"
            return motion
        motion = parse_extrinsics(settings.extrinsics)
        self.extrinsics = "parameter extrinsics" if motion is not None else "missing"
        if motion is None:
            known = "TF does not connect them" if self._can_read_tf else "TF cannot be read here (no tf2_msgs)"
            text = f"no transform from '{lidar_frame}' to '{camera_frame}': {known}, and extrinsics is not set"
            self._on_problem("points", InputError(text))
        return motion
