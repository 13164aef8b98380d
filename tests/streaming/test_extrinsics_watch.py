"""Extrinsics that are a little wrong are noticed while driving, with the direction; those that are right are left alone."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from drive import OPTICAL_IN_BODY, Drive
from scipy.spatial.transform import Rotation

from leadline.depth.prediction import DepthPrediction
from leadline.depth.spaces import Space
from leadline.sensors.alignment import depth_jumps
from leadline.sensors.camera import CalibratedCamera
from leadline.sensors.lidar import project_points
from leadline.sensors.pinhole import Pinhole
from leadline.streaming.cameras import camera_of
from leadline.streaming.evidence import ScaleSource
from leadline.streaming.frames import Frame, Sweep
from leadline.streaming.settings import StreamSettings
from leadline.streaming.watch import ExtrinsicsWatch

FRAMES, STEP_NS = 8, 450_000_000
SETTINGS = StreamSettings()


@pytest.fixture(scope="module")
def drive() -> Drive:
    return Drive.rendered(5, frames=FRAMES, height=240, width=320, hz=2.0)


def wrong(turn_deg: tuple[float, float, float], shift_m: tuple[float, float, float]) -> np.ndarray:
    motion = np.eye(4)
    motion[:3, :3], motion[:3, 3] = Rotation.from_euler("xyz", turn_deg, degrees=True).as_matrix(), shift_m
    return motion


def frames(drive: Drive, motion: np.ndarray, count: int = 22) -> list[tuple[Frame, DepthPrediction]]:
    """There and back through the street, with a LiDAR that is mounted otherwise than its extrinsics say."""
    camera = camera_of(drive.info(0), rectified=False)
    found = []
    for number in range(count):
        index = min(number % (2 * FRAMES), 2 * FRAMES - 1 - number % (2 * FRAMES))
        cloud = drive.cloud(index, columns=300)
        points = np.ascontiguousarray(
            np.frombuffer(cloud.data, np.float32).reshape(-1, 3) @ OPTICAL_IN_BODY, np.float32
        )
        truth = np.where(drive.depth_m(index) > 0, drive.depth_m(index), 300.0)
        values = cv2.GaussianBlur(np.log(truth).astype(np.float32), (0, 0), 2.0)  # as soft as networks draw edges
        sweep = Sweep(points, motion, number * STEP_NS)
        frame = Frame(number * STEP_NS, drive.rgb(index), camera, sweep)
        found.append((frame, DepthPrediction(values, Space.LOG_DEPTH)))
    return found


def watched(drive: Drive, motion: np.ndarray) -> ExtrinsicsWatch:
    watch = ExtrinsicsWatch()
    for frame, raw in frames(drive, motion):
        assert frame.sweep is not None
        assert frame.camera is not None
        watch.add(frame.stamp_ns, frame.rgb, raw, frame.sweep, frame.camera, SETTINGS)
    return watch


@pytest.mark.parametrize(
    ("turn_deg", "shift_m", "words", "value"),
    [
        ((0, 0.5, 0), (0, 0, 0), "turn left", np.deg2rad(0.5)),
        ((-0.5, 0, 0), (0, 0, 0), "turn up", np.deg2rad(0.5)),
        ((0, 0, 0), (-0.03, 0, 0), "move right", 0.03),
        ((0, 0, 0), (0, 0, 0), "", 0.0),
    ],
)
def test_half_a_degree_and_three_centimetres_within_ten_seconds(
    drive: Drive, turn_deg: tuple, shift_m: tuple, words: str, value: float
) -> None:
    watch = watched(drive, wrong(turn_deg, shift_m))
    assert 21 * STEP_NS < 10e9
    if not words:
        assert watch.warning() == ""
        return
    best = watch.found()[0]
    assert words in best.words()
    assert abs(best.value) == pytest.approx(value, rel=0.35)
    assert watch.warning().startswith(f"the extrinsics look wrong: the LiDAR's points would have to {words} by ")
    watch.reset()
    assert watch.warning() == ""


def test_the_frame_itself_says_so(drive: Drive) -> None:
    source = ScaleSource()
    warnings: list[tuple[str, ...]] = [
        source.metric(frame, raw, SETTINGS).warnings for frame, raw in frames(drive, wrong((0, 0.5, 0), (0, 0, 0)))
    ]
    assert warnings[0] == ()
    assert any("the extrinsics look wrong" in one and "turn left" in one for one in warnings[-1])


def test_a_robot_at_rest_and_a_bare_wall_say_nothing(drive: Drive) -> None:
    (frame, raw), *_ = frames(drive, wrong((0, 0.5, 0), (0, 0, 0)), count=1)
    assert frame.sweep is not None
    assert frame.camera is not None
    watch = ExtrinsicsWatch()
    for number in range(30):
        watch.add(number * STEP_NS, frame.rgb, raw, frame.sweep, frame.camera, SETTINGS)
    assert watch.found() == []
    camera = CalibratedCamera.from_pinhole(Pinhole(320, 240, 260.0))
    v, u = np.meshgrid(np.arange(20, 220, 8), np.arange(4, 316, 3), indexing="ij")
    slanted = camera.unproject(np.stack([u.ravel(), v.ravel()], 1).astype(float), 1 / (0.1 + 0.001 * u.ravel()))
    jumps = depth_jumps(
        project_points(slanted, camera), np.zeros((240, 320), np.uint8), np.zeros((240, 320), np.float32), camera
    )
    assert len(jumps) == 0


@pytest.mark.parametrize("off_middle_px", [-4, 0, 4])
def test_one_long_edge_anywhere_between_two_rings_blames_nobody(off_middle_px: int) -> None:
    """A kerb lies between the same two rings in every sweep: where between them, they do not tell."""
    camera, spacing, edge = CalibratedCamera.from_pinhole(Pinhole(320, 240, 260.0)), 14, 120
    rows = edge - off_middle_px + spacing * np.arange(-6, 7) + spacing // 2
    v, u = (grid.ravel() for grid in np.meshgrid(rows, np.arange(0, 320, 2), indexing="ij"))
    points = camera.unproject(np.stack([u, v], axis=1).astype(float), np.where(v >= edge, 5.0, 9.0)).astype(np.float32)
    rgb, near = np.full((240, 320, 3), 60, np.uint8), np.zeros((240, 320), np.float32)
    rgb[edge:], near[edge:] = 180, 1.0
    watch = ExtrinsicsWatch()
    for number in range(24):
        seen = rgb.copy()
        seen[:60, :160] += np.uint8(20 * (number % 2))  # the sky changes
        raw = DepthPrediction(np.where(near > 0, 5.0, 9.0).astype(np.float32), Space.DEPTH)
        watch.add(number * STEP_NS, seen, raw, Sweep(points, np.eye(4), number * STEP_NS), camera, SETTINGS)
    assert len(watch._agreements) == 24
    assert np.mean(watch._jumps) > 100
    assert watch.warning() == ""


@pytest.mark.parametrize("left", [100, 125, 210])
def test_one_roof_between_two_rings_is_one_witness(left: int) -> None:
    """It lies just below the upper of the two in every sweep; all else in the picture lies where it should."""
    camera, wide = CalibratedCamera.from_pinhole(Pinhole(320, 240, 300.0)), 60
    rows = 109.48 + 5.36 * np.arange(-7, 22)
    v, u = (grid.ravel() for grid in np.meshgrid(rows, np.arange(320), indexing="ij"))
    near = np.zeros((240, 320), bool)
    near[110:139, left : left + wide] = True
    for post in (20, 60, 290):
        near[118:129, post : post + 8] = True
    depth = np.where(near[np.round(v).astype(int), u], 9.0, 14.0)
    points = camera.unproject(np.stack([u, v], axis=1), depth).astype(np.float32)
    watch = ExtrinsicsWatch()
    for number in range(24):
        rgb = np.where(near[..., None], np.uint8(180), np.uint8(60)) * np.ones(3, np.uint8)
        rgb[:60, :160] += np.uint8(20 * (number % 2))  # the sky changes
        raw = DepthPrediction(np.where(near, 9.0, 14.0).astype(np.float32), Space.DEPTH)
        watch.add(number * STEP_NS, rgb, raw, Sweep(points, np.eye(4), number * STEP_NS), camera, SETTINGS)
    assert np.mean(watch._jumps) > 100
    assert watch.warning() == ""


def test_a_stronger_edge_far_off_is_another_where_the_points_lie_on_one() -> None:
    """Below the tops of walls runs a ledge that picture and map show more clearly."""
    camera, rows = CalibratedCamera.from_pinhole(Pinhole(320, 240, 300.0)), 2 + 5 * np.arange(13, 44)
    v, u = (grid.ravel() for grid in np.meshgrid(rows, np.arange(0, 320, 2), indexing="ij"))
    wall = (np.arange(240) >= 120)[:, None] & (np.arange(320) % 50 < 30)
    ledge = wall & (np.arange(240) >= 128)[:, None]
    points = camera.unproject(np.stack([u, v], axis=1), np.where(wall[v, u], 9.0, 14.0)).astype(np.float32)
    watch = ExtrinsicsWatch()
    for number in range(24):
        rgb = np.where(ledge, 200, np.where(wall, 100, 60)).astype(np.uint8)[..., None] * np.ones(3, np.uint8)
        rgb[:60, :160] += np.uint8(20 * (number % 2))  # the sky changes
        raw = DepthPrediction(np.where(ledge, 9.0, np.where(wall, 12.0, 14.0)).astype(np.float32), Space.DEPTH)
        watch.add(number * STEP_NS, rgb, raw, Sweep(points, np.eye(4), number * STEP_NS), camera, SETTINGS)
    assert np.mean(watch._jumps) > 100
    assert watch.warning() == ""


def test_a_kerb_between_two_rings_is_no_jump_one_ring_farther() -> None:
    """The pavement goes on behind the first ring on it; only measured from the lower road that looks like an edge in depth."""
    camera = CalibratedCamera.from_pinhole(Pinhole(320, 240, 500.0))
    below = np.array([8, 14, 20, 26, 32, 38, 44, 50, 56, 62, 68, 74, 80])  # rows under the horizon
    depth = 500.0 * np.where(below > 35, 1.2, 1.05) / below  # the kerb, 15 cm high, lies 16 m away
    v, u = (grid.ravel() for grid in np.meshgrid(120 + below, np.arange(0, 320, 2), indexing="ij"))
    ground = camera.unproject(np.stack([u, v], axis=1).astype(float), np.repeat(depth, 160))
    grey, near = np.full((240, 320), 90, np.uint8), np.zeros((240, 320), np.float32)
    grey[156:], near[156:] = 60, 1.0  # an edge near the kerb: what a jump there would be drawn to
    assert len(depth_jumps(project_points(ground, camera), grey, near, camera)) == 0
    car = np.where((v > 150) & (abs(u - 160) < 40), 6.0, np.repeat(depth, 160))
    shown = camera.unproject(np.stack([u, v], axis=1).astype(float), car)
    grey[149:, 120:200], near[149:, 120:200] = 200, 2.0
    assert len(depth_jumps(project_points(shown, camera), grey, near, camera)) > 50
