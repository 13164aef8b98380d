"""What was measured around an image: calibration, point clouds, sparse depth, transforms; and which of it fits."""

from __future__ import annotations

from collections.abc import Callable
from time import monotonic
from typing import TYPE_CHECKING, Any

import numpy as np

from leadline.errors import InputError
from leadline.sensors.ground import Ground, entered_ground
from leadline.sensors.transforms import Located, Matrix, TransformTree, parse_extrinsics
from leadline.streaming.buffers import StampedBuffer
from leadline.streaming.cameras import CameraCache, RectifiedCache, described_size
from leadline.streaming.frames import Frame, Sweep
from leadline.streaming.ros.messages import depth_of, points_of, stamp_ns, transform_fields
from leadline.streaming.settings import StreamSettings
from leadline.streaming.tuned import AROUND
from leadline.types import RgbImage

if TYPE_CHECKING:
    from leadline.sensors.camera import CalibratedCamera

#: Told (kind of input, what is wrong with it).
OnProblem = Callable[[str, Exception], None]

#: `fixed_frame: auto` takes the first of these that TF connects with the camera by something that moves.
_USUAL_FIXED_FRAMES = ("odom", "map", "world")
_GRAVITY = 9.81  # m/s²


class Surroundings:
    """Collects messages as they come and picks those that belong to an image.

    Args:
        on_problem: Told about everything that cannot be used; the stream goes on without it.
        can_read_tf: Whether transforms can arrive at all; only for the words of a complaint.
        transforms: A tree that several cameras of a robot share; by default one of its own.
        now_s: The clock that the stamps are of, seconds; by it, points are late or silent.
    """

    def __init__(
        self,
        on_problem: OnProblem,
        can_read_tf: bool = True,
        transforms: TransformTree | None = None,
        now_s: Callable[[], float] = monotonic,
    ) -> None:
        self._on_problem = on_problem
        self._can_read_tf = can_read_tf
        self._cameras = CameraCache()
        self._rectified = RectifiedCache()
        self.info: Any = None
        self.clouds: StampedBuffer[Any] = StampedBuffer(capacity=16, now_s=now_s)
        self.sparse: StampedBuffer[Any] = StampedBuffer(capacity=16, now_s=now_s)
        self.transforms = transforms or TransformTree()
        self._gravity: tuple[str, int, Matrix] | None = None  # frame, stamp, mean acceleration
        self.extrinsics = ""  # where the last LiDAR-to-camera motion came from, in words
        self.images_without_points = 0

    def forget_measurements(self) -> None:
        """Drop clouds and sparse depth; the calibration and transforms stay."""
        self.clouds.clear()
        self.sparse.clear()

    def forget_time(self) -> None:
        """Time jumped: drop everything that had a time of its own."""
        self.forget_measurements()
        self.transforms.forget_moving()
        self._gravity = None

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

    def add_imu(self, message: Any) -> None:
        """A `sensor_msgs/Imu`: what an accelerometer feels of gravity, averaged over a second."""
        felt, when_ns, frame = message.linear_acceleration, stamp_ns(message.header), message.header.frame_id
        now = np.array([felt.x, felt.y, felt.z], np.float64)
        if not np.isfinite(now).all():
            return
        if (
            self._gravity is None
            or self._gravity[0] != frame
            or not 0 <= when_ns - self._gravity[1] < AROUND.gravity_s * 1e9
        ):
            self._gravity = (frame, when_ns, now)
            return
        share = min(1.0, (when_ns - self._gravity[1]) * 1e-9 / AROUND.gravity_s)
        self._gravity = (frame, when_ns, (1 - share) * self._gravity[2] + share * now)

    def info_for(self, rgb: RgbImage) -> Any:
        """The newest camera_info, if it describes images of this size; else None."""
        if self.info is None:
            return None
        size, described = (rgb.shape[1], rgb.shape[0]), described_size(self.info)
        if size == described:
            return self.info
        text = "camera_info describes {}x{} but the image is {}x{}; ignored until they agree".format(*described, *size)
        self._on_problem("camera_info", InputError(text))
        return None

    # What an image waits for

    def awaits(self, header: Any, settings: StreamSettings) -> str:
        """What an image should still wait for, in words; empty if nothing better is to come within `max_wait_s`."""
        taken_ns = stamp_ns(header)
        for name, buffer in (("points", self.clouds), ("sparse_depth", self.sparse)):
            if buffer.better_to_come(taken_ns, settings.max_wait_s, settings.sync_tolerance_s):
                return name
        fixed = self.fixed_frame(header.frame_id, settings)
        if fixed:
            late_s = self.transforms.outside_s(header.frame_id, fixed, taken_ns)
            if late_s is not None and 0 < late_s < settings.max_wait_s + AROUND.extrapolate_s:
                return "tf"
        return ""

    def fixed_frame(self, camera_frame: str, settings: StreamSettings) -> str:
        """The frame through which own motion is undone; empty if there is none."""
        if settings.fixed_frame != "auto":
            return settings.fixed_frame
        return next((one for one in _USUAL_FIXED_FRAMES if self.transforms.moves(camera_frame, one)), "")

    # What belongs to an image

    def frame(self, header: Any, rgb: RgbImage, info: Any, settings: StreamSettings) -> Frame:
        """The image with whatever was measured near it in time."""
        taken_ns, tolerance_ns = stamp_ns(header), int(settings.sync_tolerance_s * 1e9)
        sweep, sparse_depth_m, warnings = None, None, list[str]()
        cloud = self.clouds.nearest(taken_ns, max(tolerance_ns, int(settings.hold_s * 1e9)))
        if cloud is not None:
            sweep = self._sweep(cloud[1], header.frame_id, taken_ns, settings, warnings)
        if len(self.clouds) and (cloud is None or abs(cloud[0] - taken_ns) > tolerance_ns):
            self.images_without_points += 1
        if len(self.clouds) and cloud is None:
            gap_s = (taken_ns - self.clouds.newest_ns()) * 1e-9
            warnings.append(f"the newest points are {gap_s:.2f} s older than the image; do their clocks agree?")
        sparse = self.sparse.nearest(taken_ns, tolerance_ns)
        if sparse is not None:
            sparse_depth_m = self._read("sparse_depth", depth_of, sparse[1])
        pose = self._pose(header.frame_id, taken_ns, settings)
        camera, outside = self._camera(info, settings), None
        if settings.rectified:
            view = None if camera is None else self._rectified.view(camera)
            if view is not None:
                if sparse_depth_m is not None and sparse_depth_m.shape == rgb.shape[:2]:
                    sparse_depth_m = view.sparse(sparse_depth_m)
                elif sparse_depth_m is not None:
                    warnings.append("sparse depth of another size than the image cannot be rectified and is not used")
                    sparse_depth_m = None
                rgb, camera, outside = view.image(rgb), view.camera, view.outside if view.outside.any() else None
            elif camera is None:
                warnings.append(
                    "rectified is set but no camera_info that fits the image has come: depth is as the image is"
                )
        return Frame(
            taken_ns,
            rgb,
            camera,
            sweep,
            sparse_depth_m,
            pose=None if pose is None else pose.motion,
            ground=self._ground(header.frame_id, taken_ns, settings),
            outside=outside,
            warnings=tuple(warnings),
        )

    def _read(self, source: str, read: Callable[[Any], Any], message: Any) -> Any:
        try:
            return read(message)
        except InputError as error:
            self._on_problem(source, error)
            return None

    def _camera(self, info: Any, settings: StreamSettings) -> CalibratedCamera | None:
        if info is None:
            return None
        try:
            return self._cameras.camera(info, settings.image_is_rectified)
        except InputError as error:
            self._on_problem("camera_info", error)
            return None

    def _pose(self, camera_frame: str, taken_ns: int, settings: StreamSettings) -> Located | None:
        """Where the camera stands, if TF knows without extrapolating."""
        fixed = self.fixed_frame(camera_frame, settings)
        return self.transforms.lookup(fixed, camera_frame, taken_ns) if fixed else None

    def _ground(self, camera_frame: str, taken_ns: int, settings: StreamSettings) -> Ground | None:
        """Ground by TF, else by gravity and the entered height, else as entered."""
        frame = "base_footprint" if settings.ground_frame == "auto" else settings.ground_frame
        found = self.transforms.lookup(frame, camera_frame, taken_ns, reach_s=AROUND.extrapolate_s) if frame else None
        if found is not None and found.motion[2, 3] > AROUND.lowest_m:
            down = -found.motion[2, :3]  # the ground's z axis, seen from the camera
            source = f"flat ground, by TF from {frame}"
            return Ground(float(found.motion[2, 3]), down, source, AROUND.tf_tilt_deg, AROUND.tf_height_sigma)
        if settings.ground_frame not in ("", "auto"):
            self._on_problem(
                "tf", InputError(f"ground_frame '{frame}' is not connected with '{camera_frame}' or not below it")
            )
        if settings.camera_height_m <= 0:
            return None
        if settings.use_imu:
            by_gravity = self._down_by_gravity(camera_frame, taken_ns)
            if by_gravity is not None:
                source = "camera height over flat ground, direction by gravity"
                return Ground(
                    settings.camera_height_m, by_gravity, source, AROUND.imu_tilt_deg, AROUND.entered_height_sigma
                )
            self._on_problem("imu", InputError("use_imu is set and gravity is not known; camera_pitch_deg is used"))
        return entered_ground(settings.camera_height_m, settings.camera_pitch_deg)

    def _down_by_gravity(self, camera_frame: str, taken_ns: int) -> Matrix | None:
        if self._gravity is None:
            return None
        frame, when_ns, felt = self._gravity
        length = float(np.linalg.norm(felt))
        mounting = self.transforms.lookup(camera_frame, frame, taken_ns, reach_s=AROUND.extrapolate_s)
        if (
            mounting is None
            or abs(taken_ns - when_ns) > AROUND.gravity_s * 1e9
            or abs(length / _GRAVITY - 1) > AROUND.shaken
        ):
            return None
        return np.asarray(-(mounting.motion[:3, :3] @ felt) / length)  # at rest an accelerometer feels the push upwards

    def _sweep(
        self, cloud: Any, camera_frame: str, taken_ns: int, settings: StreamSettings, warnings: list[str]
    ) -> Sweep | None:
        points = self._read("points", points_of, cloud)
        if points is None:
            return None
        lidar_frame, lidar_ns = cloud.header.frame_id, stamp_ns(cloud.header)
        age_s = (taken_ns - lidar_ns) * 1e-9
        fixed = self.fixed_frame(camera_frame, settings)
        if fixed:
            found = self.transforms.lookup_through(
                camera_frame, taken_ns, lidar_frame, lidar_ns, fixed, reach_s=AROUND.extrapolate_s
            )
            if found is not None:
                self.extrinsics = f"TF through {fixed}"
                if found.extrapolated_s > AROUND.jitter_s:
                    text = f"TF through {fixed} is {1e3 * found.extrapolated_s:.0f} ms late and was extrapolated"
                    warnings.append(f"{text}; publish odometry sooner or raise max_wait_s")
                return Sweep(points, found.motion, lidar_ns, age_s, self.extrinsics, found.extrapolated_s)
            warnings.append(self._why_not_through(fixed, camera_frame, lidar_frame, taken_ns, lidar_ns))
        motion = self._mounting(lidar_frame, camera_frame, lidar_ns, settings, warnings)
        return None if motion is None else Sweep(points, motion, lidar_ns, age_s)

    def _why_not_through(self, fixed: str, camera_frame: str, lidar_frame: str, taken_ns: int, lidar_ns: int) -> str:
        for frame, when_ns in ((camera_frame, taken_ns), (lidar_frame, lidar_ns)):
            outside_s = self.transforms.outside_s(frame, fixed, when_ns)
            if outside_s is None:
                known = "TF does not connect them" if self._can_read_tf else "TF cannot be read here (no tf2_msgs)"
                return f"fixed_frame '{fixed}' is not used: no transform from '{frame}' ({known})"
            if outside_s > AROUND.extrapolate_s:
                return f"fixed_frame '{fixed}' is not used: its transforms are {outside_s:.2f} s away from the {'image' if frame == camera_frame else 'points'}"
        return f"fixed_frame '{fixed}' is not used"

    def _mounting(
        self, lidar_frame: str, camera_frame: str, when_ns: int, settings: StreamSettings, warnings: list[str]
    ) -> Matrix | None:
        """LiDAR to camera as the robot stood at a time: TF first, then the parameter."""
        if lidar_frame and lidar_frame == camera_frame:
            self.extrinsics = "not needed: the points are in the camera's frame"
            return np.eye(4)
        outside_s = self.transforms.outside_s(camera_frame, lidar_frame, when_ns)
        if outside_s is not None and outside_s <= max(AROUND.extrapolate_s, AROUND.silent_s):
            located = self.transforms.lookup(camera_frame, lidar_frame, when_ns, reach_s=outside_s + 1e-6)
            if located is not None:
                self.extrinsics = "TF"
                if outside_s > AROUND.jitter_s:
                    text = (
                        f"TF from '{lidar_frame}' to '{camera_frame}' is {1e3 * outside_s:.0f} ms away from the points"
                    )
                    warnings.append(f"{text} and was extrapolated")
                return located.motion
        motion = parse_extrinsics(settings.extrinsics)
        self.extrinsics = "parameter extrinsics" if motion is not None else "missing"
        if outside_s is not None:
            known = f"TF of that time is missing by {outside_s:.1f} s"
        else:
            known = "TF does not connect them" if self._can_read_tf else "TF cannot be read here (no tf2_msgs)"
        if motion is None:
            text = f"no transform from '{lidar_frame}' to '{camera_frame}': {known}, and extrinsics is not set"
            self._on_problem("points", InputError(text))
        elif outside_s is not None:
            warnings.append(f"{known}: the parameter extrinsics is used")
        return motion
