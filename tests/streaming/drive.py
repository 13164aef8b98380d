"""A drive through a rendered street, as the messages of its sensors, with ground truth and a real driver's timing."""

from __future__ import annotations

from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

import numpy as np
from scipy.spatial.transform import Rotation

from leadline.scenes import FilmFrame, render_film

SECOND = 1_000_000_000
START_NS = 100 * SECOND
#: Optical axes (x right, y down, z forward) in the axes of a robot (x forward, y left, z up).
OPTICAL_IN_BODY = np.array([[0.0, 0.0, 1.0], [-1.0, 0.0, 0.0], [0.0, -1.0, 0.0]])


def header(stamp_ns: int, frame_id: str) -> SimpleNamespace:
    seconds, nanoseconds = divmod(stamp_ns, SECOND)
    return SimpleNamespace(stamp=SimpleNamespace(sec=seconds, nanosec=nanoseconds), frame_id=frame_id)


def transform(parent: str, child: str, stamp_ns: int, motion: np.ndarray) -> SimpleNamespace:
    """A `tf2_msgs/TFMessage` of one transform."""
    x, y, z, w = Rotation.from_matrix(motion[:3, :3]).as_quat()
    return SimpleNamespace(
        transforms=[
            SimpleNamespace(
                header=header(stamp_ns, parent),
                child_frame_id=child,
                transform=SimpleNamespace(
                    translation=SimpleNamespace(**dict(zip("xyz", motion[:3, 3], strict=True))),
                    rotation=SimpleNamespace(x=x, y=y, z=z, w=w),
                ),
            )
        ]
    )


@dataclass(frozen=True)
class Drive:
    """Frames at a camera's rate; the picture is the middle of a wider view that the LiDAR sees whole.

    Attributes:
        wide: The rendered frames.
        width: Of the camera's picture.
        hz: Of the camera.
    """

    wide: list[FilmFrame]
    width: int
    hz: float

    @classmethod
    def rendered(
        cls, seed: int, frames: int, height: int = 192, width: int = 256, hz: float = 30.0, **film: Any
    ) -> Drive:
        shown = {"layout": "street", "path": "forward", "movers": 0, "supersample": 1.0} | film
        return cls(list(render_film(seed, frames, height, width * 3 // 2, fps=hz, **shown)), width, hz)

    def __len__(self) -> int:
        return len(self.wide)

    @property
    def _left(self) -> int:
        return (self.wide[0].rgb.shape[1] - self.width) // 2

    def stamp_ns(self, index: int) -> int:
        return START_NS + round(index * SECOND / self.hz)

    def rgb(self, index: int) -> np.ndarray:
        return np.ascontiguousarray(self.wide[index].rgb[:, self._left : self._left + self.width])

    def depth_m(self, index: int) -> np.ndarray:
        """0 for sky."""
        return self.wide[index].depth_m[:, self._left : self._left + self.width]

    def info(self, index: int) -> SimpleNamespace:
        k = self.wide[0].intrinsics.copy()
        k[0, 2] -= self._left
        p = np.column_stack([k, np.zeros(3)])
        return SimpleNamespace(
            header=header(self.stamp_ns(index), "optical"), width=self.width, height=self.wide[0].rgb.shape[0],
            distortion_model="plumb_bob", d=[0.0] * 5, k=k.ravel().tolist(), p=p.ravel().tolist(), binning_x=0, binning_y=0,
            roi=SimpleNamespace(x_offset=0, y_offset=0, width=0, height=0),
        )  # fmt: skip

    def cloud(self, index: int, lines: int = 32, columns: int = 200) -> SimpleNamespace:
        """What a LiDAR beside the camera measures at the time of a frame: `sensor_msgs/PointCloud2` in its own axes."""
        frame = self.wide[index]
        height, width = frame.depth_m.shape
        rng = np.random.default_rng(index)
        rows, places = np.linspace(0.3 * height, height - 2, lines), np.linspace(0, width - 2, columns)
        v, u = (g.ravel() for g in np.meshgrid(rows, places, indexing="ij"))
        u = (u + rng.uniform(0, 1, u.size)).clip(0, width - 1.001)  # its beams know nothing of pixels
        depth, smooth = _between_pixels(frame.depth_m, u, v)
        v, u, depth = v[smooth], u[smooth], depth[smooth]
        rays = np.linalg.solve(frame.intrinsics, np.stack([u, v, np.ones(len(u))]))
        points = np.ascontiguousarray((OPTICAL_IN_BODY @ (rays * depth)).T.astype(np.float32))
        fields = [SimpleNamespace(name=n, offset=4 * i, datatype=7) for i, n in enumerate("xyz")]
        return SimpleNamespace(
            header=header(self.stamp_ns(index), "lidar"), height=1, width=len(points), fields=fields, point_step=12,
            row_step=12 * len(points), is_bigendian=False, data=points.tobytes(),
        )  # fmt: skip

    def mounting(self) -> SimpleNamespace:
        """The static transform between LiDAR (the robot's base) and camera."""
        motion = np.eye(4)
        motion[:3, :3] = OPTICAL_IN_BODY
        return transform("lidar", "optical", 0, motion)

    def odometry(self, index: int) -> SimpleNamespace:
        pose = self.wide[index].camera_to_world.copy()
        pose[:3, :3] = pose[:3, :3] @ OPTICAL_IN_BODY.T
        return transform("odom", "lidar", self.stamp_ns(index), pose)


def _between_pixels(depth_m: np.ndarray, u: np.ndarray, v: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Depth at places between pixels (planes are linear in 1 / depth), and where all four around are of one surface."""
    left, top = u.astype(int), v.astype(int)
    x, y = u - left, v - top
    around = np.stack([depth_m[top + j, left + i] for j in (0, 1) for i in (0, 1)])
    smooth = (around > 0).all(axis=0) & (around.max(axis=0) < 1.1 * around.min(axis=0))
    nearness = 1 / np.where(around > 0, around, 1.0)
    weights = np.stack([(1 - x) * (1 - y), x * (1 - y), (1 - x) * y, x * y])
    return 1 / (weights * nearness).sum(axis=0), smooth


def rel_error(depth_m: np.ndarray, truth_m: np.ndarray) -> float:
    """AbsRel where both are known."""
    known = (truth_m > 0) & np.isfinite(depth_m)
    return float(np.mean(np.abs(depth_m[known] - truth_m[known]) / truth_m[known]))
