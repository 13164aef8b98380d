"""A robot at 8 m/s that turns at 0.3 rad/s between pillars: sweeps of ten a second, odometry that comes late, thirty images a second."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
from drive import OPTICAL_IN_BODY, SECOND, header, transform

from leadline.depth.prediction import DepthPrediction
from leadline.depth.spaces import Space
from leadline.sensors.camera import CalibratedCamera
from leadline.sensors.pinhole import Pinhole
from leadline.streaming.evidence import ScaleSource
from leadline.streaming.settings import StreamSettings
from leadline.streaming.surroundings import Surroundings

SPEED, TURN, HEIGHT_M, HZ = 8.0, 0.3, 1.5, 30
CAMERA = CalibratedCamera.from_pinhole(Pinhole(256, 192, 200.0))
SETTINGS = StreamSettings(max_depth_m=120.0)


def stamp_at(time_s: float) -> int:
    return round((100 + time_s) * SECOND)


def pose_at(time_s: float) -> np.ndarray:
    """Camera to world, the world's axes being those of a camera that looks along z."""
    angle, radius = TURN * time_s, SPEED / TURN
    pose = np.eye(4)
    pose[:3, :3] = [[np.cos(angle), 0, np.sin(angle)], [0, 1, 0], [-np.sin(angle), 0, np.cos(angle)]]
    pose[0, 3], pose[2, 3] = radius * (1 - np.cos(angle)), radius * np.sin(angle)
    return pose


def depth_along(rays: np.ndarray, pose: np.ndarray) -> np.ndarray:
    """(n,) depth of rays (n, 3) with z = 1: flat ground, walls 70 m around, and pillars."""
    rng = np.random.default_rng(4)
    ways = rays @ pose[:3, :3].T
    ways = np.where(np.abs(ways) < 1e-9, 1e-9, ways)
    at = pose[:3, 3]
    limits = np.where(ways > 0, [70.0, HEIGHT_M, 70.0], [-70.0, -70.0, -70.0])
    depth = ((limits - at) / ways).min(axis=1)
    for middle in rng.uniform(-60, 60, (24, 2)):
        if abs(np.hypot(middle[0] - SPEED / TURN, middle[1]) - SPEED / TURN) < 4.0:
            continue  # the robot drives along here
        low, high = np.array([middle[0] - 1, -6, middle[1] - 1]), np.array([middle[0] + 1, HEIGHT_M, middle[1] + 1])
        one, other = (low - at) / ways, (high - at) / ways
        enters, leaves = np.minimum(one, other).max(axis=1), np.maximum(one, other).min(axis=1)
        depth = np.where((enters < leaves) & (enters > 0.5), np.minimum(depth, enters), depth)
    return depth


def pixel_rays() -> np.ndarray:
    v, u = (grid.ravel() for grid in np.mgrid[: CAMERA.height, : CAMERA.width])
    return CAMERA.unproject(np.stack([u, v], axis=1).astype(float), np.ones(len(u)))


def sweep_at(time_s: float) -> np.ndarray:
    """float32 (n, 3) in the camera's axes: 32 lines that reach beyond its picture."""
    y, x = (
        grid.ravel() for grid in np.meshgrid(np.linspace(-0.3, 0.45, 32), np.linspace(-1.2, 1.2, 400), indexing="ij")
    )
    rays = np.stack([x, y, np.ones_like(x)], axis=1)
    return (rays * depth_along(rays, pose_at(time_s))[:, None]).astype(np.float32)


def cloud_at(number: int) -> SimpleNamespace:
    """`sensor_msgs/PointCloud2` of the sweep at an image's time, in the axes of the robot's base."""
    points = np.ascontiguousarray(sweep_at(number / HZ) @ OPTICAL_IN_BODY.T, np.float32)
    fields = [SimpleNamespace(name=n, offset=4 * i, datatype=7) for i, n in enumerate("xyz")]
    return SimpleNamespace(
        header=header(stamp_at(number / HZ), "base"), height=1, width=len(points), fields=fields, point_step=12,
        row_step=12 * len(points), is_bigendian=False, data=points.tobytes(),
    )  # fmt: skip


def camera_info() -> SimpleNamespace:
    k = CAMERA.matrix
    return SimpleNamespace(
        header=header(0, "optical"), width=CAMERA.width, height=CAMERA.height, distortion_model="plumb_bob", d=[0.0] * 5,
        k=k.ravel().tolist(), p=np.column_stack([k, np.zeros(3)]).ravel().tolist(), binning_x=0, binning_y=0,
        roi=SimpleNamespace(x_offset=0, y_offset=0, width=0, height=0),
    )  # fmt: skip


@pytest.mark.parametrize("late_s", [0.0, 0.1, 0.2])
def test_depth_is_right_however_late_odometry_comes_and_that_is_said(late_s: float) -> None:
    """Nothing waits: where TF is late it is carried on."""
    around, source = Surroundings(lambda kind, error: pytest.fail(f"{kind}: {error}")), ScaleSource()
    mounting = np.eye(4)
    mounting[:3, :3] = OPTICAL_IN_BODY
    around.add_transforms(transform("base", "optical", 0, mounting), is_static=True)
    told, rays, errors, said = 0, pixel_rays(), [], []
    for number in range(12, 21):
        time_s = number / HZ
        while told / 50 <= time_s - late_s + 1e-9:  # odometry of 50 Hz
            pose = pose_at(told / 50)
            pose[:3, :3] = pose[:3, :3] @ OPTICAL_IN_BODY.T
            around.add_transforms(transform("odom", "base", stamp_at(told / 50), pose), is_static=False)
            told += 1
        if number % 3 == 0:  # a sweep is stamped at its start and comes when it is over
            around.add_points(cloud_at(number - 3))
        truth = depth_along(rays, pose_at(time_s)).reshape(CAMERA.height, CAMERA.width)
        rgb = np.zeros((CAMERA.height, CAMERA.width, 3), np.uint8)  # shows nothing: only TF can carry
        frame = around.frame(header(stamp_at(time_s), "optical"), rgb, camera_info(), SETTINGS)
        found = source.metric(frame, DepthPrediction(np.log(truth).astype(np.float32), Space.LOG_DEPTH), SETTINGS)
        assert found.prediction is not None
        assert "by TF through odom" in found.evidence
        errors.append(float(np.mean(np.abs(found.prediction.depth_m - truth) / truth)))
        said.append(any("late and was extrapolated" in one for one in found.warnings))
    assert np.mean(errors) <= 0.012, errors
    assert all(said) == (late_s > 0.02)
